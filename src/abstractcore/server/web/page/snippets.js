/** A request as a command and as a program; both send exactly the body. The key is never in them. */

const KEY = "ABSTRACTCORE_API_KEY";

const shellQuote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A request for curl. */
export function curl(url, body, withKey) {
  const lines = [`curl ${body.stream ? "-N " : ""}${shellQuote(url)}`, "-H 'Content-Type: application/json'"];
  if (withKey) lines.push(`-H "Authorization: Bearer $${KEY}"`);
  lines.push(`-d ${shellQuote(JSON.stringify(body, null, 2))}`);
  return lines.join(" \\\n  ");
}

/** Fields that the OpenAI SDK has arguments for; it takes all others in `extra_body`. */
const OPENAI = new Set([
  "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "seed", "stop", "n", "tools",
  "tool_choice", "response_format", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias",
]);

/** A JSON value as Python writes it. */
export function pythonLiteral(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((item) => `${deeper}${pythonLiteral(item, deeper)},`)
    : Object.entries(value).map(([name, item]) => `${deeper}${JSON.stringify(name)}: ${pythonLiteral(item, deeper)},`);
  const [open, close] = isList ? "[]" : "{}";
  return items.length ? `${open}\n${items.join("\n")}\n${indent}${close}` : open + close;
}

/** A request for the OpenAI SDK. */
export function python(baseUrl, body, withKey) {
  const key = withKey ? `os.environ["${KEY}"]` : '"none"';
  const named = Object.entries(body).filter(([name]) => OPENAI.has(name));
  const others = Object.fromEntries(Object.entries(body).filter(([name]) => !OPENAI.has(name)));
  const lines = named.map(([name, value]) => `    ${name}=${pythonLiteral(value, "    ")},`);
  if (Object.keys(others).length) lines.push(`    extra_body=${pythonLiteral(others, "    ")},`);
  return [
    withKey ? "import os\n\nfrom openai import OpenAI" : "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(baseUrl)}, api_key=${key})`,
    `${body.stream ? "stream" : "answer"} = client.chat.completions.create(`,
    ...lines,
    ")",
    ...(body.stream ? STREAMED : WHOLE),
    "",
  ].join("\n");
}

const STREAMED = [
  "for chunk in stream:",
  "    for choice in chunk.choices:",
  '        print(choice.delta.content or "", end="", flush=True)',
  "print()",
];

const WHOLE = ["for choice in answer.choices:", "    print(choice.message.content)"];
