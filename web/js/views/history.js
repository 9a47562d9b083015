// What it did: powers of an hour or a day, energies of a month, a year and all years, with their sums.

import { chart } from "../charts.js";
import { card, h, put, table } from "../dom.js";
import { recall, remembers } from "../memory.js";
import { noted, store } from "../store.js";
import { capital, energy, figure, flowing, power, UNKNOWN } from "../words.js";
import { LINES } from "./now.js";

const ENERGIES = [
  { key: "charged", label: "Charged", colour: "battery" }, { key: "discharged", label: "Discharged", colour: "generator" },
  { key: "imported", label: "Imported", colour: "grid" }, { key: "exported", label: "Exported", colour: "export" },
  { key: "generated", label: "PV", colour: "pv" }, { key: "consumed", label: "Loads", colour: "load" },
];
const SPANS = {
  hour: { words: "Hour", kind: "second", step: (date, n) => new Date(date.getTime() + n * 3600000) },
  day: { words: "Day", kind: "five", step: (date, n) => new Date(date.getFullYear(), date.getMonth(), date.getDate() + n) },
  month: { words: "Month", kind: "day", step: (date, n) => new Date(date.getFullYear(), date.getMonth() + n, 1) },
  year: { words: "Year", kind: "month", step: (date, n) => new Date(date.getFullYear() + n, 0, 1) },
  all: { words: "All years", kind: "year", step: (date) => date },
};
const two = (n) => String(n).padStart(2, "0");
const isoDay = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

/** The view: {element, update(what), end()}. */
export function historyView() {
  let span = "day";
  let at = boardNow();
  let graph = null;
  let asked = 0;
  const keys = h("div", { class: "keys", role: "group", "aria-label": "How long" });
  const title = h("h2", { id: "history-title", "aria-live": "polite" });
  const before = h("button", { type: "button", class: "quiet", "aria-label": "Earlier", onclick: () => move(-1) }, "‹");
  const after = h("button", { type: "button", class: "quiet", "aria-label": "Later", onclick: () => move(1) }, "›");
  const space = h("div");
  const sums = h("div");
  const rows = h("div");
  const more = h("details", null, h("summary", null, "As a table"), rows);
  const csv = h("a", { class: "button", download: true }, "Save as CSV");
  const element = h("div", null,
    h("div", { class: "head between row" }, h("h1", null, "History"), keys),
    h("section", { class: "card", "aria-labelledby": "history-title" },
      h("div", { class: "row between" }, title, h("div", { class: "row" }, before, after, csv)), space, sums, more));

  const move = (n) => {
    at = SPANS[span].step(at, n);
    ask();
  };
  const choose = (name) => {
    span = name;
    at = boardNow();
    ask();
  };
  const ask = async () => {
    const mine = ++asked;
    put(keys, Object.entries(SPANS).map(([name, each]) => h("button", { type: "button", "aria-pressed": String(name === span), onclick: () => choose(name) }, each.words)));
    const focus = keys.querySelector('[aria-pressed="true"]');
    if (mine > 1 && document.activeElement === document.body) focus.focus({ preventScroll: true });
    put(title, heading(span, at));
    before.hidden = after.hidden = span === "all";
    after.disabled = SPANS[span].step(at, 1) > new Date(boardNow().getTime() + (span === "hour" ? 60000 : 0));
    const query = question(span, at);
    csv.href = `/api/history?${query}&format=csv`;
    csv.setAttribute("download", `${span}-${isoDay(at)}.csv`);
    if (graph) graph.end();
    graph = null;
    put(space, h("p", { class: "wait" }, "Reading ..."));
    put(sums);
    put(rows);
    try {
      const found = await recall(query);
      if (mine === asked) show(found);
    } catch (error) {
      noted(error);
      if (mine === asked) put(space, h("p", { class: "wait" }, `${capital(error.message)}.`));
    }
  };
  const show = (found) => {
    if (!found.length) {
      put(space, h("p", { class: "wait" }, remembers() ? "Nothing is kept of that time." : "This board keeps no history: its site has no service history."));
      return;
    }
    graph = span === "hour" || span === "day" ? powers(found, span, at) : energies(found);
    put(space, graph.element);
    graph.draw();
    put(sums, span === "hour" ? null : totals(found));
    more.ontoggle = () => (more.open ? put(rows, listed(found, span)) : put(rows));
    if (more.open) put(rows, listed(found, span));
  };
  return {
    element,
    update() {
      if (asked || !store.state) return;
      at = boardNow();
      ask();
    },
    end() {
      asked += 1;
      if (graph) graph.end();
    },
  };
}

/** The board's clock as a date, or the browser's where it has none. */
function boardNow() {
  const unix = store.state && store.state.clock.unix;
  return unix ? new Date(unix * 1000) : new Date();
}

function question(span, at) {
  const seconds = Math.floor(at.getTime() / 1000);
  if (span === "hour") return `kind=second&from=${seconds - 3600}&to=${seconds}`;
  if (span === "day") return `kind=five&from=${isoDay(at)}&to=${isoDay(at)}`;
  if (span === "month") return `kind=day&from=${isoDay(new Date(at.getFullYear(), at.getMonth(), 1))}&to=${isoDay(new Date(at.getFullYear(), at.getMonth() + 1, 0))}`;
  if (span === "year") return `kind=month&from=${at.getFullYear()}-01-01&to=${at.getFullYear()}-12-31`;
  return "kind=year";
}

function heading(span, at) {
  if (span === "hour") return `The hour up to ${two(at.getHours())}:${two(at.getMinutes())}, ${at.toLocaleDateString([], { day: "numeric", month: "long" })}`;
  if (span === "day") return at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  if (span === "month") return at.toLocaleDateString([], { month: "long", year: "numeric" });
  return span === "year" ? String(at.getFullYear()) : "All years";
}

function powers(found, span, at) {
  const lines = LINES.filter((line) => found.some((row) => row[line.key] !== null));
  const most = span === "hour" ? 5 : 900;
  const times = [];
  const columns = lines.map(() => []);
  for (const row of found) {
    if (times.length && row.unix - times[times.length - 1] > most) { // what is missing is not drawn
      times.push(times[times.length - 1] + 1);
      columns.forEach((column) => column.push(null));
    }
    times.push(row.unix);
    columns.forEach((column, i) => column.push(row[lines[i].key]));
  }
  // the whole day, of 23 to 25 h and as the board has it if its zone is another, until somebody draws a frame around a part of it
  const midnight = (days) => new Date(at.getFullYear(), at.getMonth(), at.getDate() + days).getTime() / 1000;
  const day = [Math.min(midnight(0), times[0]), Math.max(midnight(1), times[times.length - 1])];
  const range = (u, low, high) => {
    const all = low === null || (low <= times[0] && high >= times[times.length - 1]);
    return !all ? [low, high] : span === "day" ? day : [times[0], Math.max(times[times.length - 1], times[0] + 60)];
  };
  const graph = chart({ label: `Powers of the ${span}: ${lines.map((line) => line.label).join(", ")}`, lines, height: 320, range, sparse: true });
  return { ...graph, draw: () => graph.set([times, ...columns]) };
}

function energies(found) {
  const dated = found.filter((row) => row.period);
  const lines = ENERGIES.filter((each) => dated.some((row) => row[each.key] !== null)).map((each, i) => ({ ...each, scale: "kwh", words: (v) => energy(v * 1000), hidden: i > 1 }));
  const xs = (u, values) => values.map((v) => (Number.isInteger(v) && dated[v] ? dated[v].period.slice(dated[v].period.length > 4 ? -2 : 0) : ""));
  const graph = chart({
    label: `Energies: ${lines.map((line) => line.label).join(", ")}`, lines, height: 320, bars: true, xs,
    range: () => [-0.7, Math.max(dated.length, 6) - 0.3],
  });
  return { ...graph, draw: () => graph.set([dated.map((row, i) => i), ...lines.map((line) => dated.map((row) => (row[line.key] === null ? null : row[line.key] / 1000)))]) };
}

function totals(found) {
  const sum = (key) => (found.some((row) => row[key] !== null) ? found.reduce((total, row) => total + (row[key] || 0), 0) : null);
  return h("div", { class: "totals" }, ENERGIES.map((each) => [each, sum(each.key)]).filter(([, wh]) => wh !== null).map(([each, wh]) =>
    h("div", { class: each.colour }, h("span", { class: "small soft" }, each.label), h("b", null, energy(wh)))));
}

function listed(found, span) {
  if (span === "hour" || span === "day") {
    const every = Math.max(1, Math.ceil(found.length / 300));
    return table("Powers", ["Time", "Battery", "Grid", "Loads", "PV", "Charged", "Limits charging", "Limits discharging"], found.filter((row, i) => i % every === 0).map((row) => [
      row.unix === null ? UNKNOWN : new Date(row.unix * 1000).toLocaleTimeString([], { hourCycle: "h23" }), flowing("battery", kwToW(row.battery)), flowing("grid", kwToW(row.grid)),
      power(kwToW(row.load)), power(kwToW(row.pv)), figure(row.soc, "%"), row.whyCharge || "", row.whyDischarge || ""]));
  }
  return table("Energies", ["Period", ...ENERGIES.map((each) => each.label)], found.map((row) => [row.period || "clock not set", ...ENERGIES.map((each) => energy(row[each.key]))]));
}

function kwToW(kw) {
  return kw === null ? null : kw * 1000;
}
