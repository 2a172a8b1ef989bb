// The fields of a schema. What lies inside is unfolded on demand: schemas may contain themselves.

import { html, useSignal } from "../vendor/vendor.js";
import { inside, inWords, nameOf, resolve } from "./document.js";
import { Prose } from "./prose.js";

/** All fields, those that are required first; of a schema without fields, what lies inside it. */
export function Fields({ document, schema }) {
  const whole = resolve(document, schema);
  const properties = Object.entries(whole.properties ?? {});
  if (!properties.length) return html`<${Inside} document=${document} schema=${schema} />`;
  const required = new Set(whole.required ?? []);
  properties.sort(([one], [other]) => required.has(other) - required.has(one));
  return html`
    <dl>
      ${properties.map(
        ([name, field]) => html`
          <${Field} key=${name} document=${document} name=${name} field=${field} required=${required.has(name)} />
        `,
      )}
    </dl>
  `;
}

function Field({ document, name, field, required }) {
  const whole = resolve(document, field);
  const standard = whole.default;
  return html`
    <dt>
      <code>${name}</code> <span class="type">${inWords(document, field)}</span>
      ${required && html` <small>required</small>`}
      ${standard !== undefined && standard !== null && html` <small>default ${JSON.stringify(standard)}</small>`}
    </dt>
    <dd>
      <${Prose} text=${whole.description} />
      ${whole.properties
        ? html`<${Unfolded} document=${document} schema=${field} />`
        : html`<${Inside} document=${document} schema=${field} />`}
    </dd>
  `;
}

function Inside({ document, schema }) {
  return inside(document, schema).map((part) => html`<${Unfolded} document=${document} schema=${part} />`);
}

/** A schema that shows its fields when it is opened. */
export function Unfolded({ document, schema }) {
  const open = useSignal(false);
  const name = nameOf(schema) || nameOf(resolve(document, schema)) || "its fields";
  return html`
    <details class="schema" onToggle=${(event) => (open.value = event.currentTarget.open)}>
      <summary>${name}</summary>
      ${open.value && html`<${Fields} document=${document} schema=${schema} />`}
    </details>
  `;
}
