/** The conversation on the screen. */

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { Empty } from "./empty.js";
import { Icon } from "./icons.js";
import { Message } from "./message.js";
import { current, revision } from "./store.js";
import { path } from "./tree.js";

/** As many turns are built at once; the others when they are asked for. */
const PAGE = 60;
/** So many pixels from the foot count as the foot. */
const NEAR = 80;

export function Thread() {
  revision.value;
  const chat = current.value;
  const nodes = path(chat);
  const [shown, setShown] = useState(PAGE);
  const [below, setBelow] = useState(false);
  const frame = useRef(null);
  const pinned = useRef(true);
  const toFoot = (smooth) => frame.current.scrollTo({ top: frame.current.scrollHeight, behavior: smooth ? "smooth" : "instant" });

  useEffect(() => {
    pinned.current = true;
    setShown(PAGE);
    toFoot(false);
  }, [chat.id]);
  const lastId = nodes.at(-1)?.id;
  useEffect(() => {
    // A new turn is the reader's own doing: go to it.
    pinned.current = true;
    toFoot(false);
  }, [lastId]);
  useEffect(() => {
    const follow = new ResizeObserver(() => pinned.current && toFoot(false));
    follow.observe(frame.current.firstElementChild);
    return () => follow.disconnect();
  }, []);

  const onScroll = ({ target }) => {
    const distance = target.scrollHeight - target.scrollTop - target.clientHeight;
    pinned.current = distance < NEAR;
    setBelow(distance > NEAR * 4);
  };
  const hidden = Math.max(nodes.length - shown, 0);
  return html`<div class="thread" ref=${frame} onScroll=${onScroll}>
    <div class="column">
      ${nodes.length === 0 && html`<${Empty} chat=${chat} />`}
      ${hidden > 0 &&
      html`<button type="button" class="plain-button earlier" onClick=${() => setShown(shown + PAGE)}>Show ${Math.min(hidden, PAGE)} earlier messages</button>`}
      <ol class="turns" aria-label="Conversation">
        ${nodes.slice(hidden).map((node) => html`<${Message} key=${node.id} chat=${chat} node=${node} last=${node.id === lastId} />`)}
      </ol>
    </div>
    ${below && html`<button type="button" class="to-foot" aria-label="Go to the latest" onClick=${() => toFoot(true)}><${Icon} name="down" /></button>`}
  </div>`;
}
