// What the battery does now, and why: the picture, the limits in words, the live chart, the commands.

import { chart } from "../charts.js";
import { commandCard } from "../commands.js";
import { card, h, put, putWhere, table } from "../dom.js";
import { flowPicture } from "../flow.js";
import { recall } from "../memory.js";
import { store } from "../store.js";
import { capital, energy, figure, flowing, plain, power, span, UNKNOWN, unsigned, way, WAYS } from "../words.js";

export const LINES = [
  { key: "battery", label: "Battery, + discharges", colour: "battery", scale: "kw", words: (v) => flowing("battery", v * 1000), fill: true },
  { key: "grid", label: "Grid, + imports", colour: "grid", scale: "kw", words: (v) => flowing("grid", v * 1000) },
  { key: "load", label: "Loads", colour: "load", scale: "kw", words: (v) => power(v * 1000) },
  { key: "pv", label: "PV", colour: "pv", scale: "kw", words: (v) => power(v * 1000) },
  { key: "soc", label: "State of charge", colour: "soft", scale: "%", words: (v) => figure(v, "%"), dash: [6, 4] },
];

/** The view: {element, update(what), end()}. */
export function nowView() {
  const parts = {
    head: h("div", { class: "head live-value" }),
    flow: h("div"), why: h("div", { class: "live-value" }), limits: h("div", { class: "limits live-value" }), rows: h("div", { class: "live-value" }),
    battery: h("div", { class: "live-value" }), several: h("div", { class: "live-value wide cards", hidden: true }), who: h("div", { class: "live-value" }), energy: h("div", { class: "live-value" }),
  };
  const commands = commandCard();
  const space = h("div");
  let graph = null;
  let lines = [];
  const rows = h("details", null, h("summary", null, "All limits"), parts.rows);
  const element = h("div", null, parts.head,
    h("div", { class: "cards now" },
      h("div", { class: "cards" }, card("Power flow", null, parts.flow), card("Why", null, parts.why, h("h3", null, "Limits"), parts.limits, rows)),
      h("div", { class: "cards" }, commands.element, card("Battery", null, parts.battery), card("Who controls", null, parts.who)),
      parts.several,
      card("Last minutes", { class: "wide" }, space),
      card("Energy", { class: "wide" }, parts.energy)));
  let picture = null;
  let memory = [];
  let today = null;
  let ended = false;
  const drawChart = () => {
    if (!graph) { // of what this site measures
      lines = LINES.filter((line) => line.key !== "pv" || store.state.pv_w !== null);
      graph = chart({ label: `Power of the last minutes: ${lines.map((line) => line.label).join("; ")}`, lines });
      put(space, graph.element);
    }
    graph.set(columns(lines, [...memory.filter((row) => !store.live.length || row[0] < store.live[0][0]), ...store.live].slice(-900)));
  };
  let asked = false;
  const remember = async () => {
    asked = true;
    memory = await lastMinutes();
    if (!ended) drawChart();
    today = await energyOfToday();
    if (!ended && store.state) showEnergy(parts.energy, store.state, today);
  };
  const update = (what) => {
    commands.update(what);
    const { state } = store;
    if (!state || what === "events") return;
    if (!asked) remember();
    showHead(parts.head, state);
    picture = showFlow(parts.flow, state, picture);
    showWhy(parts.why, state);
    showLimits(parts.limits, state);
    if (rows.open) putWhere(parts.rows, state.limits.rows, () => limitRows(state));
    showBattery(parts.battery, parts.several, state);
    showWho(parts.who, state);
    showEnergy(parts.energy, state, today);
    if (what === "state" || what === "all") drawChart();
  };
  rows.addEventListener("toggle", () => update("rows"));
  return {
    element,
    update,
    end() {
      ended = true;
      if (graph) graph.end();
    },
  };
}

function columns(lines, rows) {
  const places = lines.map((line) => LINES.indexOf(line) + 1);
  const found = lines.map(() => []);
  const times = [];
  let before = 0;
  for (const row of rows) {
    if (before && row[0] - before > 5) { // a gap is a gap, not a line
      times.push(before + 1);
      found.forEach((column) => column.push(null));
    }
    before = row[0];
    times.push(row[0]);
    found.forEach((column, i) => column.push(row[places[i]] ?? null));
  }
  return [times, ...found];
}

/** The last quarter of an hour as the board remembers it; nothing where it has no memory. */
async function lastMinutes() {
  try {
    const to = store.state.clock.unix;
    if (!to) return [];
    const found = await recall(`kind=second&from=${to - 600}`);
    return found.map((row) => [row.unix, row.battery, row.grid, row.load, row.pv, row.soc]);
  } catch {
    return [];
  }
}

async function energyOfToday() {
  try {
    if (!store.state.clock.unix) return null;
    const now = new Date(store.state.clock.unix * 1000); // of the last days; which is today, the board knows
    const rows = await recall(`kind=day&from=${new Date(now.getTime() - 2 * 86400000).toISOString().slice(0, 10)}`);
    return rows.length ? rows[rows.length - 1] : null;
  } catch {
    return null;
  }
}

function showHead(box, state) {
  const tone = state.mode === "EMERGENCY" ? "bad" : state.mode === "MAINTENANCE" || state.mode === "STANDBY" ? "warn" : "good";
  const clock = state.clock.now || (state.clock.local || "").slice(11, 19);
  const words = state.mode === "EMERGENCY" ? "Emergency" : capital(flowing("battery", state.battery_w));
  putWhere(box, [tone, words, state.mode, figure(state.soc, "%", 0), clock, state.clock.state], () => [
    h("h1", null, words), h("span", { class: `chip ${tone}` }, state.mode),
    h("span", null, `${figure(state.soc, "%", 0)} charged`),
    h("span", { class: "soft" }, clock ? `board's clock ${clock}${state.clock.state === "SYNCED" ? "" : ` (${plain(state.clock.state).toLowerCase()})`}` : "the board's clock is not set"),
  ]);
}

function nodes(state) {
  const found = [{ kind: "grid", name: "Grid" }, { kind: "load", name: "Loads" }];
  if (state.pv_w !== null) found.push({ kind: "pv", name: "PV" });
  if (state.generator_w !== null && state.generator_w !== undefined) found.push({ kind: "generator", name: "Generator" });
  if (state.banks.length) found.push(...state.banks.map((bank) => ({ kind: "battery", name: `Battery ${bank.name}` })));
  else found.push({ kind: "battery", name: "Battery" });
  return found;
}

function showFlow(box, state, picture) {
  const which = nodes(state);
  const key = JSON.stringify(which);
  if (!picture || picture.key !== key) {
    picture = { ...flowPicture(which), key, which };
    put(box, picture.element);
  }
  let bank = 0;
  picture.show(picture.which.map((node) => {
    if (node.kind !== "battery") return { watts: state[`${node.kind}_w`] };
    const from = state.banks.length ? state.banks[bank++] : state;
    return { watts: from.battery_w, soc: from.soc };
  }));
  return picture;
}

function showWhy(box, state) {
  putWhere(box, [state.reason, state.waiting, state.last_trip, state.last_end], () => [
    h("p", { class: "reason" }, capital(unsigned(state.reason))),
    (state.waiting || []).map((words) => h("p", { class: "small soft" }, capital(unsigned(words)))),
    state.last_trip ? h("p", { class: "small soft" }, `Last trip: ${state.last_trip}`) : null,
    state.last_end ? h("p", { class: "small soft" }, `Last end: ${state.last_end}`) : null,
  ]);
}

function showLimits(box, state) {
  putWhere(box, [state.limits.charge, state.limits.discharge, state.binding, state.battery_w, state.max], () => ["charge", "discharge"].map((direction) => {
    const limit = state.limits[direction];
    const most = state.max[`${direction}_w`] || 1;
    const does = way(state.battery_w) === (direction === "charge" ? -1 : 1) ? Math.abs(state.battery_w) : 0;
    const binds = state.binding === direction;
    const may = h("div", { class: "may" });
    may.style.width = `${Math.min(100, (limit.w / most) * 100)}%`;
    const now = h("div", { class: "does" });
    now.style.width = `${Math.min(100, (does / most) * 100)}%`;
    return h("div", { class: `limit battery ${binds ? "binds" : ""}` },
      h("div", { class: "row between" }, h("strong", null, direction === "charge" ? "Charging" : "Discharging", " at most ", power(limit.w)),
        h("span", { class: `chip ${binds ? "warn" : ""}` }, binds ? `binds: ${plain(limit.row)}` : plain(limit.row))),
      h("div", { class: "bar", "aria-hidden": "true" }, may, now),
      h("p", { class: "small soft" }, capital(limit.words)));
  }));
}

function limitRows(state) {
  const bound = (watts) => (watts === null ? "no bound" : power(watts));
  return [table("Every limit", ["Limit", "Charging", "Discharging"], state.limits.rows.map(([name, discharge, charge]) => [
    plain(name) + (name === state.limits.charge.row || name === state.limits.discharge.row ? " (the smallest)" : ""), bound(charge), bound(discharge)]))];
}

function pairs(list) {
  return h("dl", { class: "pairs" }, list.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function cells(of) {
  if (!of || of.max_mv === null || of.max_mv === undefined) return null;
  return `${(of.min_mv / 1000).toFixed(3)} to ${(of.max_mv / 1000).toFixed(3)} V, ${of.max_mv - of.min_mv} mV apart`;
}

function showBattery(box, several, state) {
  const temperatures = state.cells && state.cells.max_c !== null && state.cells.max_c !== undefined ? ["Cell temperatures", `${state.cells.min_c} to ${state.cells.max_c} °C`] : null;
  const list = [
    ["State of charge", `${figure(state.soc, "%")} (kept between ${state.max.min_soc} and ${state.max.max_soc} %)`],
    ["It can still give", energy(state.available_wh.discharge)], ["It can still take", energy(state.available_wh.charge)],
    ["State of health", figure(state.soh, "%")], ["Voltage, current", `${figure(state.voltage_v, "V")}, ${figure(Math.abs(state.current_a), "A")}`],
    ["Temperature", figure(state.temperature_c, "°C")], cells(state.cells) && ["Cells", cells(state.cells)], temperatures,
    state.balancing && ["Cells", "balancing"],
  ];
  putWhere(box, list, () => [pairs(list)]);
  several.hidden = !state.banks.length && !state.batteries.length;
  putWhere(several, [state.banks, state.batteries], () => [
    state.banks.length ? card("Banks", null, table("Banks", ["Bank", "Does", "Charged", "May charge", "May discharge", "Why"], state.banks.map((bank) => [
      bank.name, flowing("battery", bank.battery_w), figure(bank.soc, "%", 0), power(bank.limit_charge_w), power(bank.limit_discharge_w), unsigned(bank.reason)]))) : null,
    state.batteries.length ? card("Batteries", null, table("Batteries", ["Battery", "Charged", "Health", "Voltage", "Current", "Temperature", "Cells"], state.batteries.map((each, i) => [
      each.name || String(i + 1), figure(each.soc, "%", 0), figure(each.soh, "%", 0), figure(each.voltage_v, "V"),
      each.current_a === null ? UNKNOWN : `${WAYS.battery[each.current_a > 0 ? 0 : each.current_a < 0 ? 1 : 2]} ${figure(Math.abs(each.current_a), "A")}`,
      figure(each.temperature_c, "°C"), cells(each.cells) || UNKNOWN]))) : null,
  ].filter(Boolean));
}

function showWho(box, state) {
  const left = (s) => (s === null ? "without an end" : `${span(s)} left`);
  const what = (claim) => (claim.goal === "power" ? flowing("battery", claim.w) : `${plain(claim.goal)}, ${flowing("battery", claim.w)}`);
  const seconds = (list) => list.map((each) => ({ ...each, left_s: each.left_s === null ? null : Math.ceil(each.left_s) }));
  putWhere(box, [state.seat, seconds(state.claims), seconds(state.curtailments), state.by], () => [
    pairs([["From outside", state.seat.local ? "a person has the control (local)" : state.seat.by ? state.seat.by : "nobody"], ["Now decides", plain(state.by || "nobody")]]),
    state.claims.length ? [h("h3", null, "Asks for power"), table("Who asks for power", ["Who", "For", "Ends"], state.claims.map((claim) => [
      claim.owner && claim.owner !== claim.source ? `${claim.source} (${claim.owner})` : claim.source, what(claim), left(claim.left_s)]))] : null,
    state.curtailments.length ? [h("h3", null, "Limits"), table("Who limits", ["Who", "Charging", "Discharging", "Ends"], state.curtailments.map((each) => [
      each.owner, each.charge_w === null ? "no bound" : power(each.charge_w), each.discharge_w === null ? "no bound" : power(each.discharge_w), left(each.left_s)]))] : null,
  ].flat().filter(Boolean));
}

function showEnergy(box, state, today) {
  const of = state.energy;
  const total = (kind, words, wh) => h("div", { class: kind }, h("span", { class: "small soft" }, words), h("b", null, energy(wh)));
  putWhere(box, [of, today], () => [h("div", { class: "totals" },
    today ? [total("battery", "Charged today", today.charged), total("battery", "Discharged today", today.discharged), total("grid", "Imported today", today.imported), total("export", "Exported today", today.exported),
      today.generated === null || today.generated === undefined ? null : total("pv", "Generated today", today.generated), today.consumed === null || today.consumed === undefined ? null : total("load", "Consumed today", today.consumed)] : null,
    of.in_wh === null || of.in_wh === undefined
      ? [total("battery", "Charged since boot", of.boot_in_wh), total("battery", "Discharged since boot", of.boot_out_wh)]
      : [total("battery", "Charged in its life", of.in_wh), total("battery", "Discharged in its life", of.out_wh), h("div", null, h("span", { class: "small soft" }, "Full cycles"), h("b", null, figure(of.cycles, "", 1)))])]);
}
