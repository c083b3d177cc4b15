// Numbers as a person writes them.
import { isWorded, language, text } from "./words.js";

// Two significant figures, or three decimals from 0.01 up.
export function small(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 0.01) return value.toFixed(3);
  if (size === 0) return "0";
  return size < 1e-6 ? value.toExponential(1) : String(Number(value.toPrecision(2)));
}

// An error in the measure of the stage: {kind, unit, digits, axis}.
export function errorNumber(value, { digits }) {
  return digits === null || !Number.isFinite(value) ? small(value) : value.toFixed(digits);
}

export const unitOf = (unit) => (unit && isWorded(`unit ${unit}`) ? text(`unit ${unit}`) : unit ?? "");
export const withUnit = (number, unit) => [number, unitOf(unit)].filter(Boolean).join(" ");

// A setting's value, by its control where that is known.
export function settingValue(control, value) {
  if (typeof value === "boolean") return value ? "✓" : "✗";
  return isWorded(`choice ${value}`) ? text(`choice ${value}`) : withUnit(String(value), control?.unit);
}

export function percent(share) {
  return Number.isFinite(share) ? `${Math.max(-999, Math.round(100 * share))} %` : "–";
}

export const decibels = (value) => (Number.isFinite(value) ? `${value.toFixed(1)} dB` : "–");
export const ratio = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
export const count = (value) => (value ?? 0).toLocaleString(language);

export function duration(seconds) {
  if (seconds < 90) return text("seconds", { n: seconds < 1 ? Math.max(0.1, seconds).toFixed(1) : Math.round(seconds) });
  if (seconds < 5400) return text("minutes", { n: Math.round(seconds / 60) });
  return text("hours", { n: (seconds / 3600).toFixed(1) });
}

// The moment of a frame: t is the last one seen.
export const moment = (lead) => (lead > 0 ? `t + ${lead}` : lead === 0 ? "t" : `t − ${-lead}`);
