/** Icons, drawn on a grid of 24 with one stroke. */

import { html } from "../vendor/vendor.js";

const SHAPES = {
  add: "M12 5v14M5 12h14",
  alert: "M12 4 2.8 20h18.4ZM12 10v4.5M12 17.4v.1",
  branch: "M7 8v8M7 12h6a4 4 0 0 0 4-4M7 5.5a1.5 1.5 0 1 0 0 .01M17 5.5a1.5 1.5 0 1 0 0 .01M7 18.5a1.5 1.5 0 1 0 0 .01",
  chart: "M4 20h16M7 16v-5M12 16V6M17 16v-8",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6 6 18",
  code: "m8 7-5 5 5 5M16 7l5 5-5 5",
  columns: "M4 5h16v14H4ZM12 5v14",
  copy: "M9 9h11v11H9ZM5 15H4V4h11v1",
  down: "m6 9.5 6 6 6-6",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  edit: "M4 20l1-4.5L16.2 4.3l3.5 3.5L8.5 19ZM14 6.5l3.5 3.5",
  export: "M12 15V4M7.5 8 12 3.5 16.5 8M5 13v7h14v-7",
  help: "M12 3.5a8.5 8.5 0 1 0 .01 0M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5v.1",
  key: "M8 11.5a4 4 0 1 0 .01 0M11 13l9-9M16.5 7.5l3 3",
  left: "m14.5 6-6 6 6 6",
  menu: "M4 5h16v14H4ZM9.5 5v14",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  pieces: "M12 3.5 20 8l-8 4.5L4 8ZM4 12l8 4.5 8-4.5M4 16l8 4.5 8-4.5",
  refresh: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9M20 4v5h-5",
  right: "m9.5 6 6 6-6 6",
  search: "M10.5 4a6.5 6.5 0 1 0 .01 0M15.5 15.5 20 20",
  send: "M12 19V5M6 11l6-6 6 6",
  settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 5a2 2 0 1 0 .01 0M8 15a2 2 0 1 0 .01 0",
  shield: "M12 3.5 5 6v5.5c0 4.3 2.8 7.3 7 9 4.2-1.7 7-4.7 7-9V6ZM9 12l2.2 2.2L15.2 10",
  stop: "M7 7h10v10H7Z",
  sun: "M12 8a4 4 0 1 0 .01 0M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  system: "M4 5h16v11H4ZM9 20h6",
  tool: "M20 7.5a5 5 0 0 1-6.7 4.7L7 18.5 5 16.5l6.3-6.3A5 5 0 0 1 17.5 4L14.5 7l2 2Z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 13h8.4L17 7",
  upload: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width="18" height="18" aria-hidden="true" focusable="false">
    <path d=${SHAPES[name]} />
  </svg>`;
}
