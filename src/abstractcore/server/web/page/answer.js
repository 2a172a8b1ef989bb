/** An answer: its choices side by side, reasoning, tool calls, proof, figures, and what went wrong. */

import { Fragment, html, useState } from "../vendor/vendor.js";
import { choose, giveResults, regenerate } from "./actions.js";
import { Icon } from "./icons.js";
import { Markdown, Verbatim } from "./markdown.js";
import { revision, running, tick } from "./store.js";
import { chosen } from "./tree.js";
import { copy, ErrorBox } from "./ui.js";

/** Reasoning that a server left in the text, between think tags, and the words after it. */
export function splitReasoning({ content, reasoning }) {
  if (reasoning) return { reasoning, content, thinking: !content };
  const found = /^\s*<think>\n?([\s\S]*?)(?:<\/think>\s*|$)/.exec(content);
  if (!found) return { reasoning: "", content, thinking: false };
  const rest = content.slice(found[0].length);
  return { reasoning: found[1].trim(), content: rest, thinking: !found[0].includes("</think>") };
}

function Reasoning({ text, live }) {
  return html`<details class="reasoning">
    <summary><${Icon} name="right" />${live ? "Thinking" : "Reasoning"}${live && html`<span class="pulse" />`}</summary>
    <div class="reasoning-text">${text}</div>
  </details>`;
}

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

function Calls({ chat, node, calls, open }) {
  const [results, setResults] = useState({});
  const send = (event) => {
    event.preventDefault();
    giveResults(chat, node, calls.map(({ id }) => ({ tool_call_id: id, content: results[id] ?? "" })));
  };
  const cards = calls.map(
    ({ id, function: called }) => html`<div class="tool" key=${id}>
      <p class="tool-name"><${Icon} name="tool" /> <code>${called.name}</code></p>
      <pre tabindex="0">${pretty(called.arguments)}</pre>
      ${open &&
      html`<label>Result of ${called.name}
        <textarea rows="2" spellcheck=${false} value=${results[id] ?? ""} placeholder="What the tool would return"
          onInput=${(event) => setResults({ ...results, [id]: event.target.value })}></textarea>
      </label>`}
    </div>`,
  );
  if (!open) return html`<div class="tools">${cards}</div>`;
  const ready = calls.every(({ id }) => results[id]?.trim());
  return html`<form class="tools" onSubmit=${send}>
    ${cards}
    <div class="row"><button class="main-button" disabled=${!ready}>Send ${calls.length > 1 ? "results" : "result"}</button></div>
  </form>`;
}

/** Whether the answer was proved to satisfy what was asked for. */
export function Proof({ node }) {
  if (!node.constraint || node.status !== "done") return null;
  const record = node.facts?.constraint;
  const proved = record && (record.proved ?? Boolean(record.checker));
  if (!proved) {
    const why = record?.unproved ?? "the server said nothing of a proof";
    return html`<span class="badge warn" title=${why}><${Icon} name="alert" />Not proved: ${why}</span>`;
  }
  const how = [record.checker && `checked by ${record.checker}`, record.spelling && `sent as ${record.spelling}`];
  const text = `Proved · ${node.constraint.name}${record.trimmed ? " · cut back to fit" : ""}`;
  return html`<span class="badge proved" title=${how.filter(Boolean).join(", ")}><${Icon} name="shield" />${text}</span>`;
}

const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`);

const REASONS = { length: "token limit", tool_calls: "tool calls", content_filter: "content filter" };
const reasonOf = (choice) => REASONS[choice.finish_reason] ?? choice.finish_reason;

function figures(node) {
  const { timing = {}, status } = node;
  const [only] = node.choices.length === 1 ? node.choices : [];
  return [
    status === "stopped" ? "stopped" : only && reasonOf(only),
    timing.tokens ? `${timing.counted ? "" : "about "}${timing.tokens} tokens` : null,
    timing.rate ? `${timing.rate.toFixed(timing.rate < 20 ? 1 : 0)} tok/s` : null,
    timing.first != null ? `first token ${seconds(timing.first)}` : null,
    timing.total ? seconds(timing.total) : null,
  ].filter(Boolean);
}

const listed = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : value);

function Facts({ node }) {
  const { usage = {}, facts = {} } = node;
  const rows = [
    ["Model", node.model],
    ["Prompt", usage.prompt_tokens && `${usage.prompt_tokens} tokens`],
    ["Answer", usage.completion_tokens && `${usage.completion_tokens} tokens`],
    ["From cache", usage.prompt_tokens_details?.cached_tokens && `${usage.prompt_tokens_details.cached_tokens} tokens`],
    ["Server", facts.server_version],
    ["Emulated", facts.emulated && Object.keys(facts.emulated).length && listed(facts.emulated)],
    ["Left out", facts.knobs && Object.keys(facts.knobs).length && listed(facts.knobs)],
    ["Checked by", facts.constraint?.checker],
    ["Cut off", facts.constraint?.cut_text],
    ["Request", node.requestId],
  ].filter(([, value]) => value);
  if (!figures(node).length) return null;
  return html`<details class="figures">
    <summary aria-label=${`Figures: ${figures(node).join(", ")}`}>${figures(node).map((figure) => html`<span>${figure}</span>`)}</summary>
    <dl>${rows.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${node.requestId &&
    html`<button type="button" class="plain-button" onClick=${() => copy(node.requestId, "Request id copied")}>Copy request id</button>`}
  </details>`;
}

function Choice({ chat, node, choice, writing, last }) {
  const { reasoning, content, thinking } = splitReasoning(choice);
  const calls = (choice.tool_calls ?? []).filter(Boolean);
  const waiting = writing && !content && !reasoning && !calls.length;
  const empty = !writing && !content && !reasoning && !calls.length && !node.error;
  return html`<${Fragment}>
    ${reasoning && html`<${Reasoning} text=${reasoning} live=${writing && thinking} />`}
    ${waiting && html`<p class="waiting" aria-label="Waiting for the first token"><span /><span /><span /></p>`}
    ${content &&
    (node.constraint
      ? html`<${Verbatim} text=${content} language=${node.constraint.kind === "json" ? "json" : ""} />`
      : html`<${Markdown} text=${content} done=${!writing} />`)}
    ${choice.refusal && html`<p class="refusal">${choice.refusal}</p>`}
    ${empty && html`<p class="hint">${node.status === "stopped" ? "Stopped before the first word." : "An empty answer."}</p>`}
    ${calls.length > 0 && html`<${Calls} chat=${chat} node=${node} calls=${calls} open=${last && !writing && node.status === "done"} />`}
  <//>`;
}

function SideBySide({ chat, node, writing, last }) {
  const pick = chosen(node);
  return html`<div class="choices" role="group" aria-label=${`${node.choices.length} answers`}>
    ${node.choices.map(
      (choice, index) => html`<section key=${index} class=${`choice ${index === pick ? "chosen" : ""}`} aria-label=${`Answer ${index + 1}`}>
        <header>
          <strong>${index + 1}</strong>
          <span>${choice.finish_reason ? reasonOf(choice) : writing ? "writing" : ""}</span>
          ${!writing &&
          html`<label class="pick"><input type="radio" name=${`pick-${node.id}`} checked=${index === pick}
            onChange=${() => choose(chat, node, index)} /> ${index === pick ? "In use" : "Use this"}</label>`}
        </header>
        <${Choice} chat=${chat} node=${node} choice=${choice} writing=${writing} last=${last && index === pick} />
      </section>`,
    )}
  </div>`;
}

/** The words of an answer that failed: struck, since they are no answer. */
function Broken({ node }) {
  const text = node.choices.map((choice) => choice.content).filter(Boolean).join("\n\n");
  if (!text) return null;
  return html`<div class="broken"><p>Not an answer; this is what had come:</p><del>${text}</del></div>`;
}

export function Answer({ chat, node, last }) {
  revision.value;
  tick(node.id).value;
  const writing = running.value.has(node.id);
  if (node.error) {
    return html`<${Fragment}>
      <${Broken} node=${node} />
      <${ErrorBox} error=${node.error}>
        <button type="button" class="plain-button" onClick=${() => regenerate(chat, node)}><${Icon} name="refresh" />Try again</button>
      <//>
    <//>`;
  }
  const many = node.choices.length > 1;
  return html`<${Fragment}>
    ${many
      ? html`<${SideBySide} chat=${chat} node=${node} writing=${writing} last=${last} />`
      : html`<${Choice} chat=${chat} node=${node} choice=${node.choices[0]} writing=${writing} last=${last} />`}
    <div class="outcome"><${Proof} node=${node} /><${Facts} node=${node} /></div>
  <//>`;
}
