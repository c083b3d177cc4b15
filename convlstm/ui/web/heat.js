// Speed by lead time: the network's SSIM minus the better baseline's, as a table of colours.
import { errorColour } from "./colours.js";
import { $, $$, make, setText } from "./dom.js";
import { moment, ratio } from "./numbers.js";
import { beats } from "./scores.js";
import { errorsOf } from "./speedchart.js";
import { text } from "./words.js";

// By speed, by lead time from 1: {ssim, best, name, gain}; NaN where there is no number.
export function gains({ speeds, scores, horizon }, { baselines }) {
  return speeds.map((_, n) => Array.from({ length: horizon }, (_, i) => {
    const ssim = scores.model[n].ssim[i] ?? NaN;
    const others = baselines.map((name) => [scores[name][n].ssim[i] ?? NaN, name]);
    const [best, name] = others.reduce((a, b) => (b[0] > a[0] ? b : a));
    return { ssim, best, name, gain: ssim - best };
  }));
}

// The speeds at which the error is clearly under every baseline's.
export function baselinesBeaten({ speeds, scores }, stage, lead) {
  const own = errorsOf(scores.model, lead, stage.error);
  const others = stage.baselines.map((name) => errorsOf(scores[name], lead, stage.error));
  return speeds.filter((_, n) => beats(own[n], others.map((errors) => errors[n])));
}

export const signed = (value) => (Number.isFinite(value) ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}` : "–");

export function buildHeat(result, stage) {
  const rows = gains(result, stage), dark = document.body.classList.contains("dark");
  const largest = Math.ceil(100 * Math.max(...rows.flat().map(({ gain }) => Math.abs(gain)).filter(Number.isFinite), 0.01)) / 100;
  // Over its baseline it is blue, under it orange: as far from the ground as it is from 0.
  const colour = (gain) => errorColour(Number.isFinite(gain) ? (-255 * gain) / largest : 0, "grey", dark);
  const leads = rows[0].map((_, i) => i + 1);
  const head = make("tr", {}, make("th", { scope: "col" }, text("speed corner")), ...leads.map((lead) => make("th", { scope: "col" }, moment(lead))));
  const body = rows.map((row, n) => make("tr", {}, make("th", { scope: "row" }, String(result.speeds[n])), ...row.map((cell, i) => {
    const rgb = colour(cell.gain), bright = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140;
    const words = text("speed cell", { speed: result.speeds[n], when: moment(i + 1), ssim: ratio(cell.ssim), name: text(`baseline ${cell.name}`), best: ratio(cell.best), gain: signed(cell.gain) });
    return make("td", { "data-speed": result.speeds[n], "data-lead": i + 1, "data-words": words, style: `background: rgb(${rgb.join(" ")}); color: ${bright ? "#16181d" : "#fff"}`, tabindex: n || i ? -1 : 0 }, signed(cell.gain));
  })));
  $(".heat").replaceChildren(make("caption", { class: "visually-hidden" }, text("speed heat label")), make("thead", {}, head), make("tbody", {}, ...body));
  const stops = [-1, -0.5, 0, 0.5, 1].map((part) => `rgb(${colour(part * largest).join(" ")})`);
  $(".heat-bar i").style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  setText($(".heat-low"), signed(-largest));
  setText($(".heat-high"), signed(largest));
  readCell(null);
}

// Its numbers in words, under the table.
export function readCell(cell) {
  setText($(".heat-cell"), cell?.dataset.words ?? text("speed heat hint"));
}

// Among the cells the arrows go from cell to cell.
export function arrowOnHeat(event) {
  const cell = event.target.closest?.(".heat td");
  const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !(move || event.key === "Enter" || event.key === " ")) return;
  event.preventDefault();
  event.stopPropagation(); // the same keys turn samples and train
  if (!move) return cell.click();
  const row = cell.parentElement, rows = [...row.parentElement.children];
  const next = rows[rows.indexOf(row) + move[0]]?.children[[...row.children].indexOf(cell) + move[1]];
  if (next?.tagName !== "TD") return;
  for (const each of $$(".heat td")) each.tabIndex = each === next ? 0 : -1;
  next.focus();
}
