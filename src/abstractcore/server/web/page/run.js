/** One answer, from the request to its last word. */

import { complete, GatewayError } from "./api.js";
import { constraintValue, KINDS, parameters, body } from "./request.js";
import { keepAddress, running, save, tick, touch } from "./store.js";
import { append, messages } from "./tree.js";
import { announce } from "./ui.js";

const controllers = new Map();

/** The body that asked, or would ask again, for an answer. */
export const requestOf = (chat, node) =>
  body(node.fields, messages(chat, node.parent, node.via, node.system));

/** Asks for an answer below a choice of a node, as a new branch. */
export async function answer(chat, parent, via = 0) {
  const { settings } = chat;
  const node = append(chat, {
    role: "assistant",
    parent,
    via,
    fields: parameters(settings),
    constraint: settings.constraint.kind && {
      kind: settings.constraint.kind,
      name: KINDS[settings.constraint.kind].name,
      value: constraintValue(settings.constraint),
    },
    system: settings.system,
    status: "running",
    choices: [{ content: "" }],
  });
  const controller = new AbortController();
  controllers.set(node.id, controller);
  running.value = new Set(running.value).add(node.id);
  touch(chat);
  keepAddress(chat);
  const watch = new Stopwatch();
  try {
    await read(chat, node, controller.signal, watch);
    settle(node);
    node.status = "done";
  } catch (error) {
    fail(node, error, controller.signal);
  } finally {
    node.timing = watch.stop(node);
    controllers.delete(node.id);
    running.value = new Set([...running.value].filter((id) => id !== node.id));
    tick(node.id).value += 1;
    touch(chat);
    announce(spoken(node));
  }
}

/** Ends an answer; the closed connection ends it on the server. */
export const stop = (id) => controllers.get(id)?.abort();

async function read(chat, node, signal, watch) {
  const request = requestOf(chat, node);
  const onRequestId = (id) => (node.requestId = id);
  for await (const chunk of complete(request, { signal, onRequestId })) {
    watch.chunk(absorb(node, chunk));
    node.timing = watch.now(node);
    show(node);
    save(chat, 2000);
  }
}

const waiting = new Set();

/** Paints at most once a frame. */
function show(node) {
  if (waiting.has(node.id)) return;
  waiting.add(node.id);
  requestAnimationFrame(() => {
    waiting.delete(node.id);
    tick(node.id).value += 1;
  });
}

/** Takes a chunk, or a whole answer, into a node; says how many of its choices bring words. */
export function absorb(node, chunk) {
  if (chunk.model) node.model = chunk.model;
  if (chunk.usage) node.usage = chunk.usage;
  if (chunk.abstractcore) node.facts = { ...node.facts, ...chunk.abstractcore };
  let words = 0;
  for (const { index = 0, delta, message, finish_reason: reason } of chunk.choices ?? []) {
    while (node.choices.length <= index) node.choices.push({ content: "" });
    const choice = node.choices[index];
    words += grow(choice, delta ?? message ?? {}) ? 1 : 0;
    if (reason) choice.finish_reason = reason;
  }
  return words;
}

function grow(choice, delta) {
  const reasoning = delta.reasoning ?? delta.reasoning_content;
  if (typeof delta.content === "string") choice.content += delta.content;
  if (reasoning) choice.reasoning = (choice.reasoning ?? "") + reasoning;
  if (delta.refusal) choice.refusal = (choice.refusal ?? "") + delta.refusal;
  for (const [place, call] of (delta.tool_calls ?? []).entries()) growCall(choice, call, call.index ?? place);
  return Boolean(delta.content || reasoning || delta.tool_calls?.length);
}

function growCall(choice, part, index) {
  choice.tool_calls ??= [];
  const call = (choice.tool_calls[index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
  if (part.id) call.id = part.id;
  if (part.function?.name) call.function.name += part.function.name;
  call.function.arguments += part.function?.arguments ?? "";
}

/** Holds an answer that ended well against what was asked for. */
function settle(node) {
  const unfinished = node.choices.filter((choice) => !choice.finish_reason).length;
  const missing = (node.fields.n ?? 1) - node.choices.length;
  if (unfinished || missing > 0) {
    throw new GatewayError("The answer is not complete.", {
      code: "incomplete",
      why: unfinished
        ? `${unfinished} of ${node.choices.length} choices came without a finish reason`
        : `${node.fields.n} answers were asked for, ${node.choices.length} came`,
      requestId: node.requestId,
    });
  }
  const cut = node.facts?.constraint?.cut_text;
  const [first] = node.choices;
  // The words were streamed before the limit fell; only what is left satisfies the constraint.
  if (cut && first.content.endsWith(cut)) first.content = first.content.slice(0, -cut.length);
}

function fail(node, error, signal) {
  if (signal.aborted) {
    node.status = "stopped";
    return;
  }
  if (!(error instanceof GatewayError)) throw error;
  node.status = "failed";
  node.error = error.toJSON();
  node.requestId ??= error.requestId;
  if (typeof error.partial === "string" && !node.choices[0].content) node.choices[0].content = error.partial;
}

function spoken(node) {
  if (node.status === "stopped") return "The answer was stopped.";
  if (node.error) return `The answer failed. ${node.error.message}`;
  const [first, ...others] = node.choices;
  return `${others.length ? `${others.length + 1} answers. ` : "Answer: "}${first.content.slice(0, 1000)}`;
}

/** Times of an answer, in milliseconds. */
class Stopwatch {
  #start = performance.now();
  #first = null;
  #last = null;
  #chunks = 0;

  chunk(words) {
    if (!words) return;
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#chunks += words;
  }

  /** So far; tokens are estimated by the chunks until the server counts them. */
  now(node) {
    const streamed = Boolean(node.fields.stream);
    const tokens = node.usage?.completion_tokens ?? this.#chunks;
    const seconds = (this.#last - this.#first) / 1e3;
    return {
      first: streamed && this.#first !== null ? this.#first - this.#start : null,
      // The first token's time is the prompt's; with one choice it is one token.
      rate: streamed && seconds > 0.02 && tokens > node.choices.length ? (tokens - node.choices.length) / seconds : null,
      tokens,
      counted: node.usage?.completion_tokens !== undefined,
    };
  }

  stop(node) {
    return { ...this.now(node), total: performance.now() - this.#start };
  }
}
