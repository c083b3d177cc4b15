// A curve as small as a word: validation errors over the run, and the better baseline, dashed. Under
// the dashes the network is better than that.
import { pathOf } from "./chart.js";
import { shape } from "./dom.js";

const WIDTH = 100, HEIGHT = 20, EDGE = 2;

export function drawSpark(svg, curve, { steps, baseline, error }) {
  const version = JSON.stringify([curve, steps, baseline]);
  if (svg.dataset.version === version) return;
  svg.dataset.version = version;
  if (!curve.length) return svg.replaceChildren();
  const scale = error.axis === "log" ? (value) => Math.log(Math.max(value, 1e-12)) : (value) => value;
  const values = [...curve.map(([, value]) => value), ...(baseline ? [baseline[1]] : [])].map(scale);
  const low = Math.min(...values), high = Math.max(...values);
  const x = (step) => (WIDTH * step) / Math.max(1, steps);
  const y = (value) => HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (high > low ? (scale(value) - low) / (high - low) : 0.5);
  const isDot = curve.length === 1, d = pathOf(curve.map(([step, value]) => [x(step), y(value)]));
  const nodes = [shape("path", { class: isDot ? "validation dot" : "validation", d: isDot ? `${d}h0.01` : d })];
  if (baseline) nodes.unshift(shape("line", { class: "baseline", x1: 0, x2: WIDTH, y1: y(baseline[1]), y2: y(baseline[1]) }));
  return svg.replaceChildren(...nodes);
}
