// How long a command holds: nothing is commanded without an end.

import { h } from "./dom.js";
import { store } from "./store.js";
import { clockTime } from "./words.js";

const CHOICES = [[15, "15 min"], [30, "30 min"], [60, "1 hour"], [120, "2 hours"], [240, "4 hours"], [480, "8 hours"], [1440, "24 hours"]];

/** A field for the lifetime; its minutes are the select's value. */
export function lifetime(id, minutes = 60) {
  const select = h("select", { id, name: "minutes" }, CHOICES.map(([value, words]) => h("option", { value: String(value) }, words)));
  select.value = String(minutes);
  return { select, field: h("div", { class: "field" }, h("label", { for: id }, "Ends by itself after"), select) };
}

/** "It ends by itself after 60 min, at 22:15.": by the board's clock, which this device's need not agree with. */
export function endsAt(minutes) {
  const { unix } = store.state.clock;
  return `It ends by itself after ${minutes} min${unix ? `, at ${clockTime(new Date((unix + minutes * 60) * 1000)).slice(0, 5)}` : ""}.`;
}
