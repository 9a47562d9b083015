// The power-flow picture: grid, PV, loads and batteries around the site's bus, with direction and watts, also in words.

import { s } from "./dom.js";
import { capital, figure, flowing, power, UNKNOWN, way, WAYS } from "./words.js";

const RADIUS = 34;
const APART = 170; // of batteries
const HUB = { x: 210, y: 168 };
const ICONS = {
  grid: "M-7 14L0-14L7 14M-4.500 4H4.500M-10-5H10M-8-9H8M-3-2L3 4M3-2L-3 4",
  load: "M-13 1L0-11L13 1M-9-2V12H9V-2M-3 12V4H3V12",
  pv: "M-13 10L-8-8H8L13 10ZM-10.500 1H10.500M-2-8L-3 10M2-8L3 10",
  battery: "M-8-9H8V14H-8ZM-3-13H3V-9M1-4L-4 4H4L-1 11",
  generator: "M-12-9H12V9H-12ZM-5 9V13M5 9V13M-6 3V-3L0 3L6-3V3",
};

/** Draws the picture of a site: which = [{kind, name}], batteries last. Gives {element, show}. */
export function flowPicture(which) {
  const batteries = which.filter((node) => node.kind === "battery");
  const wide = Math.max(420, APART * batteries.length + 40);
  const shift = (wide - 420) / 2;
  const top = which.some((node) => node.kind === "pv" || node.kind === "generator") ? 0 : 112;
  const deep = batteries.length > 1 ? 416 : 384;
  const nodes = which.map((node) => draw(node, place(node, batteries, wide, shift), HUB.x + shift));
  const title = s("title", null, "Power flow");
  const element = s("svg", { class: "flow live-value", viewBox: `0 ${top} ${wide} ${deep - top}`, role: "img", "aria-label": "Power flow" },
    title, nodes.map((node) => node.wire), s("circle", { class: "hub", cx: HUB.x + shift, cy: HUB.y, r: 8 }), nodes.map((node) => node.body));
  return { element, show: (values) => show(element, nodes, values) };
}

function place(node, batteries, wide, shift) {
  if (node.kind === "grid") return { x: 62 + shift, y: HUB.y };
  if (node.kind === "load") return { x: 358 + shift, y: HUB.y };
  if (node.kind === "pv") return { x: 210 + shift, y: 42 };
  if (node.kind === "generator") return { x: 72 + shift, y: 42 };
  const at = batteries.indexOf(node);
  return { x: wide / 2 + (at - (batteries.length - 1) / 2) * APART, y: batteries.length > 1 ? 308 : 276 }; // several: clear of the labels
}

function draw(node, at, hubX) {
  const dx = hubX - at.x;
  const dy = HUB.y - at.y;
  const far = Math.hypot(dx, dy);
  const start = { x: at.x + (dx / far) * (RADIUS + 4), y: at.y + (dy / far) * (RADIUS + 4) };
  const end = { x: hubX - (dx / far) * 13, y: HUB.y - (dy / far) * 13 };
  const line = `M${start.x.toFixed(1)} ${start.y.toFixed(1)}L${end.x.toFixed(1)} ${end.y.toFixed(1)}`;
  const turn = (Math.atan2(dy, dx) * 180) / Math.PI;
  const middle = `translate(${((start.x + end.x) / 2).toFixed(1)} ${((start.y + end.y) / 2).toFixed(1)})`;
  const run = s("path", { class: "run", d: line });
  const arrow = (which, angle) => s("path", { class: `arrow ${which}`, d: "M10 0L-7-9V9Z", transform: `${middle} rotate(${angle.toFixed(0)})` });
  const wire = s("g", { class: node.kind }, s("path", { class: "wire", d: line }), run, arrow("o", turn), arrow("i", turn + 180));
  const beside = node.kind === "pv" || node.kind === "generator";
  const text = (kind, y) => s("text", { class: kind, x: beside ? 0 : at.x, y });
  const parts = { name: text("label", at.y + RADIUS + 18), watts: text("watts", at.y + RADIUS + 39), does: text("does", at.y + RADIUS + 56) };
  if (beside) {
    const x = at.x + (node.kind === "pv" ? RADIUS + 10 : 0);
    for (const part of Object.values(parts)) {
      part.setAttribute("x", x);
      if (node.kind === "pv") part.classList.add("start");
    }
    if (node.kind === "pv") [parts.name, parts.watts, parts.does].forEach((part, i) => part.setAttribute("y", at.y - 14 + i * 20));
  }
  parts.name.textContent = node.name;
  const level = s("rect", { class: "level", x: at.x - RADIUS, width: 2 * RADIUS, y: at.y, height: 0 });
  const clip = `clip-${node.kind}-${Math.round(at.x)}`;
  const body = s("g", { class: node.kind },
    s("clipPath", { id: clip }, s("circle", { cx: at.x, cy: at.y, r: RADIUS - 2 })),
    s("circle", { class: "node", cx: at.x, cy: at.y, r: RADIUS }),
    s("g", { "clip-path": `url(#${clip})` }, level),
    s("path", { class: "icon", d: ICONS[node.kind], transform: `translate(${at.x} ${at.y})` }),
    Object.values(parts));
  return { ...node, at, wire, body, run, level, parts };
}

function show(element, nodes, values) {
  const said = [];
  nodes.forEach((node, i) => {
    const { watts, soc } = values[i];
    // + is out of the node and into the site's bus; what loads take is + too, and flows the other way
    const out = node.kind === "load" ? -way(watts) : way(watts);
    const state = watts === null || watts === undefined ? "unknown" : out > 0 ? "out" : out < 0 ? "in" : "";
    node.wire.setAttribute("class", `${node.kind} ${state}`);
    node.body.setAttribute("class", `${node.kind} ${state}`);
    node.run.style.animationDuration = `${Math.max(0.5, 1.8 - Math.log10(1 + Math.abs(watts || 0)) * 0.26).toFixed(2)}s`;
    const words = WAYS[node.kind][way(watts) > 0 ? 0 : way(watts) < 0 ? 1 : 2];
    text(node.parts.watts, state === "unknown" ? "?" : power(way(watts) ? watts : 0));
    text(node.parts.does, (state === "unknown" ? UNKNOWN : words) + (soc === undefined ? "" : `, ${figure(soc, "%", 0)}`));
    if (soc !== undefined && soc !== null) {
      const high = (2 * RADIUS * Math.min(100, Math.max(0, soc))) / 100;
      node.level.setAttribute("y", node.at.y + RADIUS - high);
      node.level.setAttribute("height", high);
    }
    said.push(`${node.name}: ${flowing(node.kind, watts)}${soc === undefined ? "" : `, ${figure(soc, "%", 0)} charged`}`);
  });
  const label = `Power flow. ${capital(said.join("; "))}.`;
  if (element.getAttribute("aria-label") !== label) element.setAttribute("aria-label", label);
}

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}
