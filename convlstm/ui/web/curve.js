// The error over the run: training, validation, and the baselines that it must beat.
import { linearAxis, logarithmicAxis, points } from "./axes.js";
import { gridLines, label, pathOf, roomOf, tickNumber, typeSize } from "./chart.js";
import { $, $$, make, setText, shape } from "./dom.js";
import { errorNumber, unitOf, withUnit } from "./numbers.js";
import { isTraining } from "./runs.js";
import { meanOverLeads } from "./scores.js";
import { text } from "./words.js";

export function drawCurve(snapshot) {
  const svg = $("svg.curve"), room = roomOf(svg, [80, 60]);
  if (!room) return;
  const { curve, stage } = snapshot;
  const train = points(curve.train), validation = points(curve.validation), baselines = baselineErrors(snapshot);
  const left = 3.6 * typeSize(), right = room.width - 14, top = 12, bottom = room.height - 2 * typeSize();
  const axis = stage.error.axis === "log" ? logarithmicAxis(train, validation) : linearAxis(highestOf(train, baselines));
  const x = (step) => left + ((right - left) * step) / Math.max(1, curve.steps);
  const y = (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)));
  const place = (list) => list.map(([step, value]) => [x(step), y(value)]);

  const nodes = gridLines(axis.ticks, y, left, right, tickNumber);
  nodes.push(label(left, room.height - 6, "start", "0"));
  // A model trained elsewhere may have no curve here, and its epochs are none of this chart's.
  if (train.length || !snapshot.shipped) nodes.push(label(right, room.height - 6, "end", text("epoch axis", { n: snapshot.epochs })));
  if (!train.length && !validation.length) nodes.push(label((left + right) / 2, (top + bottom) / 2, "middle", text(snapshot.teacher || isTraining(snapshot) ? "curve waits" : "curve empty"), "empty"));
  // Baselines of the validation set, once there are some; until then it would compare two kinds of things.
  if (snapshot.scores) {
    baselines.forEach((value, n) => nodes.push(shape("line", { class: `baseline nr-${n}`, x1: left, x2: right, y1: y(value), y2: y(value) })));
  }
  for (const [step, name, old, now] of curve.marks) {
    const late = x(step) > (left + right) * 0.7;
    nodes.push(shape("line", { class: "mark", x1: x(step), x2: x(step), y1: top, y2: bottom }));
    nodes.push(label(x(step) + (late ? -5 : 5), top + 8, late ? "end" : "start", `${text(`name ${name}`)} ${old} → ${now}`, "mark-text"));
  }
  for (const step of snapshot.resumed) {
    nodes.push(shape("line", { class: "mark", x1: x(step), x2: x(step), y1: top, y2: bottom }));
    nodes.push(label(x(step) + 5, bottom - 4, "start", text("mark resumed"), "mark-text resumed"));
  }
  nodes.push(shape("path", { class: "train", d: pathOf(place(train)) }));
  if (train.length === 1) nodes.push(shape("circle", { class: "train", cx: x(train[0][0]), cy: y(train[0][1]), r: 3 })); // no line yet
  nodes.push(shape("path", { class: "validation", d: pathOf(place(validation)) }));
  for (const [cx, cy] of place(validation.slice(-1))) nodes.push(shape("circle", { class: "validation", cx, cy, r: 4 }));
  svg.replaceChildren(...nodes);
  svg.setAttribute("aria-label", describeCurve(train, validation, snapshot.scores ? baselines : [], stage));
  spreadLabels($$(".mark-text:not(.resumed)", svg), 1, bottom - top);
  spreadLabels($$(".mark-text.resumed", svg), -1, bottom - top);
  wordCurve(stage);
}

// The chart in words: where its curves are now.
function describeCurve(train, validation, baselines, { error, baselines: names }) {
  const write = (key, value) => `${text(key)} ${withUnit(errorNumber(value, error), error.unit)}`;
  const words = [["curve train", train], ["curve validation", validation]].filter(([, list]) => list.length).map(([key, list]) => write(key, list.at(-1)[1]));
  words.push(...baselines.map((value, n) => write(`baseline ${names[n]}`, value)));
  return [text("curve label"), ...words].join(text("comma"));
}

// Labels of marks that would lie on each other stand on lines of their own; the newest has the first
// choice, and what finds no room at all is left to its mark.
function spreadLabels(labels, down, room) {
  const boxes = labels.map((each) => each.getBBox()).reverse(), lines = linesOf(boxes.map(({ x, width }) => [x, x + width]));
  [...labels].reverse().forEach((each, n) => {
    const shift = lines[n] * boxes[n].height;
    if (shift + boxes[n].height > room) each.remove();
    else each.setAttribute("y", Number(each.getAttribute("y")) + down * shift);
  });
}

// For each of some spans [from, to] the first line, from 0, on which it lies on no earlier one.
export function linesOf(spans) {
  const lines = [];
  return spans.map(([from, to]) => {
    const free = lines.findIndex((line) => line.every(([left, right]) => to < left || right < from));
    const line = free < 0 ? lines.push([]) - 1 : free;
    lines[line].push([from, to]);
    return line;
  });
}

// Of the validation set, or of the sequence shown, so that the axis is known from the beginning.
function baselineErrors({ scores, picture, stage }) {
  if (scores) return stage.baselines.map((name) => scores.baselines[name].error);
  return picture ? stage.baselines.map((name) => meanOverLeads(picture.baselines[name], stage.error).error) : [];
}

function highestOf(train, baselines) {
  return Math.max(...(baselines.length ? baselines : train.map(([, value]) => value)), 1e-6);
}

function wordCurve({ error, baselines }) {
  const unit = error.unit && text("in unit", { unit: unitOf(error.unit) });
  setText($(".curve-subtitle"), [text(`measure ${error.kind}`) + (unit ? ` ${unit}` : ""), text(`scale ${error.axis}`)].join(text("comma")));
  const list = $(".legend");
  const wanted = [["train", "curve train"], ["validation", "curve validation"], ...baselines.map((name, n) => [`nr-${n}`, `baseline ${name}`])];
  if (list.children.length !== wanted.length) list.replaceChildren(...wanted.map(([kind]) => make("li", { class: kind })));
  wanted.forEach(([, key], n) => {
    setText(list.children[n], text(key));
    list.children[n].title = text(`help ${key}`);
  });
}
