// The API explorer: shows the gateway's OpenAPI document and sends requests from it.

import { effect, html, render, signal, useComputed, useSignal } from "../vendor/vendor.js";
import { groups, matches } from "./document.js";
import { Operation } from "./operation.js";
import { Prose } from "./prose.js";

const DOCUMENT = "openapi.json";

const state = signal({ document: null, error: "" });
const key = signal(""); // in memory only: gone with the page
const models = signal([]);
const opened = signal(location.hash.slice(1));

function Page() {
  const { document, error } = state.value;
  if (error) return html`<main><h1>API</h1><p class="failed" role="alert">${error}</p></main>`;
  if (!document) return html`<main aria-busy="true"><p>Reading the document …</p></main>`;
  return html`<${Explorer} document=${document} />`;
}

function Explorer({ document }) {
  const words = useSignal("");
  const shown = useComputed(() =>
    groups(document)
      .map((group) => ({ ...group, operations: group.operations.filter((one) => matches(one, words.value.trim())) }))
      .filter((group) => group.operations.length),
  );
  return html`
    <header>
      <h1>${document.info?.title ?? "API"} <small>${document.info?.version}</small></h1>
      <nav><a href="./">Chat</a> <a href=${DOCUMENT}>${DOCUMENT}</a></nav>
      <${Prose} text=${document.info?.description} />
      <div class="tools">
        <label>Find <input type="search" value=${words} onInput=${(event) => (words.value = event.target.value)} /></label>
        <label>
          Key
          <input type="password" autocomplete="off" placeholder="only if the gateway asks for one"
            value=${key} onChange=${(event) => setKey(event.target.value)} />
        </label>
      </div>
    </header>
    <main>
      ${shown.value.map(
        (group) => html`
          <section key=${group.name} aria-label=${group.name}>
            <h2>${group.name}</h2>
            <${Prose} text=${group.description} />
            ${group.operations.map(
              (operation) => html`
                <${Operation} key=${operation.id} document=${document} operation=${operation}
                  apiKey=${key} models=${models} opened=${opened} />
              `,
            )}
          </section>
        `,
      )}
      ${shown.value.length === 0 && html`<p role="status">Nothing has these words.</p>`}
    </main>
  `;
}

function setKey(value) {
  key.value = value.trim();
  loadModels();
}

async function loadDocument() {
  try {
    const response = await fetch(DOCUMENT, { credentials: "omit" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    state.value = { document: await response.json(), error: "" };
  } catch (error) {
    state.value = { document: null, error: `${DOCUMENT} can't be read: ${error.message}` };
  }
}

/** The names of the models, to start a request with; without them it starts with a placeholder. */
async function loadModels() {
  const headers = key.value ? { authorization: `Bearer ${key.value}` } : {};
  try {
    const response = await fetch("v1/models", { headers, credentials: "omit" });
    const list = response.ok ? (await response.json()).data : [];
    models.value = list.map((model) => model.id);
  } catch {
    models.value = [];
  }
}

addEventListener("hashchange", () => (opened.value = location.hash.slice(1)));
effect(() => {
  const { info } = state.value.document ?? {};
  if (info?.title) window.document.title = `API · ${info.title}`;
});
render(html`<${Page} />`, window.document.body);
loadDocument();
loadModels();
