/** The conversations, and which one is on the screen. */

import { batch, signal } from "../vendor/vendor.js";
import * as db from "./db.js";
import { defaults } from "./request.js";
import { createChat } from "./tree.js";

/** Summaries of all stored conversations, the latest first. */
export const chats = signal([]);
/** The conversation on the screen; its content is changed in place, `revision` says when. */
export const current = signal(null);
export const revision = signal(0);
/** Ids of the answers that are being written. */
export const running = signal(new Set());

const ticks = new Map();
/** Counts the changes within one answer, so that only this one is painted again. */
export function tick(id) {
  if (!ticks.has(id)) ticks.set(id, signal(0));
  return ticks.get(id);
}

const tabs = "BroadcastChannel" in window ? new BroadcastChannel("abstractcore") : null;

export const busy = (chat) => Object.keys(chat.nodes).find((id) => running.value.has(id));

const saving = new Map();

/** Stores a conversation before long; what comes in between goes with it. */
export function save(chat, wait) {
  if (!saving.has(chat.id)) saving.set(chat.id, { chat, timer: setTimeout(() => saveNow(chat), wait) });
}

/** Stores a conversation; one without a message is not worth keeping. */
async function saveNow(chat) {
  clearTimeout(saving.get(chat.id)?.timer);
  saving.delete(chat.id);
  if (!Object.keys(chat.nodes).length) return;
  await db.put(chat);
  tabs?.postMessage(chat.id);
}

addEventListener("pagehide", () => {
  for (const { chat } of [...saving.values()]) saveNow(chat);
});

/** Says that a conversation has changed: it is stored, listed first and painted. */
export function touch(chat) {
  chat.updated = Date.now();
  saveNow(chat);
  batch(() => {
    const others = chats.value.filter((row) => row.id !== chat.id);
    if (Object.keys(chat.nodes).length) chats.value = [db.summary(chat), ...others];
    if (chat === current.value) revision.value += 1;
  });
}

const REMEMBERED = ["model", "temperature", "top_p", "max_tokens", "stream"];

function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem("abstractcore.settings") ?? "{}");
    return Object.fromEntries(REMEMBERED.filter((name) => name in kept).map((name) => [name, kept[name]]));
  } catch {
    return {};
  }
}

export function change(settings) {
  const chat = current.value;
  chat.settings = { ...chat.settings, ...settings };
  remember("abstractcore.settings", JSON.stringify(Object.fromEntries(REMEMBERED.map((name) => [name, chat.settings[name]]))));
  save(chat, 300);
  revision.value += 1;
}

/** Keeps a small preference, where the browser allows it. */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that refuses storage still chats.
  }
}

function show(chat) {
  current.value = chat;
  const stored = Object.keys(chat.nodes).length > 0;
  history.replaceState(null, "", stored ? `#${chat.id}` : location.pathname + location.search);
}

export function startChat() {
  const model = current.value?.settings.model;
  show(createChat({ ...defaults(), ...remembered(), ...(model ? { model } : {}) }));
}

export async function openChat(id) {
  const chat = await db.get(id);
  if (!chat) return startChat();
  chat.settings = { ...defaults(), ...chat.settings };
  for (const node of Object.values(chat.nodes)) {
    if (node.status === "running" && !running.value.has(node.id)) {
      node.status = "failed";
      node.error = { message: "The page was closed before the answer was complete.", code: "interrupted" };
    }
  }
  return show(chat);
}

/** The address gets its mark once there is something to come back to. */
export const keepAddress = (chat) => chat === current.value && history.replaceState(null, "", `#${chat.id}`);

export async function rename(id, title) {
  const chat = await db.get(id);
  if (!chat || !title.trim()) return;
  chat.title = title.trim();
  touch(chat);
}

export async function removeChat(id) {
  await db.remove(id);
  chats.value = chats.value.filter((row) => row.id !== id);
  tabs?.postMessage(id);
  if (current.value.id === id) startChat();
}

export async function refreshList() {
  chats.value = (await db.list()).sort((one, other) => other.updated - one.updated);
}

/** Opens the conversation of the address, or an empty one. */
export async function begin() {
  const wanted = location.hash.slice(1);
  startChat();
  await refreshList();
  if (chats.value.some((row) => row.id === wanted)) await openChat(wanted);
}

tabs?.addEventListener("message", async ({ data: id }) => {
  const shown = current.value?.id === id;
  if (shown && busy(current.value)) return;
  db.forget(id);
  await refreshList();
  if (shown && chats.value.some((row) => row.id === id)) await openChat(id);
});
