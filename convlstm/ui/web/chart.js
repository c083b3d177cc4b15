// What both charts have: room, grid, ticks, and lines, drawn as SVG from scratch each time.
import { $, shape } from "./dom.js";

// Room for labels grows with the type, which the projector view enlarges.
export const typeSize = () => parseFloat(getComputedStyle($(".cp")).fontSize);

// The room of a drawing, or null where it is not shown.
export function roomOf(svg, least) {
  const { width, height } = svg.getBoundingClientRect();
  return width < least[0] || height < least[1] ? null : { width, height };
}

export function label(x, y, anchor, words, kind = "tick") {
  return shape("text", { class: kind, x, y, "text-anchor": anchor }, words);
}

export function gridLines(ticks, y, left, right, write) {
  return ticks.flatMap((value) => [
    shape("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    label(left - 7, y(value) + 4, "end", write(value)),
  ]);
}

export function pathOf(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

export const tickNumber = (value) => (value && Math.abs(value) < 1e-4 ? value.toExponential(0) : String(value));
