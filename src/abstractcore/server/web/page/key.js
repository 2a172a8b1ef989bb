/** Asks for the gateway's key. */

import { html, useState } from "../vendor/vendor.js";
import { key } from "./api.js";
import { Dialog } from "./ui.js";

export function KeyDialog({ message, answer }) {
  const [typed, setTyped] = useState("");
  const use = (event) => {
    event.preventDefault();
    if (typed.trim()) answer(typed.trim());
  };
  return html`<${Dialog} title="Key" class="small" onClose=${() => answer(null)}>
    <form onSubmit=${use}>
      <p>${message || "The gateway's bearer key."}</p>
      <label>Key <input type="password" autocomplete="off" autofocus value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>
      <p class="hint">Kept in memory until this page closes; in no storage, address or export.</p>
      <div class="row end">
        ${key.value && !message && html`<button type="button" class="plain-button" onClick=${() => answer("")}>Forget it</button>`}
        <button class="main-button" disabled=${!typed.trim()}>Use it</button>
      </div>
    </form>
  <//>`;
}
