/** The keyboard shortcuts. */

import { html } from "../vendor/vendor.js";
import { Dialog } from "./ui.js";

const ALT = /Mac|iPhone|iPad/.test(navigator.platform) ? "Option" : "Alt";

const SHORTCUTS = [
  ["Write", [
    ["Send", "Enter"],
    ["New line", "Shift", "Enter"],
    ["Stop the answer", "Esc"],
    ["Edit the last message", "Up"],
    ["Regenerate", ALT, "R"],
    ["To the message", "/"],
  ]],
  ["Choose", [
    ["Model", ALT, "M"],
    ["Adapter", ALT, "A"],
    ["Constraint", ALT, "C"],
    ["Settings", ALT, "S"],
  ]],
  ["Conversations", [
    ["New", ALT, "N"],
    ["Search", ALT, "K"],
    ["Show or hide the list", ALT, "B"],
    ["This help", "?"],
  ]],
];

export function Help() {
  return html`<${Dialog} title="Keyboard shortcuts" class="small">
    ${SHORTCUTS.map(
      ([name, rows]) => html`<section class="shortcuts" key=${name}>
        <h3>${name}</h3>
        <dl>${rows.map(([what, ...keys]) => html`<div key=${what}><dt>${what}</dt><dd>${keys.map((key) => html`<kbd>${key}</kbd>`)}</dd></div>`)}</dl>
      </section>`,
    )}
  <//>`;
}
