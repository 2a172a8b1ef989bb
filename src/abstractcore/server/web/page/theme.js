/** Light, dark, or as the system says. */

import { signal } from "../vendor/vendor.js";
import { remember } from "./store.js";

const ORDER = ["auto", "light", "dark"];

export const theme = signal(document.documentElement.dataset.theme ?? "auto");

export function nextTheme() {
  theme.value = ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length];
  if (theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  remember("abstractcore.theme", theme.value);
}
