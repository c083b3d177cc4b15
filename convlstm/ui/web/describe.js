// A frame in words, for those who do not see it: made of its pixels, and of nothing else.
import { errorNumber, moment, percent, ratio, withUnit } from "./numbers.js";
import { text } from "./words.js";

const BRIGHT = 128; // of 255: a pixel of something that moves
const DARK = 13; // a frame with nothing brighter shows nothing
const SHARP = 205; // a prediction whose peak is lower is blurred
const MINOR = 0.2; // of the largest patch: smaller ones are specks
const MOST = 4; // patches that are named one by one
const MOST_OF_FRAME = 0.25; // what covers more has no place

// A frame of a row in words: `frames` are those of its moment, {truth, prediction}.
export function describeFrame(name, lead, { truth, prediction }, picture, stage) {
  const words = [text(`row ${name}`), moment(lead), picture.times?.[picture.context + lead - 1]];
  const score = lead > 0 ? picture.scores[lead - 1] : null;
  if (lead < 1) words.push(text("seen"));
  if (name === "error") words.push(prediction && worst(prediction, truth, picture, stage));
  else words.push(look(name === "prediction" ? prediction : truth, picture, stage));
  if (score && name === "prediction") words.push(`SSIM ${ratio(score.ssim)}`);
  if (score && name === "error") words.push(`${stage.error.kind.toUpperCase()} ${withUnit(errorNumber(score.error, stage.error), stage.error.unit)}`);
  return words.filter(Boolean).join(text("comma"));
}

function look(frame, picture, stage) {
  if (!frame) return "";
  return stage.colours === "map" ? extremes(frame, picture, stage) : bright(frame, picture);
}

// Where a grey frame is bright, and how blurred.
function bright({ grey }, { width }) {
  const peak = grey.reduce((most, value) => Math.max(most, value), 0), share = percent(peak / 255);
  if (peak < DARK) return text("dark frame", { n: share });
  const found = patches(grey, width, Math.min(BRIGHT, peak / 2)), isSharp = peak >= SHARP;
  if (found[0].size > MOST_OF_FRAME * grey.length) return text("grey frame", { n: share });
  const places = found.map(({ x, y, isSquare }) => text(isSquare && isSharp ? "square at" : "patch at", { x, y }));
  const where = found.length > MOST ? text("many patches", { n: found.length }) : places.join(text("comma"));
  return isSharp ? where : [where, text("blurred", { n: share })].join(text("comma"));
}

// The patches of pixels that are at least so bright: the centre of mass of each, the largest first.
export function patches(grey, width, least) {
  const seen = new Uint8Array(grey.length), found = [];
  for (let start = 0; start < grey.length; start += 1) {
    if (!seen[start] && grey[start] >= least) found.push(patchAt(start, grey, width, least, seen));
  }
  found.sort((one, other) => other.size - one.size);
  return found.filter(({ size }) => size >= MINOR * found[0].size);
}

function patchAt(start, grey, width, least, seen) {
  const pixels = [start], rows = new Set(), columns = new Set();
  let mass = 0, sx = 0, sy = 0;
  seen[start] = 1;
  for (const at of pixels) { // which grows meanwhile
    const x = at % width, y = Math.floor(at / width);
    mass += grey[at];
    sx += grey[at] * x;
    sy += grey[at] * y;
    columns.add(x);
    rows.add(y);
    for (let by = Math.max(0, y - 1); by <= y + 1; by += 1) {
      for (let bx = Math.max(0, x - 1); bx <= Math.min(width - 1, x + 1); bx += 1) {
        const next = by * width + bx;
        if (seen[next] || !(grey[next] >= least)) continue;
        seen[next] = 1;
        pixels.push(next);
      }
    }
  }
  const isSquare = rows.size === columns.size && pixels.length === rows.size * columns.size;
  return { x: Math.round(sx / mass), y: Math.round(sy / mass), size: pixels.length, isSquare };
}

// The lowest and the highest value of a map, and where they are.
function extremes({ grey, missing }, { width }, { low, high, unit }) {
  let least = -1, most = -1;
  grey.forEach((value, at) => {
    if (missing[at]) return;
    if (least < 0 || value < grey[least]) least = at;
    if (most < 0 || value > grey[most]) most = at;
  });
  if (least < 0) return "";
  const range = high - low, value = (at) => withUnit(rounded(low + (range * grey[at]) / 255, range), unit);
  // Colours end where values may not.
  const lowest = grey[least] === 0 ? `≤ ${value(least)}` : value(least), highest = grey[most] === 255 ? `≥ ${value(most)}` : value(most);
  return [["lowest at", lowest, least], ["highest at", highest, most]].map(([key, n, at]) => text(key, { n, ...place(at, width) })).join(text("comma"));
}

// The largest error of a frame: how large, which way, and where.
function worst(prediction, truth, { width }, { colours, low, high, unit }) {
  const error = (at) => (prediction.missing[at] || truth.missing[at] ? 0 : prediction.grey[at] - truth.grey[at]);
  let most = 0;
  for (let at = 1; at < truth.grey.length; at += 1) if (Math.abs(error(at)) > Math.abs(error(most))) most = at;
  if (error(most) === 0) return text("no error");
  const share = Math.abs(error(most)) / 255, range = high - low;
  const n = colours === "map" ? withUnit(rounded(share * range, range), unit) : percent(share);
  return text("largest error", { n, side: text(`${error(most) < 0 ? "under" : "over"} ${colours}`), ...place(most, width) });
}

const place = (at, width) => ({ x: at % width, y: Math.floor(at / width) });

// A value to the digits that a frame of 256 levels holds.
const rounded = (value, range) => value.toFixed(Math.max(0, Math.floor(-Math.log10(range / 255))));
