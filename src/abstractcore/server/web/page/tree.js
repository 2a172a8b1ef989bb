/**
 * A conversation as a tree. Nothing is overwritten: an edit or a new answer is a sibling, and the path through the
 * tree is the conversation on the screen. An answer may hold several choices; what follows hangs below one of them.
 *
 * A chat is plain data, so that it can be stored and exported:
 * `{ id, title, created, updated, settings, nodes: {id: node}, children: {slot: [id]}, selected: {slot: id} }`.
 * A node is `{ id, role, parent, via, at, … }`; `via` is the choice of the parent that it follows.
 */

/** An id without `crypto.randomUUID`, which browsers keep from pages on plain HTTP. */
export function makeId() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (byte) => byte.toString(36).padStart(2, "0")).join("");
}

/** The place below a choice of a node, or the beginning. */
export const slot = (parent, via = 0) => (parent ? `${parent}:${via}` : "root");

export function createChat(settings) {
  const now = Date.now();
  const id = makeId();
  return { id, title: "", created: now, updated: now, settings, nodes: {}, children: {}, selected: {} };
}

/** Adds a node and selects it. */
export function append(chat, node) {
  const added = { id: makeId(), at: Date.now(), parent: null, via: 0, ...node };
  const place = slot(added.parent, added.via);
  chat.nodes[added.id] = added;
  (chat.children[place] ??= []).push(added.id);
  chat.selected[place] = added.id;
  return added;
}

/** The choice that a node goes on with. */
export const chosen = (node) => (node.role === "assistant" ? (node.chosen ?? 0) : 0);

/** The nodes on the screen, first to last. */
export function path(chat) {
  const nodes = [];
  let node = chat.nodes[chat.selected.root];
  while (node) {
    nodes.push(node);
    node = chat.nodes[chat.selected[slot(node.id, chosen(node))]];
  }
  return nodes;
}

/** The branches at a node's place, itself among them. */
export const siblings = (chat, node) => chat.children[slot(node.parent, node.via)] ?? [node.id];

export function select(chat, id) {
  const node = chat.nodes[id];
  chat.selected[slot(node.parent, node.via)] = id;
}

/** Removes a node and all that follows it; its last sibling takes its place. */
export function removeBranch(chat, id) {
  const node = chat.nodes[id];
  const place = slot(node.parent, node.via);
  chat.children[place] = chat.children[place].filter((other) => other !== id);
  if (chat.selected[place] === id) chat.selected[place] = chat.children[place].at(-1);
  const doomed = [id];
  for (let next = doomed.pop(); next; next = doomed.pop()) {
    for (const below of Object.keys(chat.children).filter((key) => key.startsWith(`${next}:`))) {
      doomed.push(...chat.children[below]);
      delete chat.children[below];
      delete chat.selected[below];
    }
    delete chat.nodes[next];
  }
}

/** The nodes that lead to a node, with the choice that each goes on with; the node itself is the last. */
export function lineage(chat, id, via = 0) {
  const line = [];
  for (let node = chat.nodes[id], choice = via; node; choice = node.via, node = chat.nodes[node.parent]) {
    line.unshift({ node, choice });
  }
  return line;
}

/** The messages of a request that goes on after a choice of a node; failed answers are no part of a conversation. */
export function messages(chat, id, via = 0, system = "") {
  const list = system.trim() ? [{ role: "system", content: system }] : [];
  for (const { node, choice } of lineage(chat, id, via)) {
    if (node.role === "user") list.push({ role: "user", content: node.content });
    else if (node.role === "tool") list.push(...node.results.map((result) => ({ role: "tool", ...result })));
    else if (!node.error) list.push(...answered(node.choices[choice]));
  }
  return list;
}

function answered(choice) {
  const calls = choice?.tool_calls ?? [];
  if (!choice || (!choice.content && !calls.length)) return [];
  return [{ role: "assistant", content: choice.content || null, ...(calls.length ? { tool_calls: calls } : {}) }];
}
