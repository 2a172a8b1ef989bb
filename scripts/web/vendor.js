// The one module that the pages import: what they need of other projects, and nothing else.
import { h } from "preact";
import htm from "htm";

export { Fragment, h, render } from "preact";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export {
  batch,
  computed,
  effect,
  signal,
  untracked,
  useComputed,
  useSignal,
  useSignalEffect,
} from "@preact/signals";
export { marked } from "marked";
export { default as DOMPurify } from "dompurify";

export const html = htm.bind(h);
