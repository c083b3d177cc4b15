// The validation errors of several runs over their steps, on one chart.
import { linearAxis, logarithmicAxis, points } from "./axes.js";
import { gridLines, label, pathOf, roomOf, tickNumber, typeSize } from "./chart.js";
import { $, make, setText, shape } from "./dom.js";
import { unitOf } from "./numbers.js";
import { text } from "./words.js";

const sample = (number) => shape("svg", { width: 26, height: 8, "aria-hidden": "true" }, shape("path", { class: `pin-${number}`, d: "M0 4H26" }));

export function drawPinCurves(runs, stage) {
  const svg = $("svg.pin-curves"), room = roomOf(svg, [120, 80]);
  const unit = stage.error.unit && text("in unit", { unit: unitOf(stage.error.unit) });
  setText($(".pin-measure"), [`${text(`measure ${stage.error.kind}`)}${unit ? ` ${unit}` : ""}`, text("curve validation"), text(`scale ${stage.error.axis}`)].join(text("comma")));
  $(".pin-legend").replaceChildren(...runs.map(({ name, number }) => make("li", { class: `pin-${number}` }, sample(number), name)));
  if (!room) return;
  const curves = runs.map(({ curve }) => points(curve.validation)), all = curves.flat();
  const left = 3.6 * typeSize(), right = room.width - 12, top = 10, bottom = room.height - 2 * typeSize();
  const baselines = runs.flatMap(({ scores }) => (scores ? Object.values(scores.baselines).map(({ error }) => error) : []));
  const axis = stage.error.axis === "log" ? logarithmicAxis([], all) : linearAxis(Math.max(...all.map(([, value]) => value), ...baselines, 1e-6));
  const steps = Math.max(1, ...all.map(([step]) => step));
  const place = (curve) => curve.map(([step, value]) => [left + ((right - left) * step) / steps, bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)))]);
  const nodes = gridLines(axis.ticks, (value) => bottom - (bottom - top) * axis.place(value), left, right, tickNumber);
  nodes.push(label(left, room.height - 6, "start", "0"), label(right, room.height - 6, "end", text("pin step axis", { n: steps })));
  if (!all.length) nodes.push(label((left + right) / 2, (top + bottom) / 2, "middle", text("pin no curve"), "empty"));
  runs.forEach(({ number }, n) => {
    const path = place(curves[n]);
    nodes.push(shape("path", { class: `pin-${number}`, d: pathOf(path) }));
    for (const [cx, cy] of path.slice(-1)) nodes.push(shape("circle", { class: `pin-${number}`, cx, cy, r: 4 }));
  });
  svg.replaceChildren(...nodes);
}
