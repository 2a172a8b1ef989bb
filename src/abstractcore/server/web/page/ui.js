/** Small parts that all of the page uses. */

import { html, signal, useEffect, useRef } from "../vendor/vendor.js";
import { Icon } from "./icons.js";

/** The open dialog: `{ name, …props }` or null. */
export const dialog = signal(null);
export const openDialog = (name, props = {}) => (dialog.value = { name, ...props });
export const closeDialog = () => (dialog.value = null);

/** What a screen reader is told next. */
export const announcement = signal("");
/** A short notice at the foot of the page. */
export const notice = signal("");

export function announce(text) {
  // The same words twice would not be read twice.
  announcement.value = announcement.value === text ? `${text}\u00a0` : text;
}

let noticeTimer;
export function notify(text) {
  clearTimeout(noticeTimer);
  notice.value = text;
  announce(text);
  noticeTimer = setTimeout(() => (notice.value = ""), 2500);
}

/** Copies; also on plain HTTP, where browsers keep the clipboard's own interface from pages. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus?.();
  return copied;
}

export async function copy(text, what = "Copied") {
  notify((await copyText(text)) ? what : "The browser refused to copy");
}

/** Hands a file to the reader. */
export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function IconButton({ icon, label, text, class: extra = "", ...rest }) {
  return html`<button type="button" class=${`icon-button ${extra}`} aria-label=${label} title=${label} ...${rest}>
    <${Icon} name=${icon} />${text}
  </button>`;
}

/** A modal dialog; the browser keeps the focus inside, and gives it back. */
export function Dialog({ title, class: extra = "", onClose = closeDialog, children }) {
  const element = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    const shown = element.current;
    shown.showModal();
    return () => {
      shown.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  const onBackdrop = (event) => {
    if (event.target === element.current) onClose();
  };
  return html`<dialog ref=${element} class=${extra} aria-label=${title} onCancel=${cancel} onMouseDown=${onBackdrop}>
    <div class="dialog-box">
      <header>
        <h2>${title}</h2>
        <${IconButton} icon="close" label="Close" onClick=${onClose} />
      </header>
      ${children}
    </div>
  </dialog>`;
}

/** An error with the reason and what can be done. */
export function ErrorBox({ error, children }) {
  const facts = [error.status && `status ${error.status}`, error.code, error.param && `field ${error.param}`];
  return html`<div class="error-box" role="alert">
    <${Icon} name="alert" />
    <div>
      <p class="error-message">${error.message}</p>
      ${error.why && html`<p>${error.why}</p>`}
      ${error.hint && html`<p class="hint">${error.hint}</p>`}
      <p class="facts">${[...facts, error.requestId].filter(Boolean).join(" · ")}</p>
      ${children && html`<div class="row">${children}</div>`}
    </div>
  </div>`;
}

/** A length in tokens, as people say it. */
export function shortCount(count) {
  if (count >= 1 << 20 && count % (1 << 20) === 0) return `${count >> 20}M`;
  if (count >= 1024 && count % 1024 === 0) return `${count >> 10}k`;
  return count >= 10_000 ? `${Math.round(count / 1000)}k` : count.toLocaleString("en");
}
