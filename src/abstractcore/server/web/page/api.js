/** The gateway's API. All that goes wrong becomes a GatewayError with the gateway's own words. */

import { signal } from "../vendor/vendor.js";
import { EventSplitter } from "./sse.js";

/** The bearer key; in memory only, so that no storage, address or export ever holds it. */
export const key = signal("");
/** Set while the gateway waits for a key: `{ message, answer(key | null) }`. */
export const keyAsked = signal(null);

export class GatewayError extends Error {
  constructor(message, details = {}) {
    super(message);
    this.name = "GatewayError";
    Object.assign(this, details);
  }

  /** What is kept with an answer that failed. */
  toJSON() {
    const { message, why, hint, code, type, param, status, requestId } = this;
    return { message, why, hint, code, type, param, status, requestId };
  }
}

/** An address of the API, also below the prefix of a proxy. */
export const address = (path) => new URL(path, document.baseURI).href;

function fromEnvelope(error, details) {
  if (typeof error === "string") return new GatewayError(error, details);
  const { message, why, hint, code, type, param, partial } = error ?? {};
  return new GatewayError(message || "The server gave no reason.", { why, hint, code, type, param, partial, ...details });
}

async function fromResponse(response) {
  const details = { status: response.status, requestId: response.headers.get("x-request-id") };
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text);
    if (body.partial !== undefined) details.partial = body.partial;
    return fromEnvelope(body.error ?? body.message ?? body.detail ?? text, details);
  } catch {
    return new GatewayError(text.slice(0, 500) || `The gateway answered ${response.status}.`, details);
  }
}

let asking = null;

/** Asks the reader for a key, once for all requests that wait. */
function askKey(message) {
  asking ??= new Promise((resolve) => {
    const answer = (given) => {
      asking = null;
      keyAsked.value = null;
      if (given) key.value = given;
      resolve(Boolean(given));
    };
    keyAsked.value = { message, answer };
  });
  return asking;
}

async function send(path, { body, signal: abort } = {}) {
  const headers = { accept: body?.stream ? "text/event-stream" : "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (key.value) headers.authorization = `Bearer ${key.value}`;
  const options = { method: body ? "POST" : "GET", headers, signal: abort, cache: "no-store", credentials: "omit" };
  if (body) options.body = JSON.stringify(body);
  try {
    return await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new GatewayError("The gateway can't be reached.", {
      code: "unreachable",
      why: error.message,
      hint: "Is `abstractcore serve` still running?",
    });
  }
}

/** One request; asks for a key where the gateway wants one, and raises what is no success. */
async function call(path, options) {
  for (;;) {
    const used = key.value;
    const response = await send(path, options);
    if (response.ok) return response;
    const error = await fromResponse(response);
    if (response.status !== 401) throw error;
    if (key.value === used && !(await askKey(error.message))) throw error;
  }
}

export async function getJson(path) {
  return (await call(path)).json();
}

/** Sends a body and reads JSON, or the text of servers that answer in words. */
export async function postJson(path, body, options) {
  const response = await call(path, { ...options, body });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { message: text };
  }
}

/**
 * Asks for an answer.
 *
 * @param body The request, sent as it is.
 * @param options `signal` aborts it, which also ends the generation on the server; `onRequestId` hears its id.
 * @returns {AsyncGenerator<object>} Chunks of a stream, or the one answer if `body.stream` is not set.
 * @throws GatewayError also for an error inside the stream and for a stream without its end mark.
 */
export async function* complete(body, { signal: abort, onRequestId }) {
  const response = await call("v1/chat/completions", { body, signal: abort });
  const requestId = response.headers.get("x-request-id");
  onRequestId(requestId);
  if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    const answer = await response.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new GatewayError("The answer is not JSON.", { why: error.message, requestId });
    });
    if (answer.error) throw fromEnvelope(answer.error, { requestId });
    yield answer;
    return;
  }
  yield* readStream(response.body.getReader(), requestId);
}

async function* readStream(reader, requestId) {
  const splitter = new EventSplitter();
  try {
    for (;;) {
      const { value, done } = await readPiece(reader, requestId);
      for (const data of done ? splitter.end() : splitter.push(value)) {
        if (data === "[DONE]") return;
        yield parseEvent(data, requestId);
      }
      if (done) {
        throw new GatewayError("The stream ended before the answer was complete.", {
          code: "stream_cut",
          why: "the end mark [DONE] never came",
          requestId,
        });
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function readPiece(reader, requestId) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new GatewayError("The connection broke in the middle of the answer.", {
      code: "stream_cut",
      why: error.message,
      requestId,
    });
  }
}

function parseEvent(data, requestId) {
  let event;
  try {
    event = JSON.parse(data);
  } catch (error) {
    throw new GatewayError("The stream holds an event that is not JSON.", {
      code: "stream_broken",
      why: `${error.message}: ${data.slice(0, 200)}`,
      requestId,
    });
  }
  if (event.error) throw fromEnvelope(event.error, { requestId });
  return event;
}
