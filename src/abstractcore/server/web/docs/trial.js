// A form that sends a request, and its answer as it comes.

import { html, useRef, useSignal } from "../vendor/vendor.js";
import { asCurl, built, readable, send } from "./request.js";

/** A first body: the example, about a model that there is. */
function bodyOf(example, models) {
  if (example === undefined) return "";
  const known = models.includes(example?.model);
  const value = example?.model !== undefined && !known && models.length ? { ...example, model: models[0] } : example;
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

export function Trial({ operation, apiKey, models }) {
  const [body] = operation.bodies;
  const values = useSignal({});
  const chosen = useSignal(0);
  const written = useSignal(null); // until somebody writes, the example stands there
  const answer = useSignal(null);
  const copied = useSignal(false);
  const running = useRef(null);

  const text = written.value ?? bodyOf(body?.examples[chosen.value]?.value, models.value);
  const request = () => built(operation, values.value, body?.type, text, apiKey.value);
  const busy = answer.value && !answer.value.done;

  const submit = async (event) => {
    event.preventDefault();
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    answer.value = { status: 0, headers: [], text: "", done: false };
    await send(request(), abort.signal, (now) => {
      if (running.current === abort) answer.value = { ...now };
    });
  };
  const copy = async () => {
    await navigator.clipboard.writeText(asCurl(request()));
    copied.value = true;
  };

  return html`
    <form class="trial" onSubmit=${submit} aria-label=${`Try ${operation.method} ${operation.path}`}>
      <h3>Try it</h3>
      ${operation.parameters
        .filter((one) => one.in !== "cookie")
        .map(
          (one) => html`
            <label>
              ${one.name} <small>${one.in}</small>
              <input required=${one.required} value=${values.value[one.name] ?? ""}
                onInput=${(event) => (values.value = { ...values.value, [one.name]: event.target.value })} />
            </label>
          `,
        )}
      ${body?.examples.length > 1 &&
      html`<label>
        Example
        <select onChange=${(event) => ((chosen.value = Number(event.target.value)), (written.value = null))}>
          ${body.examples.map((one, index) => html`<option value=${index}>${one.name}</option>`)}
        </select>
      </label>`}
      ${body &&
      html`<label>
        Body <small>${body.type}</small>
        <textarea rows=${Math.min(20, text.split("\n").length + 1)} spellcheck=${false} value=${text}
          onInput=${(event) => (written.value = event.target.value)} />
      </label>`}
      <p class="buttons">
        <button type="submit" class="main">Send</button>
        ${busy && html`<button type="button" onClick=${() => running.current.abort()}>Stop</button>`}
        <button type="button" onClick=${copy} onBlur=${() => (copied.value = false)}>
          ${copied.value ? "Copied" : "Copy as curl"}
        </button>
      </p>
      ${answer.value && html`<${Answer} answer=${answer.value} />`}
    </form>
  `;
}

function Answer({ answer }) {
  const headers = new Map(answer.headers);
  const facts = [
    answer.status ? `${answer.status} ${answer.reason}`.trim() : "",
    answer.firstMs ? `first byte after ${Math.round(answer.firstMs)} ms` : "",
    answer.done && answer.status ? `${answer.bytes.toLocaleString("en")} bytes in ${Math.round(answer.ms)} ms` : "",
    headers.get("x-request-id") ? `request ${headers.get("x-request-id")}` : "",
  ].filter(Boolean);
  return html`
    <div class="answer" aria-busy=${!answer.done}>
      <p role="status" class=${answer.status >= 400 || answer.error ? "failed" : ""}>
        ${[...facts, answer.error].filter(Boolean).join(" · ") || "waiting …"}
      </p>
      ${answer.text && html`<pre tabindex="0">${readable(answer)}</pre>`}
      ${answer.headers.length > 0 &&
      html`<details class="schema">
        <summary>Headers</summary>
        <pre>${answer.headers.map(([name, value]) => `${name}: ${value}`).join("\n")}</pre>
      </details>`}
    </div>
  `;
}
