// Error against speed, beside the baselines; the trained speeds are shaded, the reach is a line.
import { linearAxis } from "./axes.js";
import { gridLines, label, pathOf, roomOf, tickNumber, typeSize } from "./chart.js";
import { $, make, setText, shape } from "./dom.js";
import { unitOf } from "./numbers.js";
import { meanOverLeads } from "./scores.js";
import { text } from "./words.js";

// The error of one predictor at each speed: of a lead time from 1, or "mean" of them all.
export function errorsOf(rows, lead, measure) {
  return rows.map(({ error, ssim }) => {
    if (lead !== "mean") return error[lead - 1];
    return meanOverLeads(error.map((value, i) => ({ error: value, psnr: NaN, ssim: ssim[i] })), measure).error;
  });
}

// Linear: what stands still is copied without any error, which has no logarithm.
export function drawSpeeds({ speeds, scores, trained, reach }, stage, lead, shown) {
  const svg = $("svg.speeds"), room = roomOf(svg, [120, 80]);
  const unit = stage.error.unit && text("in unit", { unit: unitOf(stage.error.unit) });
  setText($(".speed-measure"), [text(`measure ${stage.error.kind}`), unit].filter(Boolean).join(" "));
  drawLegend(stage);
  if (!room) return;
  const model = errorsOf(scores.model, lead, stage.error);
  const baselines = stage.baselines.map((name) => errorsOf(scores[name], lead, stage.error));
  const left = 3.6 * typeSize(), right = room.width - 12, top = 22, bottom = room.height - 2.6 * typeSize();
  const axis = linearAxis(Math.max(...[model, ...baselines].flat().filter(Number.isFinite), 1e-6));
  const first = speeds[0], last = speeds.at(-1), gap = (right - left) / speeds.length;
  const x = (speed) => left + gap * (speed - first + 0.5);
  const y = (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)));
  const line = (values) => pathOf(values.map((value, i) => [x(speeds[i]), y(value)]).filter(([, at]) => Number.isFinite(at)));

  const nodes = [shape("rect", { class: "trained", x: x(trained[0]) - gap / 2, y: top, width: x(trained[1]) - x(trained[0]) + gap, height: bottom - top })];
  nodes.push(...gridLines(axis.ticks, y, left, right, tickNumber));
  nodes.push(label(Math.max(left, x(trained[0]) - gap / 2), 12, "start", text("speed trained"), "trained-text"));
  if (shown !== null) nodes.push(shape("rect", { class: "chosen", x: x(shown) - gap / 2, y: top, width: gap, height: bottom - top }));
  nodes.push(...reachLine(Math.min(reach, last + 0.5), reach > last, { x, top, bottom, reach, right }));
  for (const speed of speeds) nodes.push(label(x(speed), bottom + 1.2 * typeSize(), "middle", String(speed)));
  nodes.push(label((left + right) / 2, room.height - 3, "middle", text("speed axis")));
  baselines.forEach((values, n) => nodes.push(shape("path", { class: `baseline nr-${n}`, d: line(values) })));
  nodes.push(shape("path", { class: "validation", d: line(model) }));
  model.forEach((value, i) => nodes.push(shape("circle", { class: "validation", cx: x(speeds[i]), cy: y(value), r: 4.5 })));
  // A finger's room around each point: the whole height over its speed.
  for (const speed of speeds) nodes.push(shape("rect", { class: "touch", "data-speed": speed, x: x(speed) - gap / 2, y: 0, width: gap, height: room.height }));
  svg.replaceChildren(...nodes);
}

function reachLine(at, isBeyond, { x, top, bottom, reach, right }) {
  const place = x(at), late = isBeyond || place > right - 90;
  const words = label(place + (late ? -5 : 5), top + 12, late ? "end" : "start", text(isBeyond ? "speed reach beyond" : "speed reach", { n: reach }), "reach-text");
  return isBeyond ? [words] : [shape("line", { class: "reach-line", x1: place, x2: place, y1: top, y2: bottom }), words];
}

function drawLegend({ baselines }) {
  const wanted = [["validation", "row prediction"], ...baselines.map((name, n) => [`nr-${n}`, `baseline ${name}`])];
  const list = $(".speed-legend");
  if (list.children.length !== wanted.length) list.replaceChildren(...wanted.map(([kind]) => make("li", { class: kind })));
  wanted.forEach(([, key], n) => setText(list.children[n], text(key)));
}
