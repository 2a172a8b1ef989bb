/** Choosing a model, and an adapter of it. */

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { Icon } from "./icons.js";
import { adaptersOf, baseOf, loadAdapter, refreshModels, served, shortName, unloadAdapter, used } from "./models.js";
import { change } from "./store.js";
import { closeDialog, Dialog, ErrorBox, notify, shortCount } from "./ui.js";

function describe(row) {
  const adapters = adaptersOf(row).length;
  return [
    row.aliases?.length && `also ${row.aliases.join(", ")}`,
    row.backend ?? row.owned_by,
    adapters && `${adapters} ${adapters > 1 ? "adapters" : "adapter"}`,
  ].filter(Boolean).join(" · ");
}

/** Models as a list that keys go through while the words of a search are typed. */
export function Models() {
  const [query, setQuery] = useState("");
  const [place, setPlace] = useState(0);
  const list = useRef(null);
  useEffect(() => void refreshModels(), []);
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const { rows: all, error } = served.value;
  const rows = all.filter((row) => !row.parent && words.every((word) => `${row.id} ${row.aliases?.join(" ") ?? ""}`.toLowerCase().includes(word)));
  const active = Math.min(place, rows.length - 1);
  const current = baseOf(used.value)?.id;
  const pick = (row) => {
    change({ model: row.id });
    closeDialog();
  };
  const onKey = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = (active + step + rows.length) % rows.length;
      setPlace(next);
      list.current.children[next]?.scrollIntoView({ block: "nearest" });
    }
    if (event.key === "Enter" && rows[active]) pick(rows[active]);
  };
  return html`<${Dialog} title="Model" class="small">
    <input type="search" role="combobox" aria-label="Search models" aria-expanded="true" aria-controls="model-list" autofocus
      aria-activedescendant=${rows[active] ? `model-${active}` : undefined} placeholder="Search" value=${query}
      onInput=${(event) => (setQuery(event.target.value), setPlace(0))} onKeyDown=${onKey} />
    ${error && html`<${ErrorBox} error=${error} />`}
    <ul id="model-list" class="options" role="listbox" aria-label="Models" ref=${list}>
      ${rows.map(
        (row, index) => html`<li key=${row.id} id=${`model-${index}`} role="option" aria-selected=${String(row.id === current)}
          class=${index === active ? "active" : ""} onClick=${() => pick(row)} onMouseMove=${() => setPlace(index)}>
          <span class="tick">${row.id === current && html`<${Icon} name="check" />`}</span>
          <span class="option-name">${shortName(row)}<small>${describe(row)}</small></span>
          <span class="size">${row.max_model_len ? shortCount(row.max_model_len) : ""}</span>
        </li>`,
      )}
    </ul>
    ${!rows.length && !error && html`<p class="hint">${query ? "Nothing found" : "The gateway serves no model"}</p>`}
  <//>`;
}

function LoadForm({ base, onError }) {
  const [name, setName] = useState("");
  const [path, setPath] = useState("");
  const [busy, setBusy] = useState(false);
  const load = async (event) => {
    event.preventDefault();
    setBusy(true);
    onError(null);
    try {
      const row = await loadAdapter(base, name.trim(), path.trim());
      if (row) change({ model: row.id });
      notify(`${name.trim()} is loaded`);
      setName("");
      setPath("");
    } catch (error) {
      onError(error);
    }
    setBusy(false);
  };
  return html`<form class="load" onSubmit=${load}>
    <h3>Load an adapter</h3>
    <label>Name <input value=${name} onInput=${(event) => setName(event.target.value)} placeholder="sql" spellcheck=${false} autocomplete="off" /></label>
    <label>Path on the server <input value=${path} onInput=${(event) => setPath(event.target.value)} placeholder="/models/adapters/sql" spellcheck=${false} autocomplete="off" /></label>
    <div class="row"><button class="main-button" disabled=${busy || !name.trim() || !path.trim()}>${busy ? "Loading" : "Load"}</button></div>
  </form>`;
}

/** Adapters of the model in use: choose, unload, load. */
export function Adapters() {
  const [error, setError] = useState(null);
  const [working, setWorking] = useState(null);
  useEffect(() => void refreshModels(), []);
  const row = used.value;
  const base = baseOf(row);
  if (!base) return html`<${Dialog} title="Adapter" class="small"><p class="hint">Choose a model first.</p><//>`;
  const unload = async (adapter) => {
    setWorking(adapter.id);
    setError(null);
    try {
      await unloadAdapter(adapter);
      notify(`${shortName(adapter)} is unloaded`);
    } catch (trouble) {
      setError(trouble);
    }
    setWorking(null);
  };
  const option = (choice, text, note) => html`<label class="option-name">
    <input type="radio" name="adapter" checked=${choice.id === row.id} onChange=${() => change({ model: choice.id })} />
    <span>${text}<small>${note}</small></span>
  </label>`;
  return html`<${Dialog} title="Adapter" class="small">
    <ul class="options adapters" aria-label=${`Adapters of ${shortName(base)}`}>
      <li>${option(base, "No adapter", `${shortName(base)} as it is`)}</li>
      ${adaptersOf(base).map(
        (adapter) => html`<li key=${adapter.id}>
          ${option(adapter, shortName(adapter), adapter.root)}
          <button type="button" class="plain-button" aria-label=${`Unload ${shortName(adapter)}`} disabled=${working === adapter.id} onClick=${() => unload(adapter)}>Unload</button>
        </li>`,
      )}
    </ul>
    ${error && html`<${ErrorBox} error=${error} />`}
    <${LoadForm} base=${base} onError=${setError} />
  <//>`;
}
