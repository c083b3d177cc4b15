// A pixel's arithmetic: its memory and its output, and each gate as what came from where.
import { $, make } from "./dom.js";
import { text } from "./words.js";

const number = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−");
const factor = (value) => (value < -0.005 ? `(${number(value)})` : number(value)); // "1 · (−0.5)"

export function showPixel(pixel) {
  const box = $(".inside-pixel");
  if (!pixel) return box.replaceChildren(make("p", { class: "hint" }, text("pixel hint")));
  const { gates, before, c, h, channel, row, column } = pixel;
  const { i, f, g, o } = Object.fromEntries(Object.entries(gates).map(([gate, { value }]) => [gate, value]));
  const hasPeephole = Object.values(gates).some(({ peephole }) => peephole);
  const terms = ["frame", "h", "bias", ...(hasPeephole ? ["peephole"] : [])];
  const head = make("tr", {}, make("td", {}), ...terms.map((term) => make("th", { scope: "col" }, text(`term ${term}`))), make("th", { scope: "col" }, text("term value")));
  const rows = Object.entries(gates).map(([gate, sums]) => make("tr", {}, make("th", { scope: "row" }, `${gate} ${text(`part ${gate}`)}`), ...terms.map((term) => make("td", {}, number(sums[term]))), make("td", {}, make("b", {}, number(sums.value)))));
  return box.replaceChildren(
    make("p", {}, text("pixel where", { channel: channel + 1, row: row + 1, column: column + 1 })),
    make("p", { class: "equation" }, `c = f · c₋₁ + i · g = ${number(f)} · ${factor(before)} + ${number(i)} · ${factor(g)} = `, make("b", {}, number(c))),
    make("p", { class: "equation" }, `h = o · tanh c = ${number(o)} · ${factor(Math.tanh(c))} = `, make("b", {}, number(h))),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)),
    make("p", { class: "hint" }, text("pixel sums")),
  );
}
