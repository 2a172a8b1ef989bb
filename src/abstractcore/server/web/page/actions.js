/** What the reader can do with a conversation; buttons, keys and dialogs all come here. */

import { answer, stop } from "./run.js";
import { chats, current, startChat, touch, busy } from "./store.js";
import { append, chosen, path, removeBranch, select } from "./tree.js";
import { troubles } from "./request.js";
import { chooseFirst } from "./models.js";
import { notify } from "./ui.js";

/** Says why nothing can be sent now, or null. */
export function blocked(chat) {
  if (busy(chat)) return "An answer is being written";
  return troubles(chat.settings)[0] ?? null;
}

function mayAsk(chat) {
  const why = blocked(chat);
  if (why) notify(why);
  return !why;
}

/** Sends a message at the end of the conversation; says whether it went. */
export function say(chat, content) {
  if (!content.trim() || !mayAsk(chat)) return false;
  const last = path(chat).at(-1);
  const node = append(chat, { role: "user", content, parent: last?.id ?? null, via: last ? chosen(last) : 0 });
  chat.title ||= titleOf(content);
  answer(chat, node.id);
  return true;
}

const titleOf = (content) => {
  const line = content.trim().split("\n", 1)[0];
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
};

/** Says a message differently: a new branch beside the old one. */
export function rephrase(chat, node, content) {
  if (!content.trim() || !mayAsk(chat)) return false;
  const added = append(chat, { role: "user", content, parent: node.parent, via: node.via });
  answer(chat, added.id);
  return true;
}

/** Asks once more, beside the answer that there is. */
export function regenerate(chat, node) {
  if (mayAsk(chat)) answer(chat, node.parent, node.via);
}

/** Hands the results of tool calls to the model. */
export function giveResults(chat, node, results) {
  if (!mayAsk(chat)) return;
  const added = append(chat, { role: "tool", results, parent: node.id, via: chosen(node) });
  answer(chat, added.id);
}

export function choose(chat, node, index) {
  node.chosen = index;
  touch(chat);
}

export function goTo(chat, id) {
  select(chat, id);
  touch(chat);
}

export function prune(chat, node) {
  if (busy(chat)) return notify("An answer is being written");
  removeBranch(chat, node.id);
  return touch(chat);
}

export function newChat() {
  startChat();
  chooseFirst();
  focusComposer();
}

export const focusComposer = () => document.querySelector("#message")?.focus();

export function stopCurrent() {
  const id = current.value && busy(current.value);
  if (id) stop(id);
  return Boolean(id);
}

/** Regenerates the last answer, if there is one. */
export function regenerateLast() {
  const chat = current.value;
  const last = path(chat).findLast((node) => node.role === "assistant");
  if (last) regenerate(chat, last);
}

export const titleFor = (id) => chats.value.find((row) => row.id === id)?.title || "New chat";
