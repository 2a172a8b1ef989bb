// A request that the page makes, and how it would be written for a shell. Only this file uses the network.

const LIMIT = 1_000_000; // characters of an answer that are shown

/** `{url, init}` of what was filled in. Relative, so that it also goes through a proxy with a path of its own. */
export function built(operation, values, type, body, key) {
  const query = new URLSearchParams();
  const headers = {};
  let path = operation.path.replace(/^\//, "");
  for (const parameter of operation.parameters) {
    const value = values[parameter.name] ?? "";
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== "" && parameter.in === "query") query.set(parameter.name, value);
    else if (value !== "" && parameter.in === "header") headers[parameter.name] = value;
  }
  if (key) headers.authorization = `Bearer ${key}`;
  const init = { method: operation.method.toUpperCase(), headers, credentials: "omit", cache: "no-store" };
  if (type && body.trim()) {
    headers["content-type"] = type;
    init.body = body;
  }
  const text = query.toString();
  return { url: text ? `${path}?${text}` : path, init };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The same for a shell; the key stays out of it. */
export function asCurl({ url, init }) {
  const parts = [`curl ${quoted(new URL(url, window.document.baseURI).href)}`];
  if (init.method !== "GET" && !(init.method === "POST" && init.body)) parts.push(`-X ${init.method}`);
  for (const [name, value] of Object.entries(init.headers)) {
    const secret = name === "authorization";
    parts.push(secret ? '-H "Authorization: Bearer $ABSTRACTCORE_API_KEY"' : `-H ${quoted(`${name}: ${value}`)}`);
  }
  if (init.body) parts.push(`-d ${quoted(init.body)}`);
  return parts.join(" \\\n  ");
}

/**
 * Sends it, and tells of the answer as it comes: `onAnswer({status, headers, text, bytes, ms, done, error})`.
 * An abort of the signal ends the answer where it is.
 */
export async function send({ url, init }, signal, onAnswer) {
  const began = performance.now();
  const answer = { status: 0, headers: [], text: "", bytes: 0, ms: 0, firstMs: null, done: false, error: "" };
  const tell = (changes) => onAnswer(Object.assign(answer, changes, { ms: performance.now() - began }));
  try {
    const response = await fetch(url, { ...init, signal });
    const headers = [...response.headers];
    tell({ status: response.status, reason: response.statusText, headers, firstMs: performance.now() - began });
    const decoder = new TextDecoder();
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
      const text = answer.text.length < LIMIT ? decoder.decode(part.value, { stream: true }) : "";
      tell({ text: answer.text + text, bytes: answer.bytes + part.value.length });
    }
    tell({ done: true });
  } catch (error) {
    const stopped = error.name === "AbortError";
    tell({ done: true, error: stopped ? "stopped" : `no answer: ${error.message}` });
  }
}

/** An answer's text, indented if it is JSON. */
export function readable(answer) {
  const type = new Map(answer.headers).get("content-type") ?? "";
  if (!answer.done || !type.includes("json")) return answer.text;
  try {
    return JSON.stringify(JSON.parse(answer.text), null, 2);
  } catch {
    return answer.text;
  }
}
