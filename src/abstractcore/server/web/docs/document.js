// What an OpenAPI document says, in the form in which the page shows it. No DOM, no network.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const DEPTH = 6; // of an example made from a schema; schemas may contain themselves

/** Follows `$ref` within the document. */
export function resolve(document, value) {
  let seen = 0;
  while (value && typeof value.$ref === "string" && seen < 20) {
    const { $ref, ...besides } = value;
    const found = $ref
      .replace(/^#\//, "")
      .split("/")
      .reduce((at, key) => at?.[decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~")], document);
    value = { ...found, ...besides };
    seen += 1;
  }
  return value ?? {};
}

/** The name under which a schema is known, such as `ChatMessage`. */
export const nameOf = (schema) => (schema?.$ref ? schema.$ref.split("/").pop() : schema?.title ?? "");

/** All operations in the document's order, as groups: `[{name, description, operations}]`. */
export function groups(document) {
  const described = new Map((document.tags ?? []).map((tag) => [tag.name, tag.description ?? ""]));
  const found = new Map([...described.keys()].map((name) => [name, []]));
  for (const operation of operations(document)) {
    const name = operation.tags[0] ?? "other";
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(operation);
  }
  return [...found]
    .filter(([, all]) => all.length)
    .map(([name, all]) => ({ name, description: described.get(name) ?? "", operations: all }));
}

function operations(document) {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const said = item[method];
      const parameters = [...(item.parameters ?? []), ...(said.parameters ?? [])];
      return {
        id: `${method}${path}`.replace(/[^a-zA-Z0-9]+/g, "-").replace(/-$/, ""),
        method,
        path,
        summary: said.summary ?? "",
        description: said.description ?? "",
        deprecated: Boolean(said.deprecated),
        tags: said.tags ?? [],
        parameters: parameters.map((one) => resolve(document, one)),
        bodies: bodies(document, said.requestBody),
        responses: Object.entries(said.responses ?? {}).map(([status, one]) => {
          const response = resolve(document, one);
          return { status, description: response.description ?? "", contents: contents(response) };
        }),
      };
    }),
  );
}

const contents = (holder) =>
  Object.entries(holder.content ?? {}).map(([type, { schema = {} }]) => ({ type, schema }));

function bodies(document, requestBody) {
  return Object.entries(resolve(document, requestBody).content ?? {}).map(([type, content]) => ({
    type,
    schema: content.schema ?? {},
    examples: examples(document, content),
  }));
}

/** Bodies to start from, `[{name, value}]`: those of the document, else one made from the schema. */
function examples(document, content) {
  const named = Object.entries(content.examples ?? {}).map(([name, one]) => {
    const example = resolve(document, one);
    return { name: example.summary ?? name, value: example.value };
  });
  if (content.example !== undefined) named.unshift({ name: "example", value: content.example });
  if (named.length) return named;
  return [{ name: "from the schema", value: exampleOf(document, content.schema ?? {}) }];
}

/** A value with what the schema requires; not always one that it allows, but one to start from. */
export function exampleOf(document, given, depth = 0) {
  const schema = resolve(document, given);
  if (schema.examples?.length) return schema.examples[0];
  for (const known of ["example", "const", "default"]) if (schema[known] !== undefined) return schema[known];
  if (schema.enum?.length) return schema.enum[0];
  if (depth > DEPTH) return null;
  const parts = schema.allOf ?? [];
  if (parts.length) return Object.assign({}, ...parts.map((part) => exampleOf(document, part, depth + 1)));
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices?.length) return exampleOf(document, choices[0], depth + 1);
  return byType(document, schema, depth);
}

function byType(document, schema, depth) {
  switch (typesOf(schema)[0]) {
    case "object": {
      const required = (schema.required ?? []).filter((name) => schema.properties?.[name]);
      return Object.fromEntries(
        required.map((name) => [name, exampleOf(document, schema.properties[name], depth + 1)]),
      );
    }
    case "array":
      return schema.items ? [exampleOf(document, schema.items, depth + 1)] : [];
    case "integer":
    case "number":
      return schema.minimum ?? 0;
    case "boolean":
      return false;
    case "null":
      return null;
    default:
      return "string";
  }
}

export function typesOf(schema) {
  if (schema.type) return [schema.type].flat();
  if (schema.properties) return ["object"];
  return schema.items ? ["array"] : [];
}

/** A schema in a few words: `array of ChatMessage`, `"auto" | "none"`, `integer >= 1`. */
export function inWords(document, given) {
  if (given.$ref) return nameOf(given);
  const schema = resolve(document, given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return [...new Set(choices.map((choice) => inWords(document, choice)))].join(" | ");
  if (schema.allOf) return schema.allOf.map((part) => inWords(document, part)).join(" & ");
  const types = typesOf(schema);
  if (types[0] === "array" && schema.items) return `array of ${inWords(document, schema.items)}`;
  return (types.length ? types.join(" | ") : "anything") + limits(schema);
}

const LIMITS = {
  minimum: ">=",
  exclusiveMinimum: ">",
  maximum: "<=",
  exclusiveMaximum: "<",
  minLength: "length >=",
  maxLength: "length <=",
  minItems: "items >=",
  maxItems: "items <=",
};

const limits = (schema) =>
  Object.entries(LIMITS)
    .filter(([name]) => schema[name] !== undefined)
    .map(([name, sign]) => ` ${sign} ${schema[name]}`)
    .join(",");

/** The schemas inside one that have properties of their own, by name: what can be unfolded below it. */
export function inside(document, given) {
  const schema = resolve(document, given);
  const parts = [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  if (schema.items) parts.push(schema.items);
  if (schema.additionalProperties instanceof Object) parts.push(schema.additionalProperties);
  return parts.flatMap((part) =>
    resolve(document, part).properties ? [part] : inside(document, part).slice(0, 12),
  );
}

/** Whether an operation has all these words in its path, summary or method. */
export function matches(operation, words) {
  const text = `${operation.method} ${operation.path} ${operation.summary} ${operation.tags.join(" ")}`.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
