// Talks to the board: JSON over HTTP, one request at a time, since a board has few places for them.

const PATIENCE_MS = 12000;
let csrf = "";
let queue = Promise.resolve();

/** What the board refused, in its own words. `status` is HTTP's, 0 where it was not reached; `answer` the whole answer. */
export class Refused extends Error {
  constructor(words, status = 0, answer = null) {
    super(words);
    this.status = status;
    this.answer = answer;
  }
}

/** What the session's POSTs carry against forgery. */
export function setCsrf(value) {
  csrf = value || "";
}

async function ask(method, path, body, again = true) {
  const options = { method, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  if (method !== "GET") options.headers["X-CSRF"] = csrf;
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    throw new Refused(error.name === "TimeoutError" ? "the board has not answered within 12 s" : "the board cannot be reached");
  }
  let answer;
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    throw new Refused(`the board answered what is no JSON (status ${response.status})`, response.status);
  }
  if (again && response.status === 403 && /X-CSRF/.test(answer.error)) { // another tab has logged in anew: this one has its cookie
    setCsrf((await ask("GET", "/api/session")).csrf);
    return ask(method, path, body, false);
  }
  if (!response.ok) throw new Refused(answer.error || `the board refused it (status ${response.status})`, response.status, answer);
  return answer;
}

function queued(method, path, body) {
  const answer = queue.then(() => ask(method, path, body));
  queue = answer.catch(() => {});
  return answer;
}

/** GET a path's JSON. Raises Refused. */
export function get(path) {
  return queued("GET", path);
}

/** POST JSON to a path. Raises Refused. */
export function post(path, body) {
  return queued("POST", path, body);
}

/** The emergency waits for nothing that is under way. Raises Refused. */
export function postAtOnce(path, body) {
  return ask("POST", path, body);
}
