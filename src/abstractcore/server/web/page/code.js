/** A request as curl, Python or JSON, exactly as the page sends it. */

import { html, useState } from "../vendor/vendor.js";
import { address, key } from "./api.js";
import { highlight } from "./highlight.js";
import { body, parameters, troubles } from "./request.js";
import { requestOf } from "./run.js";
import { curl, python } from "./snippets.js";
import { chosen, messages, path } from "./tree.js";
import { copy, Dialog } from "./ui.js";

/** The body of an answer's request, or of the one that the composer would send. */
function bodyOf({ chat, node, draft }) {
  if (node) return requestOf(chat, node);
  const last = path(chat).at(-1);
  const said = last ? messages(chat, last.id, chosen(last), chat.settings.system) : messages(chat, null, 0, chat.settings.system);
  return body(parameters(chat.settings), draft?.trim() ? [...said, { role: "user", content: draft }] : said);
}

const FORMS = {
  curl: { name: "curl", language: "bash", write: (request) => curl(address("v1/chat/completions"), request, Boolean(key.value)) },
  python: { name: "Python", language: "python", write: (request) => python(address("v1"), request, Boolean(key.value)) },
  json: { name: "JSON", language: "json", write: (request) => JSON.stringify(request, null, 2) },
};

export function Code(props) {
  const [form, setForm] = useState("curl");
  const [trouble] = props.node ? [] : troubles(props.chat.settings);
  if (trouble) return html`<${Dialog} title="Request" class="small"><p class="hint">${trouble}</p><//>`;
  const { language, write } = FORMS[form];
  const text = write(bodyOf(props));
  const show = (element) => {
    if (!element || element.dataset.shown === text) return;
    element.textContent = text;
    element.dataset.shown = text;
    highlight(element, language);
  };
  return html`<${Dialog} title="Request" class="wide">
    <div class="row between">
      <div class="tabs" role="group" aria-label="Form of the request">
        ${Object.entries(FORMS).map(([id, { name }]) => html`<button type="button" key=${id} aria-pressed=${String(id === form)} onClick=${() => setForm(id)}>${name}</button>`)}
      </div>
      <button type="button" class="main-button" onClick=${() => copy(text, "The request is copied")}>Copy</button>
    </div>
    <div class="code"><pre tabindex="0" class="request"><code ref=${show}></code></pre></div>
    <p class="hint">${key.value ? "The key is not in it: put it into the environment as ABSTRACTCORE_API_KEY." : "It works as it stands."}</p>
  <//>`;
}
