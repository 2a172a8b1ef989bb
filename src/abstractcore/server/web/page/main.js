/** The chat page: puts its parts together, and listens to the keys. */

import { Fragment, html, render } from "../vendor/vendor.js";
import { focusComposer, newChat, regenerateLast, stopCurrent } from "./actions.js";
import { keyAsked } from "./api.js";
import { Code } from "./code.js";
import { Composer } from "./composer.js";
import { ConstraintEditor } from "./constraint.js";
import { Export } from "./export.js";
import { Header } from "./header.js";
import { Help } from "./help.js";
import { KeyDialog } from "./key.js";
import { refreshModels, served } from "./models.js";
import { Adapters, Models } from "./pickers.js";
import { Settings } from "./settings.js";
import { overlay, Sidebar, sidebarOpen, toggleSidebar } from "./sidebar.js";
import { begin } from "./store.js";
import { Thread } from "./thread.js";
import { announcement, dialog, notice, openDialog } from "./ui.js";

const DIALOGS = { adapters: Adapters, code: Code, constraint: ConstraintEditor, export: Export, help: Help, models: Models, settings: Settings };

function Page() {
  const { name, ...props } = dialog.value ?? {};
  const Shown = DIALOGS[name];
  const covered = overlay.value && sidebarOpen.value;
  return html`<${Fragment}>
    <a class="skip" href="#message" onClick=${(event) => (event.preventDefault(), focusComposer())}>Go to the message</a>
    <${Sidebar} />
    ${covered && html`<div class="scrim" onClick=${toggleSidebar}></div>`}
    <main inert=${covered}>
      <${Header} />
      <${Thread} />
      <${Composer} />
    </main>
    ${Shown && html`<${Shown} key=${name} ...${props} />`}
    ${keyAsked.value && html`<${KeyDialog} ...${keyAsked.value} />`}
    ${notice.value && html`<div class="notice" aria-hidden="true">${notice.value}</div>`}
    <div class="sr-only" role="status" aria-live="polite" id="live">${announcement.value}</div>
  <//>`;
}

const WITH_ALT = {
  KeyA: () => openDialog("adapters"),
  KeyB: toggleSidebar,
  KeyC: () => openDialog("constraint"),
  KeyM: () => openDialog("models"),
  KeyN: newChat,
  KeyR: regenerateLast,
  KeyS: () => openDialog("settings", {}),
  KeyK: () => {
    if (!sidebarOpen.value) toggleSidebar();
    requestAnimationFrame(() => document.querySelector("#search").focus());
  },
};

function onKey(event) {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, textarea, select");
  const alone = !event.ctrlKey && !event.metaKey && !event.altKey;
  const action =
    event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey
      ? WITH_ALT[event.code]
      : alone && !typing && { "?": () => openDialog("help"), "/": focusComposer }[event.key];
  if (action) {
    event.preventDefault();
    action();
  } else if (event.key === "Escape") escape(event);
}

function escape(event) {
  if (overlay.value && sidebarOpen.value) toggleSidebar();
  else if (stopCurrent()) event.preventDefault();
}

await begin();
document.addEventListener("keydown", onKey);
render(html`<${Page} />`, document.querySelector("#app"));
document.documentElement.dataset.ready = "yes";
await refreshModels();
// A gateway whose backend is still loading is asked again until it serves something.
setInterval(() => {
  if (document.visibilityState === "visible" && !served.value.rows.length && !keyAsked.value) refreshModels();
}, 5000);
