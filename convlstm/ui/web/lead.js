// The scores of the sequence shown, frame by frame: how the forecast loses its way.
import { linearAxis, niceStep } from "./axes.js";
import { gridLines, label, pathOf, roomOf, tickNumber, typeSize } from "./chart.js";
import { $, setText, shape } from "./dom.js";
import { errorNumber, moment, ratio, unitOf, withUnit } from "./numbers.js";
import { text } from "./words.js";

// A physical error says more than an SSIM, where the frames have a physical unit.
export const leadMeasure = ({ error }) => (error.kind === "rmse" ? "error" : "ssim");

export function drawLeadTimes({ stage, picture }, chosen) {
  const svg = $("svg.lead"), measure = leadMeasure(stage);
  const unit = measure === "error" && stage.error.unit && text("in unit", { unit: unitOf(stage.error.unit) });
  setText($(".lead-title"), [text(`lead ${measure}`), unit].filter(Boolean).join(" "));
  const room = roomOf(svg, [80, 50]);
  if (!room) return;
  const model = picture.scores.map((score) => score[measure]);
  const baselines = stage.baselines.map((name) => picture.baselines[name].map((score) => score[measure]));
  const left = 2.8 * typeSize(), right = room.width - 10, top = 8, bottom = room.height - 2.3 * typeSize();
  const axis = (measure === "error" ? errorAxis : ssimAxis)([model, ...baselines].flat().filter(Number.isFinite));
  const half = (right - left) / picture.horizon / 2;
  const x = (lead) => left + half * (2 * lead - 1);
  const y = (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)));

  const nodes = gridLines(axis.ticks, y, left, right, tickNumber);
  const sparse = Math.ceil(typeSize() / half); // as many numbers as find room
  for (let lead = 1; lead <= picture.horizon; lead += sparse) nodes.push(label(x(lead), bottom + typeSize(), "middle", String(lead)));
  nodes.push(label((left + right) / 2, room.height - 2, "middle", text("lead axis")));
  if (chosen > 0) nodes.push(shape("rect", { class: "chosen", x: x(chosen) - half, y: top, width: 2 * half, height: bottom - top }));
  baselines.forEach((list, n) => {
    const d = list.map((value, i) => `M${x(i + 1) - half + 2} ${y(value)}H${x(i + 1) + half - 2}`).join("");
    nodes.push(shape("path", { class: `baseline nr-${n}`, d }));
  });
  nodes.push(shape("path", { class: "validation", d: pathOf(model.map((value, i) => [x(i + 1), y(value)])) }));
  model.forEach((value, i) => nodes.push(shape("circle", { class: "validation", cx: x(i + 1), cy: y(value), r: 3.5 })));
  svg.replaceChildren(...nodes);
  svg.setAttribute("aria-label", describeLeads(model, baselines, stage, measure));
}

// The chart in words: its first and its last frame.
function describeLeads(model, baselines, { error, baselines: names }, measure) {
  const write = (value) => (measure === "error" ? withUnit(errorNumber(value, error), error.unit) : ratio(value));
  const line = (name, list) => `${name} ${write(list[0])} – ${write(list.at(-1))}`;
  const lines = [line(text("row prediction"), model), ...baselines.map((list, n) => line(text(`baseline ${names[n]}`), list))];
  return [text(`lead ${measure}`), `${moment(1)} – ${moment(model.length)}`, ...lines].join(text("comma"));
}

const errorAxis = (values) => linearAxis(Math.max(...values, 1e-6));

// From a round figure below the lowest up to 1.
function ssimAxis(values) {
  const lowest = Math.min(0.9, Math.floor(10 * Math.min(...values)) / 10);
  const step = niceStep((1 - lowest) / 3);
  const ticks = [];
  for (let value = 1; value >= lowest - 1e-9; value -= step) ticks.push(Number(value.toFixed(3)));
  return { ticks, place: (value) => (value - lowest) / (1 - lowest) };
}
