// A frame on a canvas: each pixel a whole number of the screen's, or a whole fraction where the frame
// is larger than its room.
import { errorColour, groundOf, tableOf } from "./colours.js";
import { contourLevels, contourLines } from "./contours.js";
import { make } from "./dom.js";

const HATCH = 5; // px on the screen between the lines over points without a measurement
const CLOSE_UP = 24; // px of the frame

export function fit(width, height, room) {
  const side = Math.max(width, height);
  return room >= side ? Math.floor((room * devicePixelRatio) / side) / devicePixelRatio : 1 / Math.ceil(side / room);
}

// `truth` makes it a picture of the error; `lines` draws contours; `gain` makes grey brighter. The window is [left, top, width, height].
export function paint(canvas, frame, { picture, stage, room, window = null, truth = null, lines = false, gain = 1 }) {
  const [left, top, width, height] = window ?? [0, 0, picture.width, picture.height];
  const scale = fit(width, height, room);
  const drawn = stage.colours === "map" ? Math.max(1, Math.round(scale * devicePixelRatio)) : 1; // a map is drawn upon, and so drawn large
  if (canvas.width !== width * drawn) canvas.width = width * drawn;
  if (canvas.height !== height * drawn) canvas.height = height * drawn;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  const context = canvas.getContext("2d");
  if (!frame) return context.clearRect(0, 0, canvas.width, canvas.height);

  const dark = document.body.classList.contains("dark"), table = tableOf(stage.colours), ground = groundOf(dark);
  const image = new ImageData(width, height), holes = [], inColour = stage.colours === "colour" && !truth;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = (y + top) * picture.width + x + left, to = 4 * (y * width + x), hole = frame.missing[from] || truth?.missing[from];
      if (hole) holes.push([x, y]);
      image.data.set(hole ? ground : inColour ? frame.rgba.subarray(4 * from, 4 * from + 3) : truth ? errorColour(gain * (frame.grey[from] - truth.grey[from]), stage.colours, dark) : table[Math.min(255, gain * frame.grey[from])], to);
      image.data[to + 3] = 255;
    }
  }
  if (drawn === 1) return context.putImageData(image, 0, 0);
  const small = Object.assign(make("canvas"), { width, height });
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (holes.length) hatch(context, holes, drawn, dark);
  if (lines && !truth && !window) drawContours(context, frame, picture, stage, drawn);
}

function hatch(context, holes, scale, dark) {
  const { width, height } = context.canvas;
  context.save();
  context.beginPath();
  for (const [x, y] of holes) context.rect(x * scale, y * scale, scale, scale);
  context.clip();
  context.beginPath();
  for (let x = -height; x < width; x += HATCH * devicePixelRatio) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.strokeStyle = dark ? "#3a404c" : "#c9cdd6";
  context.lineWidth = devicePixelRatio;
  context.stroke();
  context.restore();
}

function drawContours(context, frame, picture, { low, high }, scale) {
  context.lineWidth = devicePixelRatio;
  for (const level of contourLevels(low, high)) {
    const part = (level - low) / (high - low);
    context.strokeStyle = part < 0.55 ? "rgb(255 255 255 / 0.65)" : "rgb(0 0 0 / 0.5)";
    context.beginPath();
    for (const [x1, y1, x2, y2] of contourLines(frame, picture.width, picture.height, 255 * part)) {
      context.moveTo((x1 + 0.5) * scale, (y1 + 0.5) * scale);
      context.lineTo((x2 + 0.5) * scale, (y2 + 0.5) * scale);
    }
    context.stroke();
  }
}

// A window around the brightest mass of a frame; the same for truth and prediction.
export function closeUpWindow({ grey }, { width, height }) {
  const side = Math.min(CLOSE_UP, width, height);
  let sum = 0, sx = 0, sy = 0;
  for (let i = 0; i < grey.length; i += 1) {
    if (grey[i] <= 127) continue;
    sum += 1;
    sx += i % width;
    sy += Math.floor(i / width);
  }
  const corner = (total, size) => Math.round(Math.max(0, Math.min(size - side, (sum ? total / sum : size / 2) - side / 2)));
  return [corner(sx, width), corner(sy, height), side, side];
}
