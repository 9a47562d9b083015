// Makes elements. Text is always text: nothing that came from outside is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...kept(children));
  return element;
}

function kept(children) {
  return children.flat(9).filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}

/** An HTML element: h("button", {type: "button", onclick: go}, "Go"). Missing attributes and children are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** The element of that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Puts these children in place of those that are there, and only where they differ in text: nothing flickers, no focus is lost. */
export function put(element, ...children) {
  const fresh = kept(children);
  if (fresh.length === 1 && typeof fresh[0] === "string") {
    if (element.textContent !== fresh[0] || element.firstElementChild) element.textContent = fresh[0];
    return;
  }
  element.replaceChildren(...fresh);
}

/** put(), where what it shows has changed; `of` is what the children are made of, make() makes them. */
export function putWhere(element, of, make) {
  const key = JSON.stringify(of);
  if (element.shown === key) return;
  element.shown = key;
  put(element, ...[make()].flat());
}

/** A card with a heading: what the views are made of. */
export function card(title, attributes, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { ...attributes, class: `card ${(attributes && attributes.class) || ""}`, "aria-labelledby": id }, h("h2", { id }, title), ...children);
}

/** A table with a head; rows are lists of cells, the first of which names its row. A narrow screen scrolls it sideways. */
export function table(caption, heads, rows) {
  const cells = (row) => row.map((cell, i) => h(i ? "td" : "th", i ? null : { scope: "row" }, cell));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "hidden" }, caption),
      h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", null, rows.map((row) => h("tr", row.attributes || null, cells(row.cells || row))))));
}

/** Tells what came of something, also to a screen reader; it goes by itself, unless it is bad news. */
export function say(text, bad = false) {
  const box = byId("said");
  clearTimeout(box.timer);
  box.classList.toggle("bad", bad);
  put(box, h("span", null, text), h("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: () => put(box) }, "×"));
  box.timer = setTimeout(() => put(box), bad ? 20000 : 8000);
}
