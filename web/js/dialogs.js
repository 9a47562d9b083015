// Questions to the person: a dialog that says what will happen, and the login.

import { get, post, postAtOnce } from "./api.js";
import { h, say } from "./dom.js";
import { enter, may, noted, refresh, store } from "./store.js";
import { capital } from "./words.js";

/** A modal dialog; `send` does what it is for and gives what to tell, or raises: then it stays open and says why. Gives true when done. */
export function ask({ title, text, fields = [], button, danger = false, send }) {
  return new Promise((done) => {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const go = h("button", { type: "submit", class: danger ? "stop" : "" }, button);
    const form = h("form", { novalidate: true },
      h("h2", { id: "ask-title" }, title),
      text ? h("p", { id: "ask-text" }, text) : null,
      fields, wrong,
      h("div", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Cancel"), go));
    const box = h("dialog", { "aria-labelledby": "ask-title", "aria-describedby": text ? "ask-text" : null }, form);
    let result = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      wrong.textContent = "";
      try {
        const words = await send(form);
        result = true;
        box.close();
        if (words) say(words);
      } catch (error) {
        noted(error);
        wrong.textContent = `${capital(error.message)}.`.replace(/\.\.$/, ".");
        go.disabled = false;
      }
    });
    box.addEventListener("close", () => {
      box.remove();
      done(result);
    });
    document.body.append(box);
    box.showModal();
    const first = form.querySelector("input, select");
    (first || (danger ? form.querySelector("button") : go)).focus();
  });
}

/** Asks for a role and its PIN. Gives true once somebody is logged in. */
export async function login(wanted) {
  let logins;
  let wait;
  try {
    ({ logins, wait_s: wait } = await get("/api/session")); // a PIN may have been set since
  } catch (error) {
    say(`${capital(error.message)}.`, true);
    return false;
  }
  if (!logins || !logins.length) {
    await ask({ title: "No PIN is set", text: "Nobody can log in over the network until a PIN is set at the board's console: pin service ..., pin operate ...", button: "I see", send: async () => "" });
    return false;
  }
  const chosen = logins.includes(wanted) ? wanted : logins[0];
  const role = h("select", { id: "login-role", name: "role" }, logins.map((name) => h("option", { value: name }, ROLE_WORDS[name] || name)));
  role.value = chosen;
  const pin = h("input", { id: "login-pin", name: "pin", type: "password", autocomplete: "current-password", maxlength: "32", required: true });
  return ask({
    title: "Log in",
    text: wait > 0 ? `After wrong PINs this address may try again in ${Math.ceil(wait)} s.` : "",
    fields: [
      h("div", { class: "field" }, h("label", { for: "login-role" }, "As"), role),
      h("div", { class: "field" }, h("label", { for: "login-pin" }, "PIN"), pin, h("span", { class: "why" }, "The PINs are set at the console; a new board has none.")),
    ],
    button: "Log in",
    send: async () => {
      enter(await post("/api/login", { role: role.value, pin: pin.value }));
      return `Logged in: you may ${ROLE_MAY[store.session.role]}.`;
    },
  });
}

const ROLE_WORDS = { view: "Viewer: sees", operate: "Operator: commands", service: "Service: configures too" };
const ROLE_MAY = { none: "see nothing", view: "look", operate: "command", service: "command and configure" };

/** Ends the login. */
export async function logout() {
  try {
    enter(await post("/api/logout", {}));
    say("Logged out.");
  } catch (error) {
    noted(error);
    say(capital(error.message), true);
  }
}

/** Asks the person, then commands; who may not is asked to log in first. `body` may be made of the form by a function. */
export async function command({ title, text, fields, button, danger, body, role = "operate" }) {
  if (!may(role) && !(await login(role))) return false;
  if (!may(role)) {
    say(`That needs the role ${role}; you are ${store.session.role}.`, true);
    return false;
  }
  const done = await ask({
    title, text, fields, button, danger,
    send: async (form) => {
      const what = typeof body === "function" ? body(form) : body;
      const send = what.do === "emergency" ? postAtOnce : post;
      const answer = await send("/api/command", { ...what, confirm: true });
      return capital(answer.says || "done");
    },
  });
  refresh();
  return done;
}

/** The emergency: 0 W, contactors open, latched. */
export function emergency() {
  return command({
    title: "Emergency stop?",
    text: "0 W at once, contactors open, latched. It stays so, also over a reset of the board, until somebody resets it here or at the console.",
    button: "Stop now",
    danger: true,
    body: { do: "emergency" },
  });
}
