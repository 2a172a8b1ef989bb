/** Conversations in IndexedDB: a small store for the list, one for the trees. Without it they live in memory. */

import { signal } from "../vendor/vendor.js";

/** Why nothing is kept, or null while all is well. */
export const storageTrouble = signal(null);

const memory = new Map();
let opened;

function open() {
  opened ??= new Promise((resolve) => {
    const give = (why) => {
      storageTrouble.value = why;
      resolve(null);
    };
    try {
      const request = indexedDB.open("abstractcore", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("list", { keyPath: "id" });
        request.result.createObjectStore("chats", { keyPath: "id" });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => give(request.error?.message ?? "storage is refused");
      request.onblocked = () => give("another tab holds an older storage");
    } catch (error) {
      give(error.message);
    }
  });
  return opened;
}

async function transact(mode, stores, work) {
  const base = await open();
  if (!base) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = base.transaction(stores, mode);
    let result;
    transaction.oncomplete = () => resolve(result);
    transaction.onabort = () => reject(transaction.error);
    work(transaction, (value) => {
      result = value;
    });
  });
}

export const summary = ({ id, title, created, updated }) => ({ id, title, created, updated });

export async function put(chat) {
  memory.set(chat.id, chat);
  try {
    await transact("readwrite", ["list", "chats"], (transaction) => {
      transaction.objectStore("list").put(summary(chat));
      transaction.objectStore("chats").put(chat);
    });
  } catch (error) {
    storageTrouble.value = error?.message ?? "the browser refused to store";
  }
}

export async function get(id) {
  const kept = memory.get(id);
  if (kept) return kept;
  const chat = await transact("readonly", ["chats"], (transaction, give) => {
    const request = transaction.objectStore("chats").get(id);
    request.onsuccess = () => give(request.result);
  });
  if (chat) memory.set(id, chat);
  return chat;
}

/** Forgets the copy in memory, since another tab has written. */
export const forget = (id) => memory.delete(id);

export async function remove(id) {
  memory.delete(id);
  await transact("readwrite", ["list", "chats"], (transaction) => {
    transaction.objectStore("list").delete(id);
    transaction.objectStore("chats").delete(id);
  });
}

export async function list() {
  const rows = await transact("readonly", ["list"], (transaction, give) => {
    const request = transaction.objectStore("list").getAll();
    request.onsuccess = () => give(request.result);
  });
  return rows ?? [...memory.values()].map(summary);
}

/** The ids of the conversations in which all words occur, looked through one at a time. */
export async function search(words) {
  const matches = (chat) => {
    const text = searchable(chat);
    return words.every((word) => text.includes(word));
  };
  const found = await transact("readonly", ["chats"], (transaction, give) => {
    const ids = new Set();
    give(ids);
    transaction.objectStore("chats").openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (!cursor) return;
      if (matches(cursor.value)) ids.add(cursor.value.id);
      cursor.continue();
    };
  });
  return found ?? new Set([...memory.values()].filter(matches).map((chat) => chat.id));
}

function searchable(chat) {
  const parts = [chat.title];
  for (const node of Object.values(chat.nodes)) {
    if (node.content) parts.push(node.content);
    for (const choice of node.choices ?? []) parts.push(choice.content ?? "");
  }
  return parts.join("\n").toLowerCase();
}
