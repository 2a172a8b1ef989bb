/**
 * Markdown of a model, which is a stranger's text: it becomes DOM only through DOMPurify, fetches nothing and runs
 * nothing. Raw HTML is shown as text but for a few harmless tags; images are shown as links.
 */

import { DOMPurify, html, marked, useLayoutEffect, useRef } from "../vendor/vendor.js";
import { highlight } from "./highlight.js";
import { copyText } from "./ui.js";

/** Lines and blocks without an end in sight are shown as plain text: Markdown's rules cost too much on them. */
const LONG_LINE = 20_000;
const LONG_BLOCK = 60_000;
const HARMLESS = /&lt;(\/?(?:b|br|del|em|i|ins|kbd|mark|s|small|strong|sub|sup|u))\s*\/?&gt;/gi;
const WEB = /^(?:https?:|mailto:)/i;

const escape = (text) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

marked.use({
  gfm: true,
  renderer: {
    html({ text, block }) {
      const safe = escapeHtml(text).replace(HARMLESS, "<$1>");
      return block ? `<p class="raw">${safe.trimEnd()}</p>` : safe;
    },
    image({ href, text }) {
      const label = escape(text || href.slice(0, 80));
      return WEB.test(href) ? `<a href="${escape(href)}" class="image">${label}</a>` : `<code>${label}</code>`;
    },
    link({ href, tokens }) {
      const label = this.parser.parseInline(tokens);
      return WEB.test(href) ? `<a href="${escape(href)}">${label}</a>` : label;
    },
    code({ text, lang }) {
      const language = (lang ?? "").match(/^[\w+#.-]{1,20}/)?.[0] ?? "";
      return `<pre><code class="language-${escape(language)}">${escape(text)}</code></pre>`;
    },
  },
});

const POLICY = {
  ALLOWED_TAGS: (
    "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i input ins kbd li mark ol p pre s small strong sub sup table " +
    "tbody td th thead tr u ul"
  ).split(" "),
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "type"],
  ALLOWED_URI_REGEXP: WEB,
  // Otherwise their values, too, would have to be addresses.
  ADD_URI_SAFE_ATTR: ["align", "checked", "disabled", "start", "type"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** A footnote looks like the definition of a link, which would not be shown. */
const isFootnote = ({ type, raw }) => type === "def" && /^\s*\[\^/.test(raw);

function lex(text) {
  try {
    return marked.lexer(text).map((block) => (isFootnote(block) ? { type: "plain", raw: block.raw } : block));
  } catch {
    // A text that the parser gives up on is still a text.
    return [{ type: "plain", raw: text }];
  }
}

const isLong = (piece) =>
  piece.length > LONG_LINE &&
  !/^\n*(```|~~~)/.test(piece) &&
  (piece.length > LONG_BLOCK || piece.split("\n").some((line) => line.length > LONG_LINE));

/** The blocks of a text. */
export function blocks(text) {
  if (text.length < LONG_LINE) return lex(text);
  const groups = [];
  let gathered = "";
  for (const piece of text.split(/(?<=\n)(?=\n)/)) {
    if (isLong(piece)) {
      groups.push(lex(gathered), [{ type: "plain", raw: piece }]);
      gathered = "";
    } else gathered += piece;
  }
  groups.push(lex(gathered));
  return groups.flat();
}

function plain(text) {
  const element = document.createElement("div");
  element.className = "plain";
  element.textContent = text;
  return element;
}

/** The elements of blocks; those of Markdown go through the sanitizer together. */
function build(found) {
  const nodes = [];
  for (let start = 0, end; start < found.length; start = end) {
    for (end = start; end < found.length && found[end].type !== "plain"; ) end += 1;
    nodes.push(buildMarkdown(found.slice(start, end)));
    if (end < found.length) nodes.push([plain(found[end].raw)]);
    end += 1;
  }
  return nodes.flat();
}

function buildMarkdown(found) {
  let fragment;
  try {
    fragment = DOMPurify.sanitize(marked.parser(found), POLICY);
  } catch {
    return found.map((block) => plain(block.raw));
  }
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    if (link.classList.contains("image")) link.title = "The image is not fetched; the link opens it";
  }
  for (const input of fragment.querySelectorAll("input")) {
    input.type = "checkbox";
    input.disabled = true;
  }
  fragment.querySelectorAll("table").forEach((table) => frame(table, "scroll", "Table"));
  fragment.querySelectorAll("pre").forEach(dressCode);
  return [...fragment.childNodes];
}

function frame(element, className, label) {
  const box = document.createElement("div");
  box.className = className;
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  element.replaceWith(box);
  box.append(element);
  return box;
}

function dressCode(pre) {
  const code = pre.firstElementChild;
  if (!code) return;
  const language = code.className.replace("language-", "");
  highlight(code, language);
  const box = document.createElement("div");
  const bar = document.createElement("div");
  const name = document.createElement("span");
  const copy = document.createElement("button");
  box.className = "code";
  bar.className = "code-bar";
  name.textContent = language || "text";
  copy.type = "button";
  copy.className = "copy-code";
  copy.textContent = "Copy";
  bar.append(name, copy);
  pre.replaceWith(box);
  pre.tabIndex = 0;
  box.append(bar, pre);
}

// Not spread over arguments, of which there may be too many.
const add = (box, nodes) => nodes.forEach((node) => box.append(node));

/** Paints a growing text: blocks that are complete stay as they are, only the last one is made again. */
class Painter {
  #box;
  #stable = "";
  #tail = [];
  #cost = 0;
  #painted = 0;
  #timer = 0;

  constructor(box) {
    this.#box = box;
  }

  paint(text, done) {
    clearTimeout(this.#timer);
    const rest = this.#painted + this.#cost * 4 - performance.now();
    // While words arrive, painting takes a fifth of the time at most.
    if (!done && rest > 0) this.#timer = setTimeout(() => this.#paintNow(text, done), rest);
    else this.#paintNow(text, done);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #paintNow(text, done) {
    const started = performance.now();
    // A definition at the end may give links to blocks that are painted already.
    if (!text.startsWith(this.#stable) || (done && /^ {0,3}\[[^\]\n]+\]:/m.test(text))) this.#reset();
    const found = blocks(text.slice(this.#stable.length));
    const last = done ? found.length : found.findLastIndex((block) => block.type !== "space");
    for (const node of this.#tail) node.remove();
    const complete = found.slice(0, Math.max(last, 0));
    add(this.#box, build(complete));
    this.#stable += complete.map((block) => block.raw).join("");
    this.#tail = build(found.slice(complete.length));
    add(this.#box, this.#tail);
    this.#painted = performance.now();
    this.#cost = this.#painted - started;
  }

  #reset() {
    this.#stable = "";
    this.#tail = [];
    this.#box.replaceChildren();
  }
}

async function onClick(event) {
  const button = event.target.closest?.(".copy-code");
  if (!button) return;
  const copied = await copyText(button.closest(".code").querySelector("pre").textContent);
  button.textContent = copied ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

/** A text exactly as it is: what was proved is every character of it. */
export function Verbatim({ text, language }) {
  return language ? html`<${Source} text=${text} language=${language} />` : html`<p class="exact">${text}</p>`;
}

function Source({ text, language }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    const pre = document.createElement("pre");
    const code = document.createElement("code");
    code.className = `language-${language}`;
    code.textContent = text;
    pre.append(code);
    box.current.replaceChildren(pre);
    dressCode(pre);
  }, [text, language]);
  return html`<div class="prose verbatim" ref=${box} onClick=${onClick}></div>`;
}

/** A text as Markdown; `done` says that no more of it comes. */
export function Markdown({ text, done }) {
  const box = useRef(null);
  const painter = useRef(null);
  useLayoutEffect(() => {
    painter.current ??= new Painter(box.current);
    painter.current.paint(text.replace(/\r\n?/g, "\n"), done);
  }, [text, done]);
  useLayoutEffect(() => () => painter.current.stop(), []);
  return html`<div class="prose" ref=${box} onClick=${onClick}></div>`;
}
