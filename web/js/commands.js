// The card of commands: each is asked for once more, has an end, and is refused in the board's own words.

import { command, login } from "./dialogs.js";
import { byId, card, h, putWhere } from "./dom.js";
import { endsAt, lifetime } from "./lifetime.js";
import { may, store } from "./store.js";
import { numeral, power } from "./words.js";

const WAYS = { charge: "Charge", discharge: "Discharge", hold: "Hold still" };

/** The card: {element, update(what)}. What is being typed stays, whatever the mode does meanwhile. */
export function commandCard() {
  let which = "charge";
  const asking = h("div");
  const orders = h("div");
  const element = card("Commands", null, asking, orders);

  const draw = () => {
    const { state, session } = store;
    if (!state) return;
    const edits = may("operate");
    putWhere(asking, [which, session.role, session.logins, state.max], () => (edits ? [choices(), operation(which, state)] : viewer()));
    putWhere(orders, [edits, session.role, state.mode === "EMERGENCY", state.mode === "MAINTENANCE", state.seat.local, state.max], () => (edits
      ? [h("h3", null, "The system"), system(state), may("service") ? [h("h3", null, "Service"), service(state)] : []].flat() : []));
  };
  const choices = () => h("div", { class: "keys", role: "group", "aria-label": "What to do" }, Object.entries(WAYS).map(([name, words]) =>
    h("button", { type: "button", "aria-pressed": String(which === name), onclick: () => choose(name) }, words)));
  const choose = (name) => {
    which = name;
    draw();
    asking.querySelector('[aria-pressed="true"]').focus();
  };
  return { element, update: draw };
}

function viewer() {
  return [
    h("p", { class: "soft" }, store.session.role === "view" ? "You may look. To command, log in as operator." : "To command, log in as operator."),
    h("p", { class: "row" }, h("button", { type: "button", onclick: () => login("operate") }, "Log in to command")),
  ];
}

function operation(which, state) {
  const most = which === "charge" ? state.max.charge_w : state.max.discharge_w;
  const kw = h("input", { id: "cmd-kw", name: "kw", class: "number", autocomplete: "off", inputmode: "decimal", placeholder: "as much as it may", "aria-describedby": "cmd-kw-why" });
  const soc = h("input", { id: "cmd-soc", name: "soc", class: "number", autocomplete: "off", inputmode: "decimal", placeholder: `${state.max.max_soc}` });
  const life = lifetime("cmd-minutes");
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h("form", { novalidate: true },
    h("div", { class: "fields" },
      which === "hold" ? null : h("div", { class: "field" }, h("label", { for: "cmd-kw" }, "Power, kW"), kw, h("span", { class: "why", id: "cmd-kw-why" }, `up to ${power(most)}; empty: as much as it may`)),
      which === "charge" ? h("div", { class: "field" }, h("label", { for: "cmd-soc" }, "or up to, %"), soc, h("span", { class: "why" }, "a charge with all it may, to this state of charge")) : null,
      life.field),
    wrong,
    h("p", { class: "row" }, h("button", { type: "submit" }, `${WAYS[which]} ...`)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const found = wish(which, kw.value, soc.value, Number(life.select.value), state.max);
    wrong.textContent = found.wrong || "";
    const bad = found.wrong && byId(found.field);
    [kw, soc].forEach((input) => input.removeAttribute("aria-invalid"));
    if (bad) {
      bad.setAttribute("aria-invalid", "true");
      bad.focus();
      return;
    }
    command({ title: `${found.words}?`, text: `${endsAt(found.body.minutes)} It stays inside every limit.`, button: WAYS[which], body: found.body });
  });
  return form;
}

/** What the fields ask for: {words, body}, or {wrong, field}. Their ranges are the board's; it checks again. */
function wish(which, kw, soc, minutes, max) {
  if (which === "hold") return { words: "Hold still, with 0 W", body: { do: "pause", minutes } };
  const most = (which === "charge" ? max.charge_w : max.discharge_w) / 1000;
  const value = numeral(kw);
  const to = which === "charge" ? numeral(soc) : null;
  if (value !== null && to !== null) return { wrong: "Either a power or a state of charge, not both.", field: "cmd-soc" };
  if (value !== null && !(value > 0 && value <= most)) return { wrong: `Power = ${kw.trim()} kW: allowed are more than 0, up to ${most} kW.`, field: "cmd-kw" };
  if (to !== null && !(to >= max.min_soc && to <= max.max_soc)) return { wrong: `State of charge = ${soc.trim()} %: allowed are ${max.min_soc} to ${max.max_soc} %.`, field: "cmd-soc" };
  if (value !== null) return { words: `${WAYS[which]} with ${power(value * 1000)}`, body: { do: "power", kw: which === "charge" ? -value : value, minutes } };
  if (which === "discharge") return { words: "Discharge with as much as it may", body: { do: "discharge", kw: 0, minutes } };
  return { words: to !== null ? `Charge to ${to} %` : "Charge to the highest state of charge allowed", body: { do: "charge", soc: to || 0, minutes } };
}

/** A key that asks and commands; `what` is read when it is pressed, so its getters give fresh fields each time. */
function key(words, what, danger = false) {
  return h("button", { type: "button", class: danger ? "stop" : "quiet", onclick: () => command({ button: words, danger, ...what }) }, `${words} ...`);
}

function system(state) {
  const local = state.seat.local;
  return h("div", { class: "row" },
    state.mode === "EMERGENCY" ? key("Reset the emergency", { title: "Reset the emergency?", text: "Find its cause first. It is refused while a cause stands.", body: { do: "reset" } }) : null,
    key("Start", { title: "Start?", text: "The contactors close, and it is ready to move power.", body: { do: "start" } }),
    key("Stop", { title: "Stop?", text: "Everything that was asked for ends: 0 W, contactors open. It stays so until somebody starts it.", body: { do: "stop" } }),
    key("Give back", { title: "Give back what was commanded here?", text: "Your operation, limit and control end; the schedule or the EMS goes on.", body: { do: "give_back" } }),
    key("Limit", limiting(state)),
    local ? null : key("Take control", taking()));
}

function taking() {
  return {
    title: "Take the control?", text: "No EMS commands from then on, until you give it back or the time is over.",
    get fields() { return [lifetime("take-minutes", 60).field]; },
    body: (form) => ({ do: "take", minutes: Number(form.elements.minutes.value) }),
  };
}

function limiting(state) {
  const fields = () => {
    const one = (id, words, most) => h("div", { class: "field" }, h("label", { for: id }, words),
      h("input", { id, name: id, class: "number", autocomplete: "off", inputmode: "decimal", placeholder: "no bound" }), h("span", { class: "why" }, `0 to ${most / 1000} kW`));
    return [one("limit-chg", "Charging at most, kW", state.max.charge_w), one("limit-dis", "Discharging at most, kW", state.max.discharge_w), lifetime("limit-minutes", 120).field];
  };
  return {
    title: "Limit the power", text: "A bound on top of all others.", button: "Limit",
    get fields() { return fields(); },
    body: (form) => {
      const what = { do: "limit", minutes: Number(form.elements.minutes.value) };
      for (const [name, key, most] of [["limit-chg", "charge_kw", state.max.charge_w / 1000], ["limit-dis", "discharge_kw", state.max.discharge_w / 1000]]) {
        const input = form.elements[name];
        const value = numeral(input.value);
        if (value !== null && !(value >= 0 && value <= most)) throw new Error(`${input.labels[0].textContent} = ${input.value.trim()}: allowed are 0 to ${most} kW`);
        if (value !== null) what[key] = value;
      }
      if (what.charge_kw === undefined && what.discharge_kw === undefined) throw new Error("Give a bound for charging, for discharging, or both");
      return what;
    },
  };
}

function service(state) {
  const on = state.mode !== "MAINTENANCE";
  return h("div", { class: "row" },
    key(on ? "Maintenance" : "End maintenance", { title: on ? "To maintenance?" : "End maintenance?", role: "service", body: { do: "maintenance", on },
      text: on ? "0 W; from then on only a technician's service commands move anything." : "It goes to STANDBY; start it then." }),
    key("Restart the board", { title: "Restart the board?", role: "service", body: { do: "reboot" }, danger: true, text: "0 W while it starts again, some seconds. Then it goes on as the site file says." }, true));
}
