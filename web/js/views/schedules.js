// The schedule: entries to edit, what would start next, and the clock that starts them.

import { get, post } from "../api.js";
import { command, login } from "../dialogs.js";
import { card, h, put, say } from "../dom.js";
import { may, noted, store } from "../store.js";
import { capital, flowing, numeral, plain, power, span } from "../words.js";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const ORDER = [1, 2, 3, 4, 5, 6, 0]; // a week begins on Monday
const MODES = { CHARGE: "Charge", DISCHARGE: "Discharge", IDLE: "Hold still" };
const PREVIEW_MS = 500;
const MOST = 16;

/** The view: {element, update(what), end()}. */
export function schedulesView() {
  let plan = null; // what is edited: {enabled, rev, entries}
  let saved = ""; // the entries as the board has them
  let timer = 0;
  let ended = false;
  const list = h("div", { class: "entries" });
  const wrong = h("div", { role: "alert" });
  const next = h("div", { "aria-live": "polite" });
  const clock = h("div");
  const bar = h("div", { class: "row" });
  const switched = h("div");
  const element = h("div", null, h("div", { class: "head" }, h("h1", null, "Schedules")),
    h("div", { class: "cards two" },
      card("Entries", null, switched, list, wrong, bar),
      h("div", { class: "cards" }, card("What starts next", null, next), card("Clock", null, clock))));

  const read = async () => {
    try {
      take(await get("/api/schedules"));
    } catch (error) {
      noted(error);
      if (!ended) put(list, h("p", { class: "soft" }, error.status === 404 ? "This board has no schedule: its site has no clock." : `${capital(error.message)}.`));
    }
  };
  const take = (answer) => {
    if (ended) return;
    plan = { ...answer, entries: answer.entries.map((entry) => ({ ...entry, days: mask(entry) })) };
    saved = JSON.stringify(plan.entries);
    put(wrong);
    draw();
    showNext(answer.next, false);
    showClock(answer.clock);
  };
  const changed = () => JSON.stringify(plan.entries) !== saved;
  const draw = () => {
    if (!plan) return;
    const edits = may("operate");
    put(switched, h("p", { class: "row between" }, h("span", { class: `chip ${plan.enabled ? "good" : "bad"}` }, plan.enabled ? "the schedule runs" : "the schedule is switched off"),
      edits ? h("button", { type: "button", class: "quiet", onclick: turn }, plan.enabled ? "Switch off ..." : "Switch on ...") : null));
    put(list, plan.entries.length ? plan.entries.map((entry, i) => row(entry, i, edits)) : h("p", { class: "soft" }, "No entry."));
    showBar();
  };
  const showBar = () => put(bar,
    may("operate") ? [
      h("button", { type: "button", class: "quiet", disabled: plan.entries.length >= MOST, onclick: add }, "Add an entry"),
      h("button", { type: "button", disabled: !changed(), onclick: save }, "Save"),
      changed() ? h("button", { type: "button", class: "quiet", onclick: read }, "Undo all") : null,
    ] : h("button", { type: "button", class: "quiet", onclick: () => login("operate") }, "Log in to change it"));
  const row = (entry, i, edits) => {
    const active = plan.active !== undefined && entry.id === plan.active;
    if (!edits) return h("div", { class: `entry ${entry.enabled ? "" : "off"}` }, h("strong", null, described(entry)), h("span", { class: "small soft" }, ` schedule ${entry.id} `), active ? h("span", { class: "chip good" }, "runs now") : null);
    return editor(entry, i, active, touched, () => {
      plan.entries.splice(i, 1);
      draw();
      touched();
      (list.querySelector("select, input") || bar.querySelector("button")).focus();
    });
  };
  const add = () => {
    plan.entries.push({ enabled: true, day_of_week: 7, days: 127, hour: 1, minute: 0, mode: "CHARGE", kw: 0, minutes: 120, repeat: true });
    draw();
    touched();
    list.lastElementChild.querySelector("input, select").focus();
  };
  const touched = () => {
    showBar();
    clearTimeout(timer);
    timer = setTimeout(preview, PREVIEW_MS);
  };
  /** What cannot be sent, in words: the board is not asked then. */
  const unsaid = () => {
    const errors = [...list.querySelectorAll(".entry")].flatMap((box, i) => [...box.querySelectorAll("input[data-field]:not([type=checkbox])")]
      .filter((input) => (input.type === "time" ? !input.value : Number.isNaN(numeral(input.value))))
      .map((input) => `entry ${i + 1}: ${input.labels[0].textContent} = ${input.value.trim() || "nothing"}: must be a ${input.type === "time" ? "time of day" : "number"}`));
    plan.entries.forEach((entry, i) => entry.days || errors.push(`entry ${i + 1}: on no day: choose one, or remove it`));
    if (errors.length) put(wrong, errors.map((words) => h("p", { class: "wrong" }, capital(words))));
    return errors.length > 0;
  };
  const preview = async () => {
    if (unsaid()) return;
    try {
      const answer = await post("/api/schedules/preview", { entries: plan.entries.map(sent), count: 6 });
      if (ended) return;
      put(wrong);
      mark([]);
      showNext(answer.next, changed());
    } catch (error) {
      refused(error);
    }
  };
  const save = async () => {
    if (unsaid()) return;
    try {
      take(await post("/api/schedules", { entries: plan.entries.map(sent), enabled: plan.enabled, rev: plan.rev }));
      say("The schedule is stored.");
    } catch (error) {
      refused(error);
    }
  };
  const turn = async () => {
    const on = !plan.enabled;
    const done = await command({
      title: on ? "Let the schedule run?" : "Switch the schedule off?", text: on ? "What is due starts at once." : "Nothing starts by itself until it is switched on again.",
      button: on ? "Switch on" : "Switch off", body: { do: "scheduling", on },
    });
    if (done) read();
  };
  const refused = (error) => {
    noted(error);
    if (ended) return;
    const errors = (error.answer && error.answer.errors) || [error.message];
    put(wrong, errors.map((words) => h("p", { class: "wrong" }, capital(numbered(words)))), error.status === 409 ? h("button", { type: "button", class: "quiet", onclick: read }, "Read theirs") : null);
    mark(errors);
  };
  /** The entries that an error names: "entries[2].hour = 25: ..." or "entry 2: hour = 25: ...". */
  const mark = (errors) => [...list.querySelectorAll(".entry")].forEach((box, i) => box.querySelectorAll("[data-field]").forEach((input) => {
    const is = errors.some((words) => new RegExp(`(\\[${i}\\]|\\b${i})\\b.*\\b${input.dataset.field}\\b|(\\[${i}\\]|\\b${i}).*\\b${input.dataset.also || "-"}\\b`).test(words));
    if (is) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }));
  const showNext = (starts, draft) => put(next,
    draft ? h("p", { class: "small soft" }, "As it would be, once it is saved:") : null,
    starts.length ? h("ol", { class: "log" }, starts.map((start) => h("li", null, h("time", null, start.start),
      h("span", null, `${asked(start)} for ${span(start.minutes * 60)}`)))) : h("p", { class: "soft" }, plan && plan.clock.state === "UNSET" ? "Nothing starts while the clock is not set." : "Nothing."));
  const showClock = (of) => put(clock,
    h("dl", { class: "pairs" }, [["Local time", of.local || "not set"], ["State", plain(of.state || "").toLowerCase()], ["Set by", of.source || "nobody"], ["Zone", of.zone || "UTC"]].map(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
    may("operate") ? h("p", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: setClock }, "Set the clock ...")) : null);
  const setClock = async () => {
    const value = deviceTime();
    const field = h("input", { id: "clock-time", name: "time", value });
    const done = await command({
      title: "Set the clock", text: "Local time of the site. This device's time is filled in.", button: "Set",
      fields: h("div", { class: "field" }, h("label", { for: "clock-time" }, "Local time"), field), body: () => ({ do: "clock", time: field.value === value ? deviceTime() : field.value }), // as it is when it is sent
    });
    if (done) read();
  };
  read();
  return {
    element,
    unsaved: () => plan !== null && changed(),
    update(what) {
      if (what === "session") draw();
      if (plan && what === "state" && store.state.clock.now) {
        const shown = clock.querySelector("dd");
        const local = `${(store.state.clock.local || "").slice(0, 11)}${store.state.clock.now}`;
        if (shown && shown.textContent !== local) shown.textContent = local;
      }
    },
    end() {
      ended = true;
      clearTimeout(timer);
    },
  };
}

/** The time of this device, as the board takes it. */
function deviceTime() {
  const now = new Date();
  const two = (n) => String(n).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
}

/** "entries[0]: ..." is entry 1 to people. */
function numbered(words) {
  return words.replace(/^entries\[(\d+)\]/, (all, i) => `entry ${Number(i) + 1}`);
}

function mask(entry) {
  return entry.days || (entry.day_of_week === 7 ? 127 : 1 << entry.day_of_week);
}

/** An entry as the board wants it. */
function sent(entry) {
  return {
    ...(entry.id === undefined ? {} : { id: entry.id }), enabled: entry.enabled, repeat: entry.repeat, hour: entry.hour, minute: entry.minute, mode: entry.mode, kw: entry.kw, minutes: entry.minutes,
    day_of_week: 7, days: entry.days === 127 ? 0 : entry.days,
  };
}

function asked(entry) {
  if (entry.mode === "IDLE") return "hold still";
  if (!entry.kw) return `${MODES[entry.mode].toLowerCase()} with as much as it may`;
  return flowing("battery", entry.kw * 1000);
}

function described(entry) {
  const two = (n) => String(n).padStart(2, "0");
  const days = entry.days === 127 ? "every day" : ORDER.filter((day) => entry.days >> day & 1).map((day) => DAYS[day]).join(", ") || "on no day";
  return `${two(entry.hour)}:${two(entry.minute)} ${days}: ${asked(entry)} for ${span(entry.minutes * 60)}${entry.repeat ? "" : ", once"}${entry.enabled ? "" : " (off)"}`;
}

/** One entry's fields; touched() is called when any has changed, gone() when it is to go. */
function editor(entry, i, active, touched, gone) {
  const two = (n) => String(n).padStart(2, "0");
  const id = (name) => `entry-${i}-${name}`;
  const says = h("strong", null, described(entry));
  const set = (change) => {
    change();
    says.textContent = described(entry);
    touched();
  };
  const field = (name, words, input) => h("div", { class: "field" }, h("label", { for: id(name) }, words), input);
  const time = h("input", { id: id("time"), type: "time", required: true, value: `${two(entry.hour)}:${two(entry.minute)}`, "data-field": "hour", "data-also": "minute",
    oninput: () => set(() => time.value && ([entry.hour, entry.minute] = time.value.split(":").map(Number))) });
  const mode = h("select", { id: id("mode"), "data-field": "mode", onchange: () => set(() => {
    entry.mode = mode.value;
    entry.kw = entry.mode === "IDLE" ? 0 : Math.abs(entry.kw) * (entry.mode === "CHARGE" ? -1 : 1);
    kw.disabled = entry.mode === "IDLE";
  }) }, Object.entries(MODES).map(([value, words]) => h("option", { value }, words)));
  mode.value = entry.mode;
  const kw = h("input", { id: id("kw"), class: "number", autocomplete: "off", inputmode: "decimal", placeholder: "as much as it may", disabled: entry.mode === "IDLE",
    value: entry.kw ? String(Math.abs(entry.kw)) : "", "data-field": "kw", "data-also": "power_setpoint",
    oninput: () => set(() => (entry.kw = (entry.mode === "CHARGE" ? -1 : 1) * (numeral(kw.value) || 0))) });
  const minutes = h("input", { id: id("minutes"), class: "number", autocomplete: "off", inputmode: "numeric", value: String(entry.minutes), "data-field": "minutes", "data-also": "duration_minutes",
    oninput: () => set(() => (entry.minutes = numeral(minutes.value) || 0)) });
  const tick = (words, checked, change) => {
    const box = h("input", { type: "checkbox", checked, onchange: () => set(() => change(box.checked)) });
    return h("label", { class: "check" }, box, words);
  };
  const days = h("fieldset", null, h("legend", null, "On"), h("div", { class: "days" }, ORDER.map((day) => {
    const box = h("input", { type: "checkbox", checked: Boolean(entry.days >> day & 1), "data-field": "days", onchange: () => set(() => (entry.days = box.checked ? entry.days | 1 << day : entry.days & ~(1 << day))) });
    return h("label", null, box, DAYS[day]);
  })));
  return h("div", { class: `entry ${entry.enabled ? "" : "off"}`, role: "group", "aria-label": `Entry ${i + 1}` },
    h("div", { class: "row between" }, says, entry.id === undefined ? null : h("span", { class: "small soft" }, `schedule ${entry.id}`), active ? h("span", { class: "chip good" }, "runs now") : null),
    h("div", { class: "fields" }, field("time", "Starts at", time), field("mode", "Does", mode), field("kw", "Power, kW", kw), field("minutes", "For, minutes", minutes)),
    days,
    h("div", { class: "row between" },
      h("div", { class: "row" }, tick("in force", entry.enabled, (on) => (entry.enabled = on)), tick("repeats", entry.repeat, (on) => (entry.repeat = on))),
      h("button", { type: "button", class: "quiet", "aria-label": `Remove entry ${i + 1}`, onclick: gone }, "Remove")));
}
