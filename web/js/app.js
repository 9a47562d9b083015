// The frame of the page: who is here, which view is shown, what stands above all of them in red.

import { byId, h, put, putWhere, s } from "./dom.js";
import { command, emergency, login, logout } from "./dialogs.js";
import { askSession, listen, may, store } from "./store.js";
import { capital, clockTime, plain } from "./words.js";
import { nowView } from "./views/now.js";
import { historyView } from "./views/history.js";
import { schedulesView } from "./views/schedules.js";
import { eventsView } from "./views/events.js";
import { devicesView } from "./views/devices.js";
import { configView } from "./views/config.js";

const VIEWS = {
  now: { title: "Now", make: nowView, icon: "M3 12h4l3-8 4 16 3-8h4" },
  history: { title: "History", make: historyView, icon: "M4 4v16h16M8 16v-5M12 16V7M16 16v-7" },
  schedules: { title: "Schedules", make: schedulesView, icon: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4M9 15l2 2 4-4" },
  events: { title: "Events", make: eventsView, icon: "M9 6h11M9 12h11M9 18h11M4 6h.01M4 12h.01M4 18h.01" },
  devices: { title: "Devices", make: devicesView, icon: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4" },
  config: { title: "Settings", make: configView, icon: "M4 7h9M17 7h3M4 17h3M11 17h9M13 5v4h4V5zM7 15v4h4v-4z" },
};

let current = null;

function wanted() {
  const name = location.hash.replace(/^#\/?/, "");
  return VIEWS[name] ? name : "now";
}

function navigation() {
  put(byId("nav"), Object.entries(VIEWS).map(([name, view]) =>
    h("a", { href: `#/${name}`, "data-view": name }, s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: view.icon })), h("span", null, view.title))));
}

/** Shows the view that the address names; `focus` moves the keyboard to it, as a page that is loaded would. */
function show(focus) {
  const name = wanted();
  if (current) current.end();
  for (const link of byId("nav").children) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = VIEWS[name].title;
  document.title = `${title} – ${store.session.name || "Battery storage"}`;
  current = may("view") ? VIEWS[name].make() : door();
  put(byId("main"), current.element);
  current.update("all");
  if (focus) {
    byId("main").focus();
    window.scrollTo(0, 0);
  }
}

/** What stands where somebody may see nothing without a login. */
function door() {
  const element = h("div", { class: "card" },
    h("h1", null, store.session.name || "Battery storage"),
    h("p", { class: "soft" }, store.trouble ? `${capital(store.trouble)}; trying again.` : "What it does is shown to who is logged in."),
    store.trouble ? null : h("p", { class: "row" }, h("button", { type: "button", onclick: () => login("view") }, "Log in")));
  return { element, update() {}, end() {} };
}

function header() {
  const { session, state } = store;
  put(byId("site"), (state && state.site) || session.name || "Battery storage");
  const link = byId("link");
  link.className = `link ${may("view") ? (store.stale ? "lost" : "live") : ""}`;
  const words = !may("view") ? "" : !store.stale ? (store.polling ? "every 4 s" : "live") : store.lostAt ? `No connection since ${clockTime(store.lostAt)}` : "Connecting";
  if (link.textContent !== words) put(link, words);
  const known = session.left_s !== null && session.left_s !== undefined;
  putWhere(byId("login"), [known, session.role], () => (known ? ["Log out", h("span", { class: "as" }, ` (${session.role})`)] : ["Log in"]));
  document.body.classList.toggle("stale", store.stale);
}

const BAD = { emergency: "Emergency", trip: "Fault", stop: "Fault", warning: "Warning" };

function banners() {
  const { state } = store;
  const lost = may("view") && store.stale && store.lostAt ? clockTime(store.lostAt) : "";
  const faults = state ? state.faults.filter((fault) => fault.active).map((fault) => [fault.name, fault.severity, fault.detail, fault.bank]) : [];
  const shown = { lost, emergency: state && state.emergency, overrides: state && state.overrides, faults, mode: state && state.mode, may: may("operate") };
  putWhere(byId("banners"), shown, () => [
    lost && banner("No connection", `What you see is what was true at ${lost}, and is not live. Trying again.`),
    state && state.mode === "EMERGENCY" && banner("Emergency", state.emergency || "0 W, contactors open, latched.",
      h("button", { type: "button", class: "quiet", onclick: reset }, "Reset the emergency")),
    (state ? state.overrides : []).map((words) => banner("Service override", words)),
    faults.map(([name, severity, detail, bank]) => banner(BAD[severity] || "Fault", `${bank ? `${bank}: ` : ""}${plain(name)}${detail ? `: ${detail}` : ""}`, null, severity === "warning" || severity === "info")),
  ].flat().filter(Boolean));
}

function banner(head, words, key = null, warn = false) {
  return h("div", { class: `banner ${warn ? "warn" : ""}` }, h("div", { class: "row between" }, h("div", null, h("strong", null, `${head}: `), words), key));
}

function reset() {
  command({ title: "Reset the emergency?", text: "Find its cause first. Smoke, heat, a smell of solvent, a fallen or flooded battery: do not reset; call the fire brigade.", button: "Reset", body: { do: "reset" } });
}

function changed(what) {
  header();
  banners();
  if (what === "session" && !(may("view") && current.unsaved && current.unsaved())) show(false); // what is typed stays
  else if (current) current.update(what);
}

navigation();
byId("login").addEventListener("click", () => (store.session.left_s !== null && store.session.left_s !== undefined ? logout() : login("operate")));
byId("emergency").addEventListener("click", emergency);
window.addEventListener("hashchange", () => show(true));
listen(changed);
show(false);
askSession();
