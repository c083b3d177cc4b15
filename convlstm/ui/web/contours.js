// Lines of equal value, by marching squares: weather maps are read by their isobars.
import { niceStep } from "./axes.js";

const LINES = 24; // at most, over the whole range
// For each of 16 cells (corners over the level: 1 top left, 2 top right, 4 bottom right, 8 bottom
// left), the sides that a line joins: 0 top, 1 right, 2 bottom, 3 left.
const SIDES = [[], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]], [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], []];

// Round values between low and high, as many as are readable.
export function contourLevels(low, high) {
  const step = niceStep((high - low) / LINES), first = Math.ceil(low / step + 1e-9);
  return Array.from({ length: Math.max(0, Math.ceil(high / step - 1e-9) - first) }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

// Pieces [x1, y1, x2, y2] of the line at a level, in px from the first pixel's centre.
export function contourLines({ grey, missing }, width, height, level) {
  const lines = [];
  for (let y = 0; y + 1 < height; y += 1) {
    for (let x = 0; x + 1 < width; x += 1) {
      const at = y * width + x, corners = [at, at + 1, at + width + 1, at + width];
      if (corners.some((i) => missing[i])) continue; // no line where nothing was measured
      const [a, b, c, d] = corners.map((i) => grey[i]);
      const kind = (a >= level) + 2 * (b >= level) + 4 * (c >= level) + 8 * (d >= level);
      const cross = (from, to) => (level - from) / (to - from);
      const point = (side) => [() => [x + cross(a, b), y], () => [x + 1, y + cross(b, c)], () => [x + cross(d, c), y + 1], () => [x, y + cross(a, d)]][side]();
      for (const [from, to] of SIDES[kind]) lines.push([...point(from), ...point(to)]);
    }
  }
  return lines;
}
