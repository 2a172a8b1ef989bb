/** What stands where a conversation will be. */

import { html } from "../vendor/vendor.js";
import { focusComposer } from "./actions.js";
import { Icon } from "./icons.js";
import { adaptersOf, baseOf, isAdapter, refreshModels, served, shortName, used } from "./models.js";
import { change, revision } from "./store.js";
import { ErrorBox, openDialog, shortCount } from "./ui.js";

const PERSON = `{
  "type": "object",
  "properties": {
    "name": { "type": "string", "maxLength": 40 },
    "age": { "type": "integer", "minimum": 0, "maximum": 130 }
  },
  "required": ["name", "age"],
  "additionalProperties": false
}`;

function facts(row) {
  const base = baseOf(row);
  const count = adaptersOf(base).length;
  return [
    isAdapter(row) ? `adapter of ${shortName(base)}` : null,
    row.backend ?? row.owned_by,
    base.max_model_len && `${shortCount(base.max_model_len)} tokens of context`,
    count && `${count} ${count > 1 ? "adapters" : "adapter"}`,
  ].filter(Boolean);
}

function Ideas({ chat }) {
  const withSchema = () => openDialog("constraint", { suggestion: { kind: "json", json: PERSON } });
  const compare = () => {
    change({ n: "3", temperature: chat.settings.temperature || "0.8" });
    focusComposer();
  };
  return html`<div class="ideas">
    <button type="button" onClick=${withSchema}>
      <${Icon} name="shield" /><strong>A proved answer</strong><span>JSON, a regex, a choice or a grammar, and a check that it holds</span>
    </button>
    <button type="button" onClick=${compare}>
      <${Icon} name="columns" /><strong>Three answers</strong><span>Side by side; the conversation goes on with the best</span>
    </button>
    <button type="button" onClick=${() => openDialog("adapters")}>
      <${Icon} name="pieces" /><strong>An adapter</strong><span>Load a LoRA into the running model and talk to it</span>
    </button>
  </div>`;
}

export function Empty({ chat }) {
  revision.value;
  const { rows, error, loading } = served.value;
  const row = used.value;
  if (error && !rows.length) {
    return html`<div class="empty"><h1>No model answers yet</h1>
      <${ErrorBox} error=${error}><button type="button" class="plain-button" onClick=${refreshModels}><${Icon} name="refresh" />Look again</button><//>
    </div>`;
  }
  if (!rows.length) {
    return html`<div class="empty"><h1>${loading ? "Looking for models" : "The gateway serves no model yet"}</h1>
      ${!loading && html`<button type="button" class="plain-button" onClick=${refreshModels}><${Icon} name="refresh" />Look again</button>`}
    </div>`;
  }
  return html`<div class="empty">
    <h1>${row ? shortName(row) : "Choose a model"}</h1>
    <p class="hint">${row ? facts(row).join(" · ") : `${chat.settings.model} is not served now`}</p>
    <${Ideas} chat=${chat} />
  </div>`;
}
