/** Where the next message is written. */

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/vendor.js";
import { blocked, say, stopCurrent } from "./actions.js";
import { Icon } from "./icons.js";
import { baseOf, used } from "./models.js";
import { KINDS } from "./request.js";
import { busy, change, current, revision, tick } from "./store.js";
import { path } from "./tree.js";
import { IconButton, openDialog, shortCount } from "./ui.js";

/** What was typed and not sent, by conversation. */
const drafts = new Map();

function Chip({ icon, text, label, onClick, onRemove, remove }) {
  return html`<span class="chip">
    <button type="button" aria-label=${label} title=${label} onClick=${onClick}><${Icon} name=${icon} />${text}</button>
    ${onRemove && html`<button type="button" class="chip-remove" aria-label=${remove} title=${remove} onClick=${onRemove}><${Icon} name="close" /></button>`}
  </span>`;
}

function toolCount(text) {
  try {
    const tools = JSON.parse(text);
    return Array.isArray(tools) ? tools.length : 0;
  } catch {
    return 0;
  }
}

/** What the next answer is bound to, in sight. */
function Chips({ chat }) {
  const { constraint, tools, n, use_beam_search: beam, system } = chat.settings;
  const many = Number(n) > 1 || beam;
  const edit = () => openDialog("constraint");
  return html`<div class="chips">
    ${constraint.kind
      ? html`<${Chip} icon="shield" text=${KINDS[constraint.kind].name} label="Edit the constraint" onClick=${edit}
          remove="Remove the constraint" onRemove=${() => change({ constraint: { ...constraint, kind: "" } })} />`
      : html`<${Chip} icon="shield" text="Constraint" label="Constrain the answer" onClick=${edit} />`}
    ${many &&
    html`<${Chip} icon="columns" text=${beam ? `Beam ${n || 1}` : `${n} answers`} label="Several answers" onClick=${() => openSettings("n")}
      remove="One answer" onRemove=${() => change({ n: "", use_beam_search: false })} />`}
    ${tools.trim() &&
    html`<${Chip} icon="tool" text=${`${toolCount(tools) || "?"} tools`} label="Edit the tools" onClick=${() => openSettings("tools")}
      remove="Remove the tools" onRemove=${() => change({ tools: "" })} />`}
    ${system.trim() && html`<${Chip} icon="system" text="System prompt" label="Edit the system prompt" onClick=${() => openSettings("system")} />`}
  </div>`;
}

export const openSettings = (field) => openDialog("settings", { field });

/** How much of the context the conversation takes, by the server's own count. */
function Context({ chat }) {
  revision.value;
  const limit = baseOf(used.value)?.max_model_len;
  const last = path(chat).findLast((node) => node.role === "assistant" && node.usage);
  if (last) tick(last.id).value;
  if (!limit || !last) return null;
  const { prompt_tokens: prompt = 0, completion_tokens: words = 0 } = last.usage;
  const taken = prompt + Math.round(words / Math.max(last.choices.length, 1));
  const tight = taken > limit * 0.8;
  return html`<span class=${tight ? "context tight" : "context"} title="Tokens of this conversation, and the model's limit">
    ${taken.toLocaleString("en")} / ${shortCount(limit)}
  </span>`;
}

export function Composer() {
  revision.value;
  const chat = current.value;
  const writing = busy(chat);
  const [text, setText] = useState("");
  const area = useRef(null);
  useEffect(() => {
    setText(drafts.get(chat.id) ?? "");
    if (matchMedia("(hover: hover)").matches) area.current.focus();
  }, [chat.id]);
  useLayoutEffect(() => {
    // Grows with the text where the browser does not do so by itself.
    if (CSS.supports("field-sizing", "content")) return;
    area.current.style.height = "auto";
    area.current.style.height = `${area.current.scrollHeight}px`;
  }, [text]);

  const write = (value) => {
    drafts.set(chat.id, value);
    setText(value);
  };
  const send = (event) => {
    event.preventDefault();
    if (say(chat, text)) write("");
  };
  const onKey = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
    if (event.key === "ArrowUp" && !text) {
      const edit = [...document.querySelectorAll(".turn.user .edit")].at(-1);
      if (edit) {
        event.preventDefault();
        edit.click();
      }
    }
  };
  const why = blocked(chat);
  const button = writing
    ? html`<button type="button" class="send stop" aria-label="Stop" title="Stop (Esc)" onClick=${stopCurrent}><${Icon} name="stop" /></button>`
    : html`<button class="send" aria-label="Send" title=${why ?? "Send (Enter)"} disabled=${Boolean(why) || !text.trim()}><${Icon} name="send" /></button>`;
  return html`<form class="composer" onSubmit=${send}>
    <textarea id="message" ref=${area} rows="1" aria-label="Message" placeholder="Write a message" value=${text}
      onInput=${(event) => write(event.target.value)} onKeyDown=${onKey}></textarea>
    <div class="composer-foot">
      <${Chips} chat=${chat} />
      <${Context} chat=${chat} />
      <${IconButton} icon="code" label="Show the next request as code" onClick=${() => openDialog("code", { chat, draft: text })} />
      ${button}
    </div>
    ${why && !writing && html`<p class="blocked" role="status">${why}</p>`}
  </form>`;
}
