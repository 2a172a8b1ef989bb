/** Takes a conversation out of a file that may hold anything: only what is known comes in, and every id is new. */

import { defaults, KINDS } from "./request.js";
import { createChat, makeId, slot } from "./tree.js";

const isText = (value) => typeof value === "string";
const isObject = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);
const text = (value) => (isText(value) ? value : "");
const number = (value) => (Number.isFinite(value) ? value : 0);

function settingsOf(given) {
  const known = defaults();
  for (const [name, value] of Object.entries(known)) {
    if (name !== "constraint" && typeof given?.[name] === typeof value) known[name] = given[name];
  }
  for (const name of Object.keys(known.constraint)) known.constraint[name] = text(given?.constraint?.[name]);
  if (!Object.hasOwn(KINDS, known.constraint.kind)) known.constraint.kind = "";
  return known;
}

function callOf(call) {
  const called = isObject(call?.function) ? call.function : {};
  return { id: text(call?.id), type: "function", function: { name: text(called.name), arguments: text(called.arguments) } };
}

function choiceOf(given) {
  const choice = { content: text(given?.content) };
  for (const name of ["reasoning", "refusal", "finish_reason"]) if (isText(given?.[name])) choice[name] = given[name];
  if (Array.isArray(given?.tool_calls) && given.tool_calls.length) choice.tool_calls = given.tool_calls.map(callOf);
  return choice;
}

function errorOf(given) {
  const error = { message: text(given.message) || "The answer failed." };
  for (const name of ["why", "hint", "code", "param", "requestId"]) if (isText(given[name])) error[name] = given[name];
  if (Number.isInteger(given.status)) error.status = given.status;
  return error;
}

function timingOf({ first, rate, tokens, counted, total }) {
  return { first: Number.isFinite(first) ? first : null, rate: number(rate), tokens: number(tokens), counted: Boolean(counted), total: number(total) };
}

function factsOf({ constraint, server_version: version }) {
  const facts = {};
  if (isText(version)) facts.server_version = version;
  if (isObject(constraint)) {
    const { proved, checker, spelling, unproved, trimmed } = constraint;
    facts.constraint = { proved: proved === true, checker: text(checker), spelling: text(spelling), trimmed: trimmed === true };
    if (isText(unproved)) facts.constraint.unproved = unproved;
  }
  return facts;
}

function answerOf(given) {
  const choices = (Array.isArray(given.choices) ? given.choices : []).map(choiceOf);
  const node = {
    choices: choices.length ? choices : [{ content: "" }],
    fields: isObject(given.fields) ? { ...given.fields, model: text(given.fields.model) } : { model: "" },
    status: ["done", "stopped", "failed"].includes(given.status) ? given.status : "stopped",
    system: text(given.system),
  };
  node.chosen = Number.isInteger(given.chosen) && node.choices[given.chosen] ? given.chosen : 0;
  for (const name of ["model", "requestId"]) if (isText(given[name])) node[name] = given[name];
  if (isObject(given.error)) node.error = errorOf(given.error);
  if (isObject(given.timing)) node.timing = timingOf(given.timing);
  if (isObject(given.facts)) node.facts = factsOf(given.facts);
  if (isObject(given.usage)) {
    node.usage = { prompt_tokens: number(given.usage.prompt_tokens), completion_tokens: number(given.usage.completion_tokens) };
  }
  if (isObject(given.constraint)) {
    node.constraint = { kind: text(given.constraint.kind), name: text(given.constraint.name) };
  }
  return node;
}

function nodeOf(given) {
  if (given?.role === "user") return { role: "user", content: text(given.content) };
  if (given?.role === "assistant") return { role: "assistant", ...answerOf(given) };
  if (given?.role !== "tool" || !Array.isArray(given.results)) return null;
  return {
    role: "tool",
    results: given.results.map((result) => ({ tool_call_id: text(result?.tool_call_id), content: text(result?.content) })),
  };
}

/**
 * A conversation from a file.
 *
 * @param given What stands in the file.
 * @param here Ids of the conversations that there are; the id is kept where it is free.
 */
export function adopt(given, here) {
  if (!isObject(given) || !isObject(given.nodes) || !isObject(given.children)) {
    throw new Error("A conversation in it has no messages.");
  }
  const chat = createChat(settingsOf(given.settings));
  if (isText(given.id) && /^[a-z0-9]{8,40}$/.test(given.id) && !here.has(given.id)) chat.id = given.id;
  chat.title = text(given.title).slice(0, 200);
  chat.created = number(given.created);
  chat.updated = number(given.updated);
  const seen = new Set();
  // From the root down, so that what nothing leads to, or leads to itself, stays out.
  const open = [{ from: "root", to: { parent: null, via: 0 } }];
  for (let place = open.pop(); place; place = open.pop()) open.push(...takeChildren(chat, given, place, seen));
  return chat;
}

function takeChildren(chat, given, { from, to }, seen) {
  const below = [];
  const ids = Array.isArray(given.children[from]) ? given.children[from] : [];
  const at = slot(to.parent, to.via);
  for (const id of ids) {
    const source = Object.hasOwn(given.nodes, id) && !seen.has(id) ? given.nodes[id] : null;
    const taken = nodeOf(source);
    if (!taken) continue;
    seen.add(id);
    const node = { ...taken, id: makeId(), at: number(source.at), ...to };
    chat.nodes[node.id] = node;
    (chat.children[at] ??= []).push(node.id);
    if (given.selected?.[from] === id || !chat.selected[at]) chat.selected[at] = node.id;
    for (let via = 0; via < (node.choices?.length ?? 1); via += 1) {
      below.push({ from: slot(id, via), to: { parent: node.id, via } });
    }
  }
  return below;
}
