/** The constraint editor: what an answer must be, checked by the gateway while it is typed. */

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { postJson } from "./api.js";
import { Icon } from "./icons.js";
import { support } from "./models.js";
import { constraintTrouble, constraintValue, KINDS } from "./request.js";
import { change, current } from "./store.js";
import { closeDialog, Dialog, notify } from "./ui.js";

const EXAMPLES = {
  json: '{\n  "type": "object",\n  "properties": {\n    "city": { "type": "string", "maxLength": 40 },\n    "sunny": { "type": "boolean" }\n  },\n  "required": ["city", "sunny"],\n  "additionalProperties": false\n}',
  regex: "[0-9]{4}-[0-9]{2}-[0-9]{2}",
  choice: "positive\nneutral\nnegative",
  grammar: 'root ::= "SELECT " column " FROM " table\ncolumn ::= "name" | "age"\ntable ::= "people" | "pets"',
};

const HELP = {
  json: "A JSON schema. The answer is one JSON value that it admits.",
  regex: "The whole answer matches. Linear time: no look-around, no back-references.",
  choice: "One choice a line. The answer is exactly one of them.",
  grammar: "A grammar in EBNF; it begins at root.",
};

const KEPT = ["", ...Object.keys(KINDS)];

/** The gateway's word on a constraint, a moment after the typing rests. */
function useCheck(constraint, text) {
  const [state, setState] = useState({});
  const asked = JSON.stringify([constraint, text]);
  useEffect(() => {
    const trouble = constraintTrouble(constraint);
    if (!constraint.kind || trouble) return setState({ trouble });
    let outdated = false;
    setState((before) => ({ ...before, checking: true }));
    const timer = setTimeout(async () => {
      const answer = await ask(constraint, text);
      if (!outdated) setState(answer);
    }, 250);
    return () => {
      outdated = true;
      clearTimeout(timer);
    };
  }, [asked]);
  return state;
}

async function ask(constraint, text) {
  const body = { [KINDS[constraint.kind].check]: constraintValue(constraint) };
  try {
    const answer = await postJson("v1/constraints/check", text ? { ...body, text } : body);
    return answer.valid ? { valid: true, satisfied: answer.satisfied, why: answer.why } : { trouble: answer.message, why: answer.why };
  } catch (error) {
    return { unchecked: error.message };
  }
}

function Verdict({ state }) {
  const { trouble, why, valid, checking, unchecked } = state;
  const [kind, icon, text] = trouble
    ? ["bad", "alert", trouble]
    : unchecked
      ? ["unsure", "alert", `Not checked: ${unchecked}`]
      : valid
        ? ["good", "check", "It compiles"]
        : ["", "more", checking ? "Checking" : ""];
  return html`<div class=${`verdict ${kind}`} role="status">
    ${text && html`<${Icon} name=${icon} /><p>${text}${why && why !== trouble && !valid && html`<small>${why}</small>`}</p>`}
  </div>`;
}

function Trial({ state, text, onInput }) {
  const verdict = { true: ["good", "An answer like this is proved"], false: ["bad", `It fails${state.why ? `: ${state.why}` : ""}`] }[state.satisfied];
  return html`<label>Try a text
    <input value=${text} onInput=${(event) => onInput(event.target.value)} spellcheck=${false} autocomplete="off" placeholder="Does it satisfy the constraint?" />
    <span class=${`verdict ${text && verdict ? verdict[0] : ""}`} role="status">${text && verdict && verdict[1]}</span>
  </label>`;
}

function Tabs({ kind, onPick }) {
  const row = useRef(null);
  const onKey = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = KEPT[(KEPT.indexOf(kind) + step + KEPT.length) % KEPT.length];
    onPick(next);
    row.current.children[KEPT.indexOf(next)].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="Kind of constraint" ref=${row} onKeyDown=${onKey}>
    ${KEPT.map(
      (name) => html`<button type="button" role="tab" key=${name} id=${`tab-${name || "none"}`} aria-selected=${String(name === kind)} aria-controls="constraint-panel"
        tabindex=${name === kind ? 0 : -1} onClick=${() => onPick(name)}>${name ? KINDS[name].name : "None"}</button>`,
    )}
  </div>`;
}

const NOTES = {
  unsupported: "This model's backend does not support it; the gateway will refuse the request.",
  emulated: "This model's backend can't guide its words by it; the gateway proves the finished answer all the same.",
};

export function ConstraintEditor({ suggestion }) {
  const kept = current.value.settings.constraint;
  const [draft, setDraft] = useState({ ...kept, ...(kept.kind ? {} : { kind: "json" }), ...suggestion });
  const [text, setText] = useState("");
  const state = useCheck(draft, text);
  const source = useRef(null);
  useEffect(() => {
    // The browser puts the caret behind the last word, and would show that first.
    source.current?.setSelectionRange(0, 0);
    source.current?.focus();
  }, []);
  const { kind } = draft;
  const note = kind && NOTES[support(KINDS[kind].capability)];
  const use = (event) => {
    event.preventDefault();
    if (state.trouble) return;
    change({ constraint: draft });
    closeDialog();
    notify(kind ? `Answers must now satisfy this ${KINDS[kind].name}` : "Answers are free");
  };
  return html`<${Dialog} title="Constraint" class="wide">
    <form onSubmit=${use}>
      <${Tabs} kind=${kind} onPick=${(next) => setDraft({ ...draft, kind: next })} />
      <div id="constraint-panel" role="tabpanel" aria-labelledby=${`tab-${kind || "none"}`}>
        ${kind ? html`
          <div class="row between"><p class="hint">${HELP[kind]}</p>
            ${!draft[kind].trim() && html`<button type="button" class="plain-button" onClick=${() => setDraft({ ...draft, [kind]: EXAMPLES[kind] })}>Insert an example</button>`}</div>
          ${note && html`<p class="hint warn">${note}</p>`}
          <textarea class="source" ref=${source} rows=${kind === "regex" ? 3 : 11} aria-label=${KINDS[kind].name} aria-invalid=${String(Boolean(state.trouble))} spellcheck=${false}
            value=${draft[kind]} onInput=${(event) => setDraft({ ...draft, [kind]: event.target.value })}></textarea>
          <${Verdict} state=${draft[kind].trim() ? state : {}} />
          <${Trial} state=${state} text=${text} onInput=${setText} />`
        : html`<p class="hint">The model writes what it likes.</p>`}
      </div>
      <div class="row end">
        <button type="button" class="plain-button" onClick=${closeDialog}>Cancel</button>
        <button class="main-button" disabled=${Boolean(state.trouble)}>${kind ? "Use it" : "No constraint"}</button>
      </div>
    </form>
  <//>`;
}
