// One operation: what it takes, what it gives, and a form that tries it.

import { html, useEffect, useRef, useSignal } from "../vendor/vendor.js";
import { inWords, resolve } from "./document.js";
import { Prose } from "./prose.js";
import { Fields, Unfolded } from "./schema.js";
import { Trial } from "./trial.js";

export function Operation({ document, operation, apiKey, models, opened }) {
  const here = useRef(null);
  const open = useSignal(opened.value === operation.id);
  useEffect(() => {
    if (opened.value !== operation.id) return;
    open.value = true;
    here.current.scrollIntoView({ block: "start" });
  }, [opened.value]);
  const onToggle = (event) => {
    open.value = event.currentTarget.open;
    if (open.value) history.replaceState(null, "", `#${operation.id}`);
  };
  return html`
    <details class="operation" id=${operation.id} ref=${here} open=${open.value} onToggle=${onToggle}>
      <summary>
        <span class=${`method ${operation.method}`}>${operation.method.toUpperCase()}</span>
        <code>${operation.path}</code>
        <span class="what">${operation.summary}</span>
        ${operation.deprecated && html`<em>deprecated</em>`}
      </summary>
      ${open.value &&
      html`<div class="inner">
        <${Prose} text=${operation.description} />
        <${Trial} operation=${operation} apiKey=${apiKey} models=${models} />
        <${Parameters} document=${document} operation=${operation} />
        ${operation.bodies.map(
          (body) => html`
            <h3>Body <small>${body.type}</small></h3>
            <${Fields} document=${document} schema=${body.schema} />
          `,
        )}
        <h3>Answers</h3>
        ${operation.responses.map((one) => html`<${Response} document=${document} response=${one} />`)}
      </div>`}
    </details>
  `;
}

function Parameters({ document, operation }) {
  if (!operation.parameters.length) return null;
  return html`
    <h3>Parameters</h3>
    <dl>
      ${operation.parameters.map(
        (one) => html`
          <dt>
            <code>${one.name}</code> <span class="type">${inWords(document, one.schema ?? {})}</span>
            <small>in ${one.in}${one.required ? ", required" : ""}</small>
          </dt>
          <dd><${Prose} text=${one.description ?? one.schema?.description} /></dd>
        `,
      )}
    </dl>
  `;
}

function Response({ document, response }) {
  return html`
    <div class="response">
      <strong>${response.status}</strong>
      <${Prose} text=${response.description} />
      ${response.contents.map(
        ({ type, schema }) => html`
          <div>
            <small>${type}</small>
            ${resolve(document, schema).properties
              ? html`<${Unfolded} document=${document} schema=${schema} />`
              : html` <span class="type">${inWords(document, schema)}</span>
                  <${Fields} document=${document} schema=${schema} />`}
          </div>
        `,
      )}
    </div>
  `;
}
