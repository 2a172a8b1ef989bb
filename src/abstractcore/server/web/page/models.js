/** What the gateway serves: models, and adapters below the model that they belong to. */

import { computed, signal } from "../vendor/vendor.js";
import { getJson, postJson } from "./api.js";
import { change, current, revision } from "./store.js";

/** `{ rows, error, loading }` of `GET /v1/models`. */
export const served = signal({ rows: [], error: null, loading: true });

export const find = (id) => served.value.rows.find((row) => row.id === id || row.aliases?.includes(id));
export const isAdapter = (row) => Boolean(row?.parent);
/** The model below an adapter; a model is its own. */
export const baseOf = (row) => (isAdapter(row) ? (find(row.parent) ?? row) : row);
export const adaptersOf = (base) => served.value.rows.filter((row) => row.parent && row.parent === base?.id);
/** An adapter's name without the backend that its id begins with. */
export const shortName = (row) => row.id.slice(row.backend && row.id.startsWith(`${row.backend}/`) ? row.backend.length + 1 : 0);

/** The row of the model that the conversation uses, if the gateway serves it. */
export const used = computed(() => {
  revision.value;
  return current.value && find(current.value.settings.model);
});

/** How the used model's backend keeps a promise: native, emulated, unsupported, or unknown. */
export const support = (capability) => baseOf(used.value)?.capabilities?.[capability];

export async function refreshModels() {
  served.value = { ...served.value, loading: true };
  try {
    const { data } = await getJson("v1/models");
    const ids = new Set(data.map((row) => row.id));
    // An alias is a name of the model that it stands for, as long as that one may be seen.
    served.value = { rows: data.filter((row) => !ids.has(row.alias_of)), error: null, loading: false };
  } catch (error) {
    served.value = { rows: served.value.rows, error, loading: false };
  }
  chooseFirst();
}

/** A conversation without a model gets the first one. */
export function chooseFirst() {
  const first = served.value.rows.find((row) => !row.parent) ?? served.value.rows[0];
  if (first && current.value && !current.value.settings.model) change({ model: first.id });
}

export async function loadAdapter(base, name, path) {
  const { id } = await postJson("v1/load_lora_adapter", { lora_name: name, lora_path: path, model: base.id });
  await refreshModels();
  return find(id);
}

export async function unloadAdapter(row) {
  const base = baseOf(row);
  await postJson("v1/unload_lora_adapter", { lora_name: shortName(row), model: base.id });
  if (current.value.settings.model === row.id) change({ model: base.id });
  await refreshModels();
}
