// The error over the run, and the SSIM by lead time: drawn as SVG, from scratch each time.
const NS = "http://www.w3.org/2000/svg";

function shape(tag, attributes, content) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (content !== undefined) node.textContent = content;
  return node;
}

// Room for labels grows with the type, which the projector view enlarges.
const typeSize = () => parseFloat(getComputedStyle($(".cp")).fontSize);

function points(packed) {
  return packed.split(";").filter(Boolean).map((pair) => pair.split(" ").map(Number)).filter(([, value]) => Number.isFinite(value));
}

// Whole decades, at least 0.0001 to 0.1, so that the axis rarely moves. The held-out curve decides
// how low: a lucky batch, with no square at a wall, would stretch the axis for nothing.
function logarithmicAxis(train, heldOut) {
  const held = heldOut.map(([, value]) => value).filter((value) => value > 0);
  const all = [...train, ...heldOut].map(([, value]) => value).filter(Number.isFinite);
  const lowest = Math.max(-7, Math.min(-4, Math.floor(Math.log10(Math.min(...held, 1)))));
  const highest = Math.min(3, Math.max(-1, Math.ceil(Math.log10(Math.max(...all, 1e-9)))));
  const ticks = Array.from({ length: highest - lowest + 1 }, (_, i) => Number((10 ** (lowest + i)).toPrecision(1)));
  return { ticks, place: (value) => (Math.log10(Math.max(value, 1e-12)) - lowest) / (highest - lowest) };
}

// From nothing to a little over the trivial predictions: all that happens happens in between. The
// copied last frame costs about 145 a digit; with that, and in whole fifties, the axis stays put.
function linearAxis(train, heldOut, { scores, digits }) {
  const largest = Math.max(145 * digits, scores?.copyLast.mse ?? 0, scores?.black.mse ?? 0);
  const highest = 50 * Math.ceil((1.1 * largest) / 50);
  const step = highest <= 250 ? 50 : highest <= 600 ? 100 : highest / 5;
  const ticks = Array.from({ length: Math.floor(highest / step) + 1 }, (_, i) => step * i);
  return { ticks, place: (value) => value / highest };
}

function drawCurve(snapshot) {
  const svg = $("svg.curve");
  const { width, height } = svg.getBoundingClientRect();
  if (!snapshot || width < 80 || height < 60) return;
  const { curve, scores } = snapshot;
  const train = points(curve.train), heldOut = points(curve.heldOut);
  const left = 3.6 * typeSize(), right = width - 14, top = 12, bottom = height - 2 * typeSize();

  const axis = (here.name === "squares" ? logarithmicAxis : linearAxis)(train, heldOut, snapshot);
  const x = (step) => left + ((right - left) * step) / curve.steps;
  const y = (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)));
  const nodes = [];
  for (const value of axis.ticks) {
    nodes.push(shape("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }));
    nodes.push(shape("text", { class: "tick", x: left - 7, y: y(value) + 4, "text-anchor": "end" }, value && value < 1e-4 ? value.toExponential(0) : String(value)));
  }
  const end = snapshot.epochs ? text("epoch axis", { n: snapshot.epochs }) : text("step axis", { n: curve.steps.toLocaleString(language) });
  // A forecaster trained elsewhere has no curve here, and its steps are none of this chart's.
  if (train.length || !snapshot.shipped) nodes.push(shape("text", { class: "tick", x: right, y: height - 6, "text-anchor": "end" }, end));
  nodes.push(shape("text", { class: "tick", x: left, y: height - 6 }, "0"));
  if (!train.length && !snapshot.step) nodes.push(shape("text", { class: "empty", x: (left + right) / 2, y: (top + bottom) / 2, "text-anchor": "middle" }, text("curve empty")));
  if (scores) {
    for (const [kind, value] of [["copy-last", scores.copyLast.mse], ["black", scores.black.mse]]) {
      nodes.push(shape("line", { class: `baseline ${kind}`, x1: left, x2: right, y1: y(value), y2: y(value) }));
    }
  }
  for (const [step, name, old, now] of curve.marks) {
    nodes.push(shape("line", { class: "mark", x1: x(step), x2: x(step), y1: top, y2: bottom }));
    const late = x(step) > (left + right) * 0.7;
    nodes.push(shape("text", { class: "mark-text", x: x(step) + (late ? -5 : 5), y: top + 8, "text-anchor": late ? "end" : "start" }, `${text(sceneKey(`name ${name}`))} ${old} → ${now}`));
  }
  const path = (list) => list.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  nodes.push(shape("path", { class: "train", d: path(train) }));
  nodes.push(shape("path", { class: "held-out", d: path(heldOut) }));
  for (const [step, value] of heldOut.slice(-1)) nodes.push(shape("circle", { class: "held-out", cx: x(step), cy: y(value), r: 4 }));
  svg.replaceChildren(...nodes);
}

function drawLeadTimes(svg, picture) {
  const { width, height } = svg.getBoundingClientRect();
  if (!picture || width < 80 || height < 50) return;
  const left = 2.6 * typeSize(), right = width - 10, top = 10, bottom = height - 2.4 * typeSize();
  const [model, copyLast, black] = [picture.scores, picture.copyLast, picture.black].map((list) => list.map((s) => s.ssim));
  const lowest = Math.min(0.9, Math.floor(10 * Math.min(...model, ...copyLast, ...black)) / 10);
  const x = (lead) => left + ((right - left) * (lead - 0.5)) / picture.farthest;
  const y = (ssim) => bottom - ((bottom - top) * (ssim - lowest)) / (1 - lowest);
  const nodes = [];
  for (const ssim of [lowest, (1 + lowest) / 2, 1]) {
    nodes.push(shape("line", { class: "grid", x1: left, x2: right, y1: y(ssim), y2: y(ssim) }));
    nodes.push(shape("text", { class: "tick", x: left - 5, y: y(ssim) + 4, "text-anchor": "end" }, String(Number(ssim.toFixed(2)))));
  }
  for (let lead = 1; lead <= picture.farthest; lead += 1) {
    nodes.push(shape("text", { class: "tick", x: x(lead), y: bottom + typeSize(), "text-anchor": "middle" }, String(lead)));
  }
  nodes.push(shape("text", { class: "tick", x: (left + right) / 2, y: height - 3, "text-anchor": "middle" }, text("lead axis")));
  const line = (kind, list) => {
    const half = (right - left) / picture.farthest / 2 - 2;
    const d = list.map((ssim, i) => `M${x(i + 1) - half} ${y(ssim)}H${x(i + 1) + half}`).join("");
    nodes.push(shape("path", { class: `baseline ${kind}`, d }));
  };
  line("copy-last", copyLast);
  line("black", black);
  nodes.push(shape("path", { class: "held-out", d: model.map((ssim, i) => `${i ? "L" : "M"}${x(i + 1)} ${y(ssim)}`).join("") }));
  model.forEach((ssim, i) => nodes.push(shape("circle", { class: "held-out", cx: x(i + 1), cy: y(ssim), r: 4 })));
  svg.replaceChildren(...nodes);
}
