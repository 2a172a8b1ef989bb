/** The bar above the conversation: which model, which adapter, and the way to everything else. */

import { html } from "../vendor/vendor.js";
import { Icon } from "./icons.js";
import { adaptersOf, baseOf, isAdapter, served, shortName, used } from "./models.js";
import { current, revision } from "./store.js";
import { IconButton, openDialog, shortCount } from "./ui.js";
import { sidebarOpen, toggleSidebar } from "./sidebar.js";

export function Header() {
  revision.value;
  const row = used.value;
  const base = baseOf(row);
  const wanted = current.value.settings.model;
  const name = base ? shortName(base) : wanted || (served.value.loading ? "Looking for models" : "No model");
  const few = base && (isAdapter(row) || adaptersOf(base).length > 0);
  return html`<header class="top">
    <${IconButton} icon="menu" label="Conversations" aria-expanded=${String(sidebarOpen.value)} aria-controls="sidebar" onClick=${toggleSidebar} />
    <button type="button" class="pick-model" aria-haspopup="dialog" title="Choose a model (Alt+M)" onClick=${() => openDialog("models")}>
      <span class="name">${name}</span>
      ${base?.max_model_len && html`<span class="size">${shortCount(base.max_model_len)}</span>`}
      <${Icon} name="down" />
    </button>
    <button type="button" class=${few ? "pick-model adapter some" : "pick-model adapter"} aria-haspopup="dialog" title="Choose an adapter (Alt+A)" onClick=${() => openDialog("adapters")}>
      <${Icon} name="pieces" /><span class="name">${isAdapter(row) ? shortName(row) : "No adapter"}</span>
    </button>
    <span class="space"></span>
    <${IconButton} icon="export" label="Export this conversation" onClick=${() => openDialog("export")} />
    <${IconButton} icon="settings" label="Settings" onClick=${() => openDialog("settings", {})} />
  </header>`;
}
