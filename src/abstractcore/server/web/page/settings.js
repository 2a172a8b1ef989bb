/** Settings of a conversation. An empty field leaves the matter to the server. */

import { html, useEffect, useRef } from "../vendor/vendor.js";
import { extraTrouble, numberTrouble, toolsTrouble } from "./request.js";
import { change, current, revision } from "./store.js";
import { Dialog } from "./ui.js";

const TOOL = JSON.stringify(
  [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather in a city",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ],
  null,
  2,
);

function NumberField({ field, label, step = "1", note }) {
  const value = current.value.settings[field];
  const trouble = numberTrouble(field, value);
  return html`<label>${label}
    <input id=${`set-${field}`} inputmode=${step === "1" ? "numeric" : "decimal"} value=${value} placeholder="server's default" autocomplete="off"
      aria-invalid=${String(Boolean(trouble))} aria-describedby=${trouble ? `bad-${field}` : undefined} onInput=${(event) => change({ [field]: event.target.value })} />
    ${trouble ? html`<small id=${`bad-${field}`} class="bad">${trouble}</small>` : note && html`<small>${note}</small>`}
  </label>`;
}

function TextField({ field, label, rows, note, placeholder, trouble, source }) {
  return html`<label>${label}
    <textarea id=${`set-${field}`} class=${source ? "source" : ""} rows=${rows} value=${current.value.settings[field]} placeholder=${placeholder} spellcheck=${!source}
      aria-invalid=${String(Boolean(trouble))} onInput=${(event) => change({ [field]: event.target.value })}></textarea>
    ${trouble ? html`<small class="bad">${trouble}</small>` : note && html`<small>${note}</small>`}
  </label>`;
}

function Switch({ field, label, note }) {
  return html`<label class="switch">
    <input id=${`set-${field}`} type="checkbox" checked=${current.value.settings[field]} onChange=${(event) => change({ [field]: event.target.checked })} />
    <span>${label}${note && html`<small>${note}</small>`}</span>
  </label>`;
}

function Tools() {
  const { tools, tool_choice: choice } = current.value.settings;
  return html`<fieldset>
    <legend>Tools</legend>
    <${TextField} field="tools" label="Tools as JSON" rows="4" source trouble=${toolsTrouble(tools)} note="Calls are shown in the answer, and you give their results by hand" />
    ${!tools.trim() && html`<button type="button" class="plain-button" onClick=${() => change({ tools: TOOL })}>Insert an example</button>`}
    <label>Choice of a tool
      <select id="set-tool_choice" value=${choice} onChange=${(event) => change({ tool_choice: event.target.value })}>
        <option value="">server's default</option>
        <option value="auto">auto: the model decides</option>
        <option value="required">required: it calls one</option>
        <option value="none">none: it calls none</option>
      </select>
    </label>
  </fieldset>`;
}

export function Settings({ field }) {
  revision.value;
  const box = useRef(null);
  useEffect(() => {
    const input = field && box.current.querySelector(`#set-${field}`);
    input?.focus();
    input?.scrollIntoView({ block: "center" });
  }, []);
  const { extra } = current.value.settings;
  return html`<${Dialog} title="Settings" class="drawer">
    <form ref=${box} onSubmit=${(event) => event.preventDefault()}>
      <${TextField} field="system" label="System prompt" rows="5" placeholder="How the model should behave" />
      <fieldset>
        <legend>Sampling</legend>
        <div class="grid">
          <${NumberField} field="temperature" label="Temperature" step="any" />
          <${NumberField} field="top_p" label="Top p" step="any" />
          <${NumberField} field="max_tokens" label="Max tokens" />
          <${NumberField} field="seed" label="Seed" />
        </div>
        <${TextField} field="stop" label="Stop at" rows="2" source note="One text a line" />
      </fieldset>
      <fieldset>
        <legend>Several answers</legend>
        <div class="grid">
          <${NumberField} field="n" label="Answers (n)" />
          <${NumberField} field="best_of" label="Best of" />
        </div>
        <${Switch} field="use_beam_search" label="Beam search" note="The likeliest whole answers; not streamed" />
      </fieldset>
      <${Tools} />
      <fieldset>
        <legend>Request</legend>
        <${Switch} field="stream" label="Stream the answer" />
        <${TextField} field="extra" label="Further fields as JSON" rows="3" source trouble=${extraTrouble(extra)} placeholder='{"top_k": 20}' note="Added to every request as they are" />
      </fieldset>
      <p class="hint">They belong to this conversation. A new one keeps the model and the sampling.</p>
    </form>
  <//>`;
}
