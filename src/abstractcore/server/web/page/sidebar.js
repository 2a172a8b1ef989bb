/** The conversations of this browser. */

import { html, signal, useEffect, useState } from "../vendor/vendor.js";
import { newChat } from "./actions.js";
import { keyAsked, key } from "./api.js";
import * as db from "./db.js";
import { chats, current, openChat, remember, removeChat, rename, revision, running } from "./store.js";
import { IconButton, notify, openDialog } from "./ui.js";
import { theme, nextTheme } from "./theme.js";

const narrow = matchMedia("(max-width: 52rem)");
export const sidebarOpen = signal(!narrow.matches && localStorageSays() !== "closed");

function localStorageSays() {
  try {
    return localStorage.getItem("abstractcore.sidebar");
  } catch {
    return null;
  }
}

/** Whether the sidebar lies above the page, as on a phone. */
export const overlay = signal(narrow.matches);
narrow.addEventListener("change", () => {
  overlay.value = narrow.matches;
  sidebarOpen.value = !narrow.matches;
});

export function toggleSidebar() {
  sidebarOpen.value = !sidebarOpen.value;
  if (!overlay.value) remember("abstractcore.sidebar", sidebarOpen.value ? "open" : "closed");
  if (sidebarOpen.value && overlay.value) requestAnimationFrame(() => document.querySelector("#search")?.focus());
}

const closeOverlay = () => {
  if (overlay.value) sidebarOpen.value = false;
};

const DAY = 86_400_000;

/** Conversations under the day they were last touched, as people think of days. */
function grouped(rows) {
  const today = new Date().setHours(0, 0, 0, 0);
  const nameOf = ({ updated }) => {
    if (updated >= today) return "Today";
    if (updated >= today - DAY) return "Yesterday";
    return updated >= today - 7 * DAY ? "Last seven days" : "Earlier";
  };
  return Map.groupBy ? Map.groupBy(rows, nameOf) : rows.reduce((map, row) => map.set(nameOf(row), [...(map.get(nameOf(row)) ?? []), row]), new Map());
}

// The same functions each time: new ones would be called, and take the focus, whenever the list is painted again.
const focus = (button) => button?.focus();
const select = (input) => input?.select();

function Row({ row }) {
  const [editing, setEditing] = useState(false);
  const [asking, setAsking] = useState(false);
  const open = async () => {
    await openChat(row.id);
    closeOverlay();
  };
  if (editing) {
    const finish = (event) => {
      event.preventDefault();
      rename(row.id, event.target.elements.title.value);
      setEditing(false);
    };
    const onKey = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      setEditing(false);
    };
    return html`<li><form class="rename" onSubmit=${finish}>
      <input name="title" aria-label="New title" maxlength="200" defaultValue=${row.title} ref=${select} onKeyDown=${onKey} onBlur=${() => setEditing(false)} />
    </form></li>`;
  }
  if (asking) {
    return html`<li class="asking" onKeyDown=${(event) => event.key === "Escape" && setAsking(false)}>
      <span>Delete for good?</span>
      <button type="button" class="danger" ref=${focus} onClick=${() => removeChat(row.id)}>Delete</button>
      <button type="button" onClick=${() => setAsking(false)}>Keep</button>
    </li>`;
  }
  const here = row.id === current.value.id;
  return html`<li class=${here ? "here" : ""}>
    <button type="button" class="chat-title" aria-current=${here ? "page" : undefined} title=${row.title} onClick=${open}>${row.title || "Untitled"}</button>
    <${IconButton} icon="edit" label=${`Rename ${row.title}`} onClick=${() => setEditing(true)} />
    <${IconButton} icon="trash" label=${`Delete ${row.title}`} onClick=${() => setAsking(true)} />
  </li>`;
}

function useSearch() {
  const [query, setQuery] = useState("");
  const [found, setFound] = useState(null);
  useEffect(() => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return setFound(null);
    let outdated = false;
    const timer = setTimeout(async () => {
      const ids = await db.search(words);
      if (!outdated) setFound(ids);
    }, 120);
    return () => {
      outdated = true;
      clearTimeout(timer);
    };
  }, [query, chats.value]);
  return [query, setQuery, found];
}

const THEMES = { auto: ["system", "As the system"], light: ["sun", "Light"], dark: ["moon", "Dark"] };

export function Sidebar() {
  revision.value;
  running.value;
  const [query, setQuery, found] = useSearch();
  const rows = found ? chats.value.filter((row) => found.has(row.id)) : chats.value;
  const [themeIcon, themeName] = THEMES[theme.value];
  const start = () => {
    newChat();
    closeOverlay();
  };
  const askForKey = () => {
    const answer = (given) => {
      keyAsked.value = null;
      if (given !== null) {
        key.value = given;
        notify(given ? "The key is kept until this page closes" : "The key is forgotten");
      }
    };
    keyAsked.value = { message: "", answer };
  };
  return html`<aside id="sidebar" class="sidebar" aria-label="Conversations" hidden=${!sidebarOpen.value}>
    <div class="sidebar-top">
      <span class="brand">AbstractCore</span>
      <${IconButton} icon="add" label="New conversation" text="New" class="new" onClick=${start} />
    </div>
    <input id="search" type="search" aria-label="Search conversations" placeholder="Search" value=${query} onInput=${(event) => setQuery(event.target.value)} />
    <nav class="chats" aria-label="Conversations">
      ${[...grouped(rows)].map(([name, group]) => html`<section key=${name}><h2>${name}</h2><ul>${group.map((row) => html`<${Row} key=${row.id} row=${row} />`)}</ul></section>`)}
      ${!rows.length && html`<p class="hint">${query ? "Nothing found" : "Conversations stay in this browser"}</p>`}
      ${db.storageTrouble.value && html`<p class="hint warn">Not stored: ${db.storageTrouble.value}</p>`}
    </nav>
    <div class="sidebar-foot">
      <${IconButton} icon=${themeIcon} label=${`Colours: ${themeName}`} onClick=${nextTheme} />
      <${IconButton} icon="key" label="Key" onClick=${askForKey} />
      <${IconButton} icon="download" label="Import and export" onClick=${() => openDialog("export", { all: true })} />
      <${IconButton} icon="help" label="Keyboard shortcuts" onClick=${() => openDialog("help")} />
    </div>
  </aside>`;
}
