// Devices, buses and services: are they there, and what do they say of themselves; batteries and cells.

import { h, card, putWhere, table } from "../dom.js";
import { store } from "../store.js";
import { capital, figure, plain, power, span, UNKNOWN } from "../words.js";

const TONES = { ok: "good", silent: "bad", trouble: "warn", stopped: "bad" };

/** The view: {element, update(what), end()}. */
export function devicesView() {
  const body = h("div", { class: "cards two live-value" });
  const element = h("div", null, h("div", { class: "head" }, h("h1", null, "Devices")), body);
  return {
    element,
    update() {
      const { state } = store;
      if (!state) return;
      const seen = [state.devices, state.buses, state.services, state.batteries, state.inverters, state.cells, Math.round(state.t / 10), state.board];
      putWhere(body, seen, () => [
        health("Devices", state.devices), health("Buses", state.buses), health("Services", state.services),
        batteries(state), inverters(state), board(state),
      ].filter(Boolean));
    },
    end() {},
  };
}

function health(title, given) {
  const rows = [...given].sort((a, b) => a.name.localeCompare(b.name));
  const well = rows.filter((row) => row.health === "ok").length;
  return card(title, null,
    h("p", { class: "soft small" }, rows.length ? `${well} of ${rows.length} well` : "none"),
    rows.length ? table(title, ["Name", title === "Devices" && "What it is", "State", "It says"].filter(Boolean), rows.map((row) => [
      row.name, title === "Devices" && `${row.what || ""}${row.where || ""}`, h("span", { class: `chip ${TONES[row.health] || ""}` }, row.health), row.words || "",
    ].filter((cell) => cell !== false))) : null);
}

function batteries(state) {
  const each = state.batteries.length ? state.batteries : [state];
  const volts = (mv) => (mv === null || mv === undefined ? UNKNOWN : `${(mv / 1000).toFixed(3)} V`);
  return card("Batteries and cells", { class: "wide" }, table("Batteries and cells",
    ["Battery", "Charged", "Health", "Voltage", "Temperature", "Lowest cell", "Highest cell", "Apart", "Cell temperatures"],
    each.map((one, i) => {
      const cells = one.cells || {};
      const known = cells.max_mv !== null && cells.max_mv !== undefined;
      return [one.name || `Battery ${i + 1}`, figure(one.soc, "%"), figure(one.soh, "%"), figure(one.voltage_v, "V"), figure(one.temperature_c, "°C"),
        volts(cells.min_mv), volts(cells.max_mv), known ? `${cells.max_mv - cells.min_mv} mV` : UNKNOWN,
        cells.max_c === null || cells.max_c === undefined ? UNKNOWN : `${cells.min_c} to ${cells.max_c} °C`];
    })));
}

function inverters(state) {
  if (!state.inverters.length) return null;
  return card("Inverters", null, table("Inverters", ["Inverter", "Power", "DC voltage"], state.inverters.map((one, i) => [
    one.name || `Inverter ${i + 1}`, power(one.battery_w), figure(one.dc_bus_v, "V")])));
}

function board(state) {
  const rows = [
    ["Firmware", state.firmware || UNKNOWN], ["Runs for", span(state.t)], ["Clock", `${state.clock.local || "not set"}, ${plain(state.clock.state || "").toLowerCase()}${state.clock.source ? `, by ${state.clock.source}` : ""}`],
    ["Time zone", state.clock.zone || UNKNOWN], ["Grid", state.grid === null ? UNKNOWN : `${state.grid ? "there" : "not there"}, ${figure(state.grid_v, "V")}, ${figure(state.hz, "Hz", 2)}`],
    ["DC bus", figure(state.dc_bus_v, "V")],
    ...Object.entries(state.board || {}).map(([name, value]) => [capital(plain(name)), value === null ? UNKNOWN : String(value)]),
  ];
  return card("Board", null, h("dl", { class: "pairs" }, rows.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
}
