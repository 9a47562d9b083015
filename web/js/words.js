// Figures as people read them: "charging 12.3 kW", never a sign. Positive is discharge, import, generation.

export const UNKNOWN = "not known";

/** W as "12.3 kW" or "850 W", without a sign. */
export function power(watts) {
  if (watts === null || watts === undefined) return UNKNOWN;
  const size = Math.abs(watts);
  if (size < 1000) return `${Math.round(size)} W`;
  return `${(size / 1000).toFixed(size < 99950 ? 1 : 0)} kW`;
}

/** Wh as "850 Wh", "12.3 kWh" or "4.21 MWh". */
export function energy(wh) {
  if (wh === null || wh === undefined) return UNKNOWN;
  if (wh < 1000) return `${Math.round(wh)} Wh`;
  return wh < 1e6 ? `${(wh / 1000).toFixed(1)} kWh` : `${(wh / 1e6).toFixed(2)} MWh`;
}

/** What stands for a direction: the words where the power is positive, where it is negative, where it is none. */
export const WAYS = {
  battery: ["discharging", "charging", "resting"],
  grid: ["importing", "exporting", "balanced"],
  load: ["consuming", "giving", "off"],
  pv: ["generating", "taking", "dark"],
  generator: ["generating", "taking", "off"],
};

/** 1, -1 or 0: the way a power goes; so little that nobody would speak of it is 0. */
export function way(watts) {
  return watts === null || watts === undefined || Math.abs(watts) < 20 ? 0 : Math.sign(watts);
}

/** "charging 12.3 kW" of a battery, and so on. */
export function flowing(kind, watts) {
  if (watts === null || watts === undefined) return UNKNOWN;
  const which = way(watts);
  const word = WAYS[kind][which > 0 ? 0 : which < 0 ? 1 : 2];
  return which ? `${word} ${power(watts)}` : word;
}

/** A number with its unit, or that it is not known. */
export function figure(value, unit, digits = 1) {
  if (value === null || value === undefined) return UNKNOWN;
  return `${typeof value === "number" ? value.toFixed(digits) : value} ${unit}`.trim();
}

/** Seconds as "45 s", "12 min", "3 h 20 min", "4 days". */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const s = Math.round(seconds);
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return s % 3600 < 60 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

/** What was typed as a number, with a point or a comma; null for nothing, NaN for what is none. A field of the type number would
 *  drop a comma that its browser's language has not: 5,5 kW would be 55. */
export function numeral(text) {
  const typed = text.trim().replace(",", ".");
  return typed === "" ? null : Number(typed);
}

/** A name of the firmware's as words: "max_charge_power" is "max charge power". */
export function plain(name) {
  return String(name).replaceAll("_", " ");
}

/** The time of the browser's clock, for what the browser itself has seen. */
export function clockTime(date) {
  return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

/** The board's words without signs: what it calls -12 kW is a charge. */
export function unsigned(text) {
  return text.replace(/(^|[\s(])-(\d+(?:\.\d+)? kW)/g, "$1charging $2");
}

/** With a capital in front. */
export function capital(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : text;
}
