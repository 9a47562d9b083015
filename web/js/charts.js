// Charts: uPlot with the page's colours, one hand's width high, as wide as there is room; loaded with the first chart.

import { h } from "./dom.js";

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400];
let loading = null;
const standing = new Set();

/** uPlot itself, once it has come. Raises an Error where it did not. */
function uplot() {
  loading ||= new Promise((done, failed) => {
    const script = h("script", { src: "uplot.js" });
    script.onload = () => done(window.uPlot);
    script.onerror = () => {
      loading = null;
      failed(new Error("the chart's program did not come"));
    };
    document.head.append(script);
  });
  return loading;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axis(more) {
  return { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui, sans-serif", ...more };
}

/**
 * A chart: lines = [{label, colour, scale, words, fill, hidden}], scales of them "kw" or "%" or "kwh"; bars instead of lines where
 * `bars`. `xs` names x values that are no times; `sparse`: few points are drawn as such. Gives {element, set(columns), end()}.
 */
export function chart({ label, lines, height = 230, bars = false, step = false, sparse = false, zone, xs, range }) {
  const box = h("div", { class: "chart live-value", role: "img", "aria-label": label });
  let plot = null;
  let columns = null;
  let ended = false;

  const options = (uPlot) => ({
    width: Math.max(200, box.clientWidth),
    height,
    tzDate: zone,
    padding: [10, 12, 0, 0],
    cursor: { drag: { x: true, y: false }, points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: true, range }, "%": { range: [0, 100] }, kw: { range: spread }, kwh: { range: fromZero } },
    axes: [
      axis(xs ? { values: xs } : { values: times, space: 76, incrs: STEPS_S }),
      axis({ scale: bars ? "kwh" : "kw", size: 58, values: (u, ticks) => ticks.map((v) => (v === null ? "" : `${+v.toFixed(2)}`)), label: bars ? "kWh" : "kW", labelSize: 16, labelFont: "12px system-ui, sans-serif", labelGap: 0 }),
      ...(lines.some((line) => line.scale === "%") ? [axis({ scale: "%", side: 1, size: 54, grid: { show: false }, values: (u, ticks) => ticks.map((v) => `${v} %`) })] : []),
    ],
    series: [
      { label: "Time", value: (u, v) => (v === null || v === undefined ? "" : xs ? xs(u, [v])[0] : moment(v, true)) },
      ...lines.map((line, i) => ({
        label: line.label,
        scale: line.scale,
        stroke: colour(line.colour),
        width: 2,
        dash: line.dash,
        fill: bars ? `${colour(line.colour)}b0` : line.fill ? `${colour(line.colour)}26` : undefined,
        paths: bars ? beside(uPlot, i, lines.length) : step ? uPlot.paths.stepped({ align: 1 }) : undefined,
        points: { show: sparse ? undefined : false, size: 6 },
        show: !line.hidden,
        value: (u, v) => (v === null || v === undefined ? "–" : line.words(v)),
        spanGaps: false,
      })),
    ],
  });

  const draw = async () => {
    let uPlot;
    try {
      uPlot = await uplot();
    } catch (error) {
      box.textContent = `No chart: ${error.message}.`;
      return;
    }
    if (ended || !columns) return;
    if (!box.isConnected || box.clientWidth === 0) return;
    if (plot) {
      plot.setData(columns);
    } else {
      box.textContent = "";
      plot = new uPlot(options(uPlot), columns, box);
    }
    // where nobody points at an instant, the last one is told
    if (plot.cursor.left === undefined || plot.cursor.left < 0) plot.setLegend({ idx: columns[0].length - 1 });
  };
  const redraw = () => {
    if (plot) plot.destroy();
    plot = null;
    draw();
  };
  const sized = new ResizeObserver(() => (plot ? plot.setSize({ width: Math.max(200, box.clientWidth), height }) : draw()));
  sized.observe(box);
  standing.add(redraw);
  return {
    element: box,
    set(data) {
      columns = data;
      draw();
    },
    end() {
      ended = true;
      sized.disconnect();
      standing.delete(redraw);
      if (plot) plot.destroy();
      plot = null;
    },
  };
}

/** A Unix time of the browser's zone; a day's begin as its date. */
function moment(unix, seconds) {
  const date = new Date(unix * 1000);
  const day = date.toLocaleDateString([], { day: "numeric", month: "short" });
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hourCycle: "h23" });
  return time.startsWith("00:00") && !seconds ? day : time;
}

function times(u, ticks, axis, space, step) {
  return ticks.map((tick) => moment(tick, step < 60));
}

/** Bars side by side: each series has its part of the space of one. */
function beside(uPlot, at, count) {
  const part = 0.8 / count;
  return uPlot.paths.bars({ size: [part, 60], align: count === 1 ? 0 : at - (count - 1) / 2 < 0 ? -1 : 1, gap: 1 });
}

/** A range of kW that shows noise as noise: at least a kilowatt. */
function spread(u, low, high) {
  const least = Math.min(low ?? 0, 0);
  const most = Math.max(high ?? 0, 0);
  const room = Math.max(1, (most - least) * 0.08);
  return [least < 0 ? least - room : 0, most + room];
}

function fromZero(u, low, high) {
  return [0, Math.max(1, (high ?? 0) * 1.08)];
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => standing.forEach((redraw) => redraw()));
