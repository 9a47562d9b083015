// The board's memory as the charts take it: rows by name, kW and Wh.

import { get } from "./api.js";
import { store } from "./store.js";

/** Whether the board keeps a history at all; known once its state is. */
export function remembers() {
  return store.state.services.some((service) => service.name === "history");
}

/** Rows of its history; none where it keeps none. Raises Refused. */
export async function recall(query) {
  return remembers() ? historyColumns(await get(`/api/history?${query}`)) : [];
}

const kw = (row, name) => (row[name] === null || row[name] === undefined ? null : row[name] / 1000);
const known = (row, name) => (row[name] === undefined ? null : row[name]);
const measured = (row, name, of) => (row[of] === 0 ? null : known(row, name)); // an energy of what was measured at all

/* Rows of an answer: {unix, period, battery, grid, load, pv (kW), soc (%), energies (Wh), why...}; those without a time are left out. */
function historyColumns(answer) {
  const names = answer.columns;
  return answer.rows.map((values) => named(names, values)).filter((row) => row.unix !== null || row.period !== null);
}

function named(names, values) {
  const row = {};
  names.forEach((name, i) => {
    row[name] = values[i];
  });
  return {
    unix: row.time ?? row.unix ?? null, period: row.period ?? null, seconds: known(row, "seconds"),
    battery: kw(row, "battery_w"), grid: kw(row, "grid_w"), load: kw(row, "load_w"), pv: kw(row, "pv_w"), soc: known(row, "soc_percent"),
    whyDischarge: known(row, "why_discharge"), whyCharge: known(row, "why_charge"), mode: known(row, "mode"),
    charged: measured(row, "charged_wh", "battery_s"), discharged: measured(row, "discharged_wh", "battery_s"),
    imported: measured(row, "imported_wh", "grid_s"), exported: measured(row, "exported_wh", "grid_s"),
    generated: measured(row, "pv_wh", "pv_s"), consumed: measured(row, "load_wh", "load_s"),
  };
}
