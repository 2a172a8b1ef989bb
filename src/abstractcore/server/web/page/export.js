/** Conversations as files, and back. */

import { adopt } from "./adopt.js";
import * as db from "./db.js";
import { html, useState } from "../vendor/vendor.js";
import { chats, current, openChat, refreshList } from "./store.js";
import { chosen, path } from "./tree.js";
import { closeDialog, Dialog, download, ErrorBox, notify } from "./ui.js";

const FORMAT = "abstractcore-chats";

/** The conversations as JSON, with all branches. */
export const asJson = (list) => JSON.stringify({ format: FORMAT, version: 1, chats: list }, null, 2);

/** The conversation on the screen as Markdown. */
export function asMarkdown(chat) {
  const parts = [`# ${chat.title || "Conversation"}`];
  if (chat.settings.system.trim()) parts.push(`## System\n\n${chat.settings.system}`);
  for (const node of path(chat)) parts.push(section(node));
  return `${parts.join("\n\n")}\n`;
}

function section(node) {
  if (node.role === "user") return `## You\n\n${node.content}`;
  if (node.role === "tool") {
    return node.results.map(({ tool_call_id: id, content }) => `## Tool result \`${id}\`\n\n${content}`).join("\n\n");
  }
  const name = node.model ?? node.fields.model;
  const choice = node.choices[chosen(node)] ?? node.choices[0];
  if (node.error) return `## ${name}\n\n> This answer failed: ${node.error.message}`;
  const calls = (choice.tool_calls ?? []).map(({ function: called }) => `Calls \`${called.name}\`: \`${called.arguments}\``);
  const stopped = node.status === "stopped" ? ["*(stopped)*"] : [];
  return [`## ${name}`, choice.content, ...calls, ...stopped].filter(Boolean).join("\n\n");
}

const fileName = (chat, ending) => {
  const name = (chat.title || "conversation").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return `${name.slice(0, 60) || "conversation"}.${ending}`;
};

/** Reads an export; a conversation that is here already comes in beside it. */
export async function readExport(text) {
  const data = JSON.parse(text);
  if (data?.format !== FORMAT || !Array.isArray(data.chats)) {
    throw new Error(`It is no export of this page: "format" is not "${FORMAT}".`);
  }
  const here = new Set(chats.value.map((row) => row.id));
  const taken = data.chats.map((chat) => adopt(chat, here));
  for (const chat of taken) await db.put(chat);
  await refreshList();
  return taken;
}

async function everything() {
  const all = await Promise.all(chats.value.map((row) => db.get(row.id)));
  return all.filter(Boolean);
}

function Import() {
  const [error, setError] = useState(null);
  const read = async (event) => {
    const [file] = event.target.files;
    setError(null);
    try {
      const taken = await readExport(await file.text());
      closeDialog();
      if (taken.length) await openChat(taken[0].id);
      notify(`${taken.length} ${taken.length === 1 ? "conversation" : "conversations"} imported`);
    } catch (trouble) {
      setError({ message: `${file.name} was not imported.`, why: trouble.message });
    }
    event.target.value = "";
  };
  return html`<fieldset>
    <legend>Import</legend>
    <label>An export of this page (JSON) <input type="file" accept="application/json,.json" onChange=${read} /></label>
    ${error && html`<${ErrorBox} error=${error} />`}
  </fieldset>`;
}

export function Export({ all }) {
  const chat = current.value;
  const empty = !Object.keys(chat.nodes).length;
  const saveOne = (ending, type, write) => () => download(fileName(chat, ending), type, write());
  const saveAll = async () => download("conversations.json", "application/json", asJson(await everything()));
  return html`<${Dialog} title=${all ? "Import and export" : "Export"} class="small">
    <fieldset>
      <legend>This conversation</legend>
      <div class="row">
        <button type="button" class="plain-button" disabled=${empty} onClick=${saveOne("md", "text/markdown", () => asMarkdown(chat))}>Markdown</button>
        <button type="button" class="plain-button" disabled=${empty} onClick=${saveOne("json", "application/json", () => asJson([chat]))}>JSON, all branches</button>
      </div>
    </fieldset>
    <fieldset>
      <legend>All conversations</legend>
      <button type="button" class="plain-button" disabled=${!chats.value.length} onClick=${saveAll}>JSON (${chats.value.length})</button>
    </fieldset>
    <${Import} />
    <p class="hint">Exports hold what was said and the settings, never the key.</p>
  <//>`;
}
