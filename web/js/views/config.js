// The site's settings: its fields, or all of it as JSON, checked by the board itself; they count from the next start.

import { get, post } from "../api.js";
import { ask, command, login } from "../dialogs.js";
import { card, h, put, say } from "../dom.js";
import { may, noted } from "../store.js";
import { capital, plain } from "../words.js";

/** The view: {element, update(what), end()}. */
export function configView() {
  let config = null;
  let ended = false;
  const body = h("div");
  const element = h("div", null, h("div", { class: "head" }, h("h1", null, "Settings")), body);

  const read = async () => {
    if (!may("service")) {
      put(body, h("section", { class: "card" }, h("p", null, "The settings are for the role service."),
        h("p", { class: "row" }, h("button", { type: "button", onclick: () => login("service") }, "Log in"))));
      return;
    }
    put(body, h("p", { class: "wait" }, "Reading the site file ..."));
    try {
      config = await get("/api/config");
      if (!ended) put(body, editor(config, read));
    } catch (error) {
      noted(error);
      if (!ended) put(body, h("p", { class: "wait" }, `${capital(error.message)}.`));
    }
  };
  read();
  return {
    element,
    update: (what) => (what === "session" ? read() : null),
    end() {
      ended = true;
    },
  };
}

function editor(config, again) {
  const site = structuredClone(config.site);
  const problems = h("div", { role: "alert", tabindex: "-1" });
  const inputs = {};
  // the text is what is sent; the fields write into it and are read from it
  const text = h("textarea", { id: "site-json", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-describedby": "site-json-why" });
  text.value = JSON.stringify(site, null, 2);
  const change = (key, value) => {
    let found;
    try {
      found = JSON.parse(text.value);
    } catch (error) {
      told([`The text of the site file is no JSON: ${error.message}`]);
      return;
    }
    if (twice(text.value)) {
      told([twice(text.value)]);
      return;
    }
    found.power = found.power || {};
    if (value === undefined) delete found.power[key];
    else found.power[key] = value;
    text.value = JSON.stringify(found, null, 2);
  };
  text.addEventListener("change", () => {
    try {
      const { power = {} } = JSON.parse(text.value);
      Object.entries(inputs).forEach(([key, each]) => each.show(power[key]));
    } catch {
      // said when it is checked
    }
  });
  const told = (errors) => {
    const rest = [];
    Object.values(inputs).forEach((each) => each.clear());
    let first = null;
    for (const words of errors) {
      const key = (/^power\.(\w+)/.exec(words) || [])[1];
      if (key && inputs[key]) {
        inputs[key].wrong(words.replace(/^power\./, ""));
        first = first || inputs[key].input;
      } else rest.push(words);
    }
    put(problems, errors.length ? h("div", { class: "banner" }, h("strong", null, errors.length === 1 ? "The board finds something wrong." : `The board finds ${errors.length} things wrong.`),
      " Nothing was stored.", rest.map((words) => h("p", { class: "wrong" }, capital(words)))) : null);
    if (first) first.focus();
    else if (errors.length) problems.focus();
  };
  const sending = async (path) => {
    let found;
    try {
      found = JSON.parse(text.value);
    } catch (error) {
      told([`The text is no JSON: ${error.message}`]);
      return null;
    }
    if (twice(text.value)) {
      told([twice(text.value)]);
      return null;
    }
    try {
      const answer = await post(path, { site: found });
      told([]);
      return answer;
    } catch (error) {
      noted(error);
      told((error.answer && error.answer.errors) || [error.message]);
      return null;
    }
  };
  const check = async () => {
    if (await sending("/api/config/check")) say("The board finds nothing wrong with it. It is not stored yet.");
  };
  const save = async () => {
    if (!(await sending("/api/config/check"))) return;
    let answer = null;
    await ask({
      title: "Store these settings?", text: "They count from the next start of the board. The settings before are kept, and come back by restore_site() at the console.",
      button: "Store",
      send: async () => {
        answer = await sending("/api/config");
        return answer ? capital(answer.says || "stored") : "";
      },
    });
    if (answer) {
      again();
      command({ title: "Restart the board now?", text: "The new settings count from then on. 0 W while it starts again, some seconds.", button: "Restart", danger: true, role: "service", body: { do: "reboot" } });
    }
  };
  const fields = config.fields.map((row) => {
    const made = field(row, (site.power || {})[row[0]], change);
    inputs[row[0]] = made;
    return made.box;
  });
  const keys = () => h("div", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: check }, "Check"), h("button", { type: "button", onclick: save }, "Store ..."));
  return [problems, h("div", { class: "cards" },
    card("Power", null, h("p", { class: "soft small" }, "An empty field has the value that it comes with."), h("div", { class: "fields" }, fields), h("h3", null, "Check it, then store it"), keys()),
    card("The whole site file", null, h("details", null, h("summary", null, "Edit it as JSON: buses, devices, services, clock ..."),
      h("div", { class: "field" }, h("label", { for: "site-json" }, "Site file"), h("span", { class: "why", id: "site-json-why" }, "Secrets stand as \"****\": left so, they stay as they are."), text), keys())))];
}

/** What JSON.parse passes over: a key that stands twice in one object, in words; "" for none. */
function twice(text) {
  const open = [];
  for (const [token, word, colon] of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|[{}[\]]/g)) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (!word) open.pop();
    else if (colon && open[open.length - 1].has(word)) return `${word} stands twice in one object: only the last would count`;
    else if (colon) open[open.length - 1].add(word);
  }
  return "";
}

/** A number that has names, "Grid: 0 ISOLATED, 1 BACKUP, ...", is chosen by them: the site file takes them too. */
function worded([key, kind, usual, low, high, meaning]) {
  const names = kind === "int" ? [...meaning.matchAll(/\d ([A-Z]{2,})/g)].map((found) => found[1]) : [];
  return names.length > 1 ? [key, names, names[usual], low, high, meaning.split(":")[0]] : [key, kind, usual, low, high, meaning];
}

/** One field of the power section, which calls changed(key, value): {box, input, show(value), wrong(words), clear()}. */
function field(row, value, changed) {
  const [key, kind, usual, low, high, meaning] = worded(row);
  const id = `set-${key}`;
  const wrong = h("span", { class: "wrong", id: `${id}-wrong` });
  const input = kind === "bool" || Array.isArray(kind) ? choice(id, key, kind, usual, changed) : entry(id, key, kind, usual, changed);
  input.setAttribute("aria-describedby", `${id}-why ${id}-wrong`);
  const range = kind === "float" || kind === "int" ? ` (${low} to ${high})` : "";
  const show = (to) => {
    input.value = to === undefined ? "" : String(Array.isArray(kind) && typeof to === "number" ? kind[to] : to);
  };
  show(value);
  return {
    input,
    show,
    box: h("div", { class: "field" }, h("label", { for: id }, capital(plain(key))), input, h("span", { class: "why", id: `${id}-why` }, `${meaning}${range}`), wrong),
    wrong(words) {
      wrong.textContent = words;
      input.setAttribute("aria-invalid", "true");
    },
    clear() {
      wrong.textContent = "";
      input.removeAttribute("aria-invalid");
    },
  };
}

function choice(id, key, kind, usual, changed) {
  const choices = kind === "bool" ? [["true", "yes"], ["false", "no"]] : kind.map((word) => [word, word]);
  const comes = kind === "bool" ? (usual ? "yes" : "no") : usual;
  const input = h("select", { id, onchange: () => changed(key, input.value === "" ? undefined : kind === "bool" ? input.value === "true" : input.value) },
    h("option", { value: "" }, `as it comes (${comes})`), choices.map(([each, words]) => h("option", { value: each }, words)));
  return input;
}

function entry(id, key, kind, usual, changed) {
  const input = h("input", { id, inputmode: kind === "str" ? null : "decimal", autocomplete: "off", placeholder: String(usual), oninput: () => {
    const text = input.value.trim();
    const number = Number(text.replace(",", "."));
    changed(key, text === "" ? undefined : kind === "str" || Number.isNaN(number) ? text : number);
  } });
  return input;
}
