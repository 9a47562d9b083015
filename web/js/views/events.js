// What happened: events as they come, and the journal that outlives a reset.

import { get } from "../api.js";
import { card, h, put, putWhere } from "../dom.js";
import { noted, store } from "../store.js";
import { capital, power, span } from "../words.js";

const BAD = /EMERGENCY|FAULT_RAISED|COMMS_LOST|OVERPOWER|GRID_DISCONNECTED|REFUSED/;
const LEVELS = { error: ["bad", "Error: "], warning: ["warn", "Warning: "] };
const entry = (id) => (id === -1 ? "the clock is not set" : `schedule ${id}`);
const SAID = { // of what has a number
  SCHEDULE_STARTED: entry, SCHEDULE_ENDED: entry, SCHEDULE_MISSED: entry, OVERPOWER: (watts) => power(watts), CLOCK_SET: (s) => (s ? `put ${s > 0 ? "on" : "back"} by ${span(Math.abs(s))}` : ""),
};
const WARN = /MISSED|TIMEOUT|LIMIT_CHANGE/;

/** The view: {element, update(what), end()}. */
export function eventsView() {
  const list = h("ol", { class: "log", reversed: true });
  const lines = h("ol", { class: "log", reversed: true });
  const only = h("input", { type: "search", id: "events-only", placeholder: "all" });
  const empty = h("p", { class: "soft" });
  const reload = h("button", { type: "button", class: "quiet", onclick: () => ask() }, "Read again");
  const words = h("p", { class: "soft small", role: "status" }, "Reading the journal ...");
  const element = h("div", null, h("div", { class: "head" }, h("h1", null, "Events")),
    h("div", { class: "cards two" },
      card("Since the start of the board", null, h("div", { class: "field" }, h("label", { for: "events-only" }, "Only those with"), only), list, empty),
      card("Journal", null, h("div", { class: "row between" }, words, reload), lines)));
  let ended = false;

  const show = () => {
    const text = only.value.trim().toLowerCase();
    const found = store.events.filter((event) => !text || event.text.toLowerCase().includes(text)).slice().reverse();
    putWhere(list, [found.length && found[0].n, found.length, text], () => found.map((event) =>
      h("li", null, h("time", null, event.local || `${event.t} s`), h("span", { class: tone(event.name) }, readable(event)))));
    put(empty, found.length ? "" : text ? `No event has "${text}" in it.` : "Nothing yet.");
  };
  const ask = async () => {
    try {
      const answer = await get("/api/journal?count=200");
      if (ended) return;
      put(lines, answer.lines.slice().reverse().map(([unix, s, name, data, level]) => h("li", null,
        h("time", null, unix ? new Date(unix * 1000).toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }) : `${s} s`),
        h("span", { class: (LEVELS[level] || [""])[0] }, (LEVELS[level] || ["", ""])[1], line(name, data)))));
      put(words, answer.lines.length ? `${answer.lines.length} lines, the last first, in your time.` : "The journal is empty.");
    } catch (error) {
      noted(error);
      put(words, `${capital(error.message)}.`);
    }
  };
  only.addEventListener("input", show);
  ask();
  return {
    element,
    update: (what) => (what === "events" || what === "all" ? show() : null),
    end() {
      ended = true;
    },
  };
}

function tone(name) {
  return BAD.test(name) ? "bad" : WARN.test(name) ? "warn" : "";
}

/** "Limit change: discharge by temperature". */
function readable(event) {
  const said = (SAID[event.name] || ((data) => data || ""))(event.data); // a bare 0 says nothing
  const data = said === "" ? "" : `: ${said}`;
  return `${capital(event.name.toLowerCase().replaceAll("_", " "))}${data}`;
}

/** A line of the journal: an event as above, what people were told as they were told it, a command as it was logged. */
function line(name, data) {
  if (name === "SAID") return String(data);
  if (/^[A-Z_]+$/.test(name)) return readable({ name, data });
  return data ? `${name} ${data}` : name;
}
