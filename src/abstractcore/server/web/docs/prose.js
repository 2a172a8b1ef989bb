// Markdown of the document, sanitised.

import { DOMPurify, html, marked, useMemo } from "../vendor/vendor.js";

const ALLOWED = {
  RETURN_TRUSTED_TYPE: true,
  FORBID_ATTR: ["style", "class", "id", "name"],
  FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "img", "svg", "math", "video", "audio"],
};

/** A description as paragraphs. */
export function Prose({ text }) {
  const clean = useMemo(() => text && DOMPurify.sanitize(marked.parse(text), ALLOWED), [text]);
  return clean ? html`<div class="prose" dangerouslySetInnerHTML=${{ __html: clean }} />` : null;
}
