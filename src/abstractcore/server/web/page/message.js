/** One turn of the conversation: what was said, what was answered, and what can be done with it. */

import { Fragment, html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { goTo, prune, regenerate, rephrase } from "./actions.js";
import { Answer } from "./answer.js";
import { Icon } from "./icons.js";
import { busy, revision, running, tick } from "./store.js";
import { chosen, siblings } from "./tree.js";
import { copy, IconButton, openDialog } from "./ui.js";

/*
 * Chats and nodes are changed in place, and a component that reads signals is painted again only by them: each one here
 * that takes a chat or a node reads the signal that says when it has changed.
 */

/** Switches between the branches at a node's place. */
function Branches({ chat, node }) {
  const ids = siblings(chat, node);
  if (ids.length < 2) return null;
  const place = ids.indexOf(node.id);
  const go = (step) => goTo(chat, ids[place + step]);
  return html`<span class="branches" role="group" aria-label="Branches">
    <${IconButton} icon="left" label="Previous branch" disabled=${place === 0} onClick=${() => go(-1)} />
    <span aria-label=${`Branch ${place + 1} of ${ids.length}`}>${place + 1}/${ids.length}</span>
    <${IconButton} icon="right" label="Next branch" disabled=${place === ids.length - 1} onClick=${() => go(1)} />
  </span>`;
}

function Editor({ chat, node, onClose }) {
  const [text, setText] = useState(node.content);
  const save = (event) => {
    event.preventDefault();
    if (rephrase(chat, node, text)) onClose();
  };
  const onKey = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onClose();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save(event);
  };
  const area = useRef(null);
  useEffect(() => area.current.focus(), []);
  return html`<form class="editor" onSubmit=${save}>
    <textarea aria-label="Edit the message" ref=${area} value=${text} onKeyDown=${onKey}
      onInput=${(event) => setText(event.target.value)}></textarea>
    <div class="row">
      <span class="hint">A new branch; the old one stays</span>
      <button type="button" class="plain-button" onClick=${onClose}>Cancel</button>
      <button class="main-button" disabled=${!text.trim()}>Send</button>
    </div>
  </form>`;
}

function Said({ chat, node }) {
  revision.value;
  const [editing, setEditing] = useState(false);
  if (editing) return html`<${Editor} chat=${chat} node=${node} onClose=${() => setEditing(false)} />`;
  return html`<${Fragment}>
    <div class="bubble">${node.content}</div>
    <div class="actions">
      <${Branches} chat=${chat} node=${node} />
      <${IconButton} icon="copy" label="Copy message" onClick=${() => copy(node.content)} />
      <${IconButton} icon="edit" label="Edit message" class="edit" disabled=${busy(chat)} onClick=${() => setEditing(true)} />
      <${IconButton} icon="trash" label="Delete this branch" disabled=${busy(chat)} onClick=${() => prune(chat, node)} />
    </div>
  <//>`;
}

function Results({ node }) {
  return node.results.map(
    ({ tool_call_id: id, content }) => html`<div class="tool" key=${id}>
      <p class="tool-name"><${Icon} name="tool" /> Result <code>${id}</code></p>
      <pre tabindex="0">${content}</pre>
    </div>`,
  );
}

function Answered({ chat, node, last }) {
  revision.value;
  tick(node.id).value;
  const writing = running.value.has(node.id);
  const choice = node.choices[chosen(node)] ?? node.choices[0];
  return html`<${Fragment}>
    <${Answer} chat=${chat} node=${node} last=${last} />
    ${!writing &&
    html`<div class="actions">
      <${Branches} chat=${chat} node=${node} />
      <${IconButton} icon="copy" label="Copy answer" onClick=${() => copy(choice.content)} />
      <${IconButton} icon="refresh" label="Regenerate" disabled=${busy(chat)} onClick=${() => regenerate(chat, node)} />
      <${IconButton} icon="code" label="Show the request as code" onClick=${() => openDialog("code", { chat, node })} />
    </div>`}
  <//>`;
}

const NAMES = { user: "You", assistant: "Model", tool: "Tool results" };

/** A turn; `last` marks the one that new words come below. */
export function Message({ chat, node, last }) {
  revision.value;
  const View = { user: Said, assistant: Answered, tool: Results }[node.role];
  return html`<li class=${`turn ${node.role}`}>
    <article aria-label=${NAMES[node.role]}>
      <${View} chat=${chat} node=${node} last=${last} />
    </article>
  </li>`;
}
