// What the page knows: the session, the board's state, whether it is live. Views ask to be told when it changes.

import { get, Refused, setCsrf } from "./api.js";

const STALE_MS = 4500; // an event comes each second; so long without one is no life
const POLL_MS = 4000;
const TRIES_LIVE = 5; // polls between two tries to get a stream
const FULL_MS = 6000; // the whole state, between the short ones
const LIVE_SECONDS = 900; // of the live chart, in the browser's memory
const EVENTS_KEPT = 200;
const PAUSE_HIDDEN_MS = 60000; // a page nobody looks at gives its place on the board back

const RANK = { none: 0, view: 1, operate: 2, service: 3 };
const listeners = new Set();
let source = null;
let heardAt = 0;
let lostAt = null;
let fullAt = 0;
let asking = false;
let hiddenAt = 0;
let bootAt = 0;

export const store = {
  session: { role: "none", csrf: "", public: "none", name: "", logins: [] },
  state: null,
  events: [],
  live: [], // [unix or browser's s, battery, grid, load, PV in kW, SoC]
  stale: true,
  polling: false, // no live stream could be had
  lostAt: null,
  trouble: "",
};

/** Calls back with what has changed: "session", "state", "events", "link". Gives the function that ends it. */
export function listen(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

function tell(what) {
  for (const callback of [...listeners]) callback(what);
}

/** True where the session's role may do what needs this one. */
export function may(role) {
  return RANK[store.session.role] >= RANK[role];
}

/** Takes a session as the board answers it, and goes on as who it says. */
export function enter(session) {
  const before = store.session.role;
  const changed = said(session) !== said(store.session);
  store.session = session;
  setCsrf(session.csrf);
  if (!may("view")) { // nothing of what somebody else was shown stays
    close();
    Object.assign(store, { state: null, events: [], live: [] });
  }
  if (changed) tell("session"); // the views begin anew with it, so not for nothing
  if (may("view") && (before !== session.role || !source)) open();
}

function said({ role, name, logins, left_s: left }) {
  return JSON.stringify([role, name, logins, left === null || left === undefined]);
}

/** Asks who we are. */
export async function askSession() {
  try {
    enter(await get("/api/session"));
    store.trouble = "";
  } catch (error) {
    store.trouble = error.message;
    tell("link");
    setTimeout(askSession, 3000);
  }
}

/** What came back from the board says that the login is over: asks again who we are. */
export function noted(error) {
  if (error instanceof Refused && error.status === 401) askSession();
  return error;
}

/** The whole state, now; whether it came. */
export async function refresh() {
  if (asking || !may("view")) return false;
  asking = true;
  try {
    store.state = await get("/api/state");
    setClock(store.state.clock.unix, store.state.t);
    fullAt = Date.now();
    tell("state");
    return true;
  } catch (error) {
    noted(error);
    return false;
  } finally {
    asking = false;
  }
}

function open() {
  refresh();
  askEvents();
  connect();
}

/** The live stream; where the board has no place for one, the state is asked for every few seconds instead. */
function connect() {
  close();
  source = new EventSource("/api/live");
  source.addEventListener("state", (event) => heard(JSON.parse(event.data)));
  source.addEventListener("journal", (event) => happened(JSON.parse(event.data)));
  source.addEventListener("session", () => askSession());
  source.onerror = () => {
    if (!source || source.readyState !== EventSource.CLOSED) return; // else it tries again by itself
    close();
    if (!store.polling) poll(1);
  };
}

async function poll(turn) {
  store.polling = !source && may("view") && !document.hidden;
  if (!store.polling) return;
  if (await refresh()) {
    heardAt = Date.now();
    setStale(false);
    keep({ ...store.state });
    askEvents();
    if (turn % TRIES_LIVE === 0) connect();
  } else askSession(); // the login may be over
  setTimeout(() => poll(turn + 1), POLL_MS);
}

function close() {
  if (source) source.close();
  source = null;
}

async function askEvents() {
  try {
    const answer = await get("/api/events?count=64");
    const newest = answer.events.length ? answer.events[answer.events.length - 1].n : 0;
    store.events = [...answer.events, ...store.events.filter((event) => event.n > newest && event.t >= 0)].slice(-EVENTS_KEPT);
    tell("events");
  } catch (error) {
    noted(error);
  }
}

/** A short state of the live stream: it goes over what the whole one says. */
function heard(short) {
  heardAt = Date.now();
  store.polling = false;
  if (lostAt !== null) {
    lostAt = null;
    askSession(); // the board may have started again, and forgotten who we are
    askEvents();
    refresh();
  }
  setStale(false);
  const state = store.state;
  if (!state) {
    refresh();
    return;
  }
  const turned = short.mode !== state.mode || short.by !== state.by || short.binding !== state.binding || rows(short) !== rowsOf(state) || active(state) !== short.faults.join();
  for (const key of ["t", "mode", "flow", "battery_w", "command_w", "request_w", "by", "grid_w", "load_w", "pv_w", "generator_w", "soc", "binding", "reason", "emergency"]) {
    if (key in short) state[key] = short[key];
  }
  state.limits.discharge.w = short.limit_discharge_w;
  state.limits.charge.w = short.limit_charge_w;
  state.clock.now = short.local;
  short.banks.forEach(([watts, soc], i) => Object.assign(state.banks[i] || {}, { battery_w: watts, soc }));
  keep(short);
  tell("state");
  if (turned || Math.abs(Date.now() - fullAt) > FULL_MS) refresh();
}

function rows(short) {
  return `${short.why_discharge} ${short.why_charge}`;
}

function rowsOf(state) {
  return `${state.limits.discharge.row} ${state.limits.charge.row}`;
}

function active(state) {
  return state.faults.filter((fault) => fault.active).map((fault) => fault.name).join();
}

/** Unix s at the board's start: the chart has the board's time, or the browser's where it has none. */
function setClock(unix, t) {
  const now = unix ? unix - t : Date.now() / 1000 - t;
  if (Math.abs(now - bootAt) > 3) { // its clock was set, or it has started again
    bootAt = now;
    store.live = [];
  }
}

const kw = (watts) => (watts === null || watts === undefined ? null : watts / 1000);

function keep(short) {
  store.live.push([bootAt + short.t, kw(short.battery_w), kw(short.grid_w), kw(short.load_w), kw(short.pv_w), short.soc]);
  if (store.live.length > LIVE_SECONDS) store.live.shift();
}

function happened(event) {
  const last = store.events[store.events.length - 1];
  if (last && event.n <= last.n && event.t >= last.t) return;
  store.events.push(event);
  if (store.events.length > EVENTS_KEPT) store.events.shift();
  tell("events");
}

function setStale(stale) {
  if (store.stale === stale) return;
  store.stale = stale;
  store.lostAt = stale && heardAt ? new Date(heardAt) : null;
  if (stale) lostAt = heardAt;
  tell("link");
}

setInterval(() => {
  if (heardAt > Date.now()) heardAt = Date.now(); // this device's clock was put back: nothing is young for longer by that
  if (Date.now() - heardAt > (store.polling ? STALE_MS + POLL_MS : STALE_MS)) setStale(true);
  if (document.hidden && source && hiddenAt && Date.now() - hiddenAt > PAUSE_HIDDEN_MS) close();
}, 1000);

document.addEventListener("visibilitychange", () => {
  hiddenAt = document.hidden ? Date.now() : 0;
  if (!document.hidden && !source && may("view")) askSession(); // which may be over, or another tab's; it opens the stream
});
