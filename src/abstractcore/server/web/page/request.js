/** From what the reader typed to the body of a request. An empty field is not sent: the server's default holds. */

export const KINDS = {
  json: { name: "JSON schema", capability: "guided_json", check: "guided_json" },
  regex: { name: "Regex", capability: "guided_regex", check: "guided_regex" },
  choice: { name: "Choice", capability: "guided_choice", check: "guided_choice" },
  grammar: { name: "Grammar", capability: "guided_grammar", check: "guided_grammar" },
};

export const defaults = () => ({
  model: "",
  system: "",
  temperature: "",
  top_p: "",
  max_tokens: "",
  seed: "",
  stop: "",
  n: "",
  use_beam_search: false,
  best_of: "",
  stream: true,
  tools: "",
  tool_choice: "",
  extra: "",
  constraint: { kind: "", json: "", regex: "", choice: "", grammar: "" },
});

const NUMBERS = {
  temperature: { label: "Temperature", low: 0, high: 2 },
  top_p: { label: "Top p", low: 0, high: 1 },
  max_tokens: { label: "Max tokens", low: 1, whole: true },
  seed: { label: "Seed", low: -(2 ** 53), whole: true },
  n: { label: "Answers", low: 1, high: 128, whole: true },
  best_of: { label: "Best of", low: 1, high: 128, whole: true },
};

/** What is wrong with a number as typed, or null. */
export function numberTrouble(field, typed) {
  const { label, low, high = Infinity, whole } = NUMBERS[field];
  const value = Number(typed);
  if (String(typed).trim() === "") return null;
  if (!Number.isFinite(value)) return `${label} is not a number`;
  if (whole && !Number.isSafeInteger(value)) return `${label} is a whole number`;
  if (value < low || value > high) return `${label} lies ${high === Infinity ? `at ${low} or above` : `from ${low} to ${high}`}`;
  return null;
}

function parseJson(text, what) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { trouble: `${what} are no JSON: ${error.message}` };
  }
}

/** What is wrong with the tools as typed, or null. */
export function toolsTrouble(text) {
  if (!text.trim()) return null;
  const { value, trouble } = parseJson(text, "The tools");
  if (trouble) return trouble;
  const named = Array.isArray(value) && value.every((tool) => tool?.type === "function" && tool.function?.name);
  return named ? null : 'The tools are a list of {"type": "function", "function": {"name": …}}';
}

/** What is wrong with the further fields as typed, or null. */
export function extraTrouble(text) {
  if (!text.trim()) return null;
  const { value, trouble } = parseJson(text, "Further fields");
  if (trouble) return trouble;
  return value && typeof value === "object" && !Array.isArray(value) ? null : "Further fields are one JSON object";
}

/** The choices as typed, one a line. */
export const choices = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** What is wrong with a constraint before any server sees it, or null. */
export function constraintTrouble({ kind, ...texts }) {
  if (!kind) return null;
  if (!texts[kind].trim()) return `The ${KINDS[kind].name} is empty`;
  if (kind !== "json") return null;
  try {
    const schema = JSON.parse(texts.json);
    return schema && typeof schema === "object" ? null : "The JSON schema is no object";
  } catch (error) {
    return `The JSON schema is no JSON: ${error.message}`;
  }
}

/** The value of a constraint as requests carry it. */
export function constraintValue({ kind, ...texts }) {
  if (kind === "json") return JSON.parse(texts.json);
  return kind === "choice" ? choices(texts.choice) : texts[kind];
}

/** All that keeps these settings from being sent. */
export function troubles(settings) {
  const found = Object.keys(NUMBERS).map((field) => numberTrouble(field, settings[field]));
  found.push(toolsTrouble(settings.tools), extraTrouble(settings.extra), constraintTrouble(settings.constraint));
  if (!settings.model) found.push("No model is chosen");
  return found.filter(Boolean);
}

function constraintFields(constraint) {
  if (!constraint.kind) return {};
  const value = constraintValue(constraint);
  if (constraint.kind !== "json") return { structured_outputs: { [constraint.kind]: value } };
  return { response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema: value } } };
}

/** The request without its messages; the settings must be free of trouble. */
export function parameters(settings) {
  const fields = { model: settings.model };
  for (const field of Object.keys(NUMBERS)) {
    if (String(settings[field]).trim() !== "") fields[field] = Number(settings[field]);
  }
  const stop = settings.stop.split("\n").filter((line) => line !== "");
  if (stop.length) fields.stop = stop;
  if (settings.use_beam_search) fields.use_beam_search = true;
  if (settings.tools.trim()) {
    fields.tools = JSON.parse(settings.tools);
    if (settings.tool_choice) fields.tool_choice = settings.tool_choice;
  }
  Object.assign(fields, constraintFields(settings.constraint));
  // A beam is known only when all its words are, so there is nothing to stream.
  if (settings.stream && !settings.use_beam_search) {
    Object.assign(fields, { stream: true, stream_options: { include_usage: true } });
  }
  return settings.extra.trim() ? { ...fields, ...JSON.parse(settings.extra) } : fields;
}

/** The body, in the order that people read it in. */
export const body = ({ model, ...fields }, messages) => ({ model, messages, ...fields });
