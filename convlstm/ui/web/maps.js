// Maps of what a cell computes: a column for each part, a row for each channel, on scales that stay.
import { errorColour, gradient, tableOf } from "./colours.js";
import { $, $$, make, setText, tell } from "./dom.js";
import { unpackSprites } from "./frames.js";
import { fit } from "./paint.js";
import { isOff } from "./changes.js";
import { language, text } from "./words.js";

export const PARTS = ["i", "f", "g", "o", "c", "h"];
const SIGNED = ["g", "c", "h"];
const GAP = 14; // px between maps

const isNarrow = () => matchMedia("(max-width: 860px)").matches; // a phone: one channel, two rows of three
export const channelsAtOnce = () => (isNarrow() ? 1 : 4);

let at = null; // the pixel chosen
let shown = null; // {key, width, height} of the maps on the page

// Unpack an answer's maps, of which a moment that a cell never reads has none.
export const unpackMaps = ({ maps, width, height }) => (maps ? unpackSprites(maps, width, height) : null);

export function drawMaps({ width, height, channels, cell }, frames, pixel) {
  const list = $(".inside-maps");
  if (!frames) {
    list.replaceChildren(make("p", { class: "hint" }, text("inside unread")));
    shown = null;
    return;
  }
  const key = [language, ...channels].join();
  if (shown?.key !== key) build(list, channels);
  shown = { key, width, height };
  const columns = isNarrow() ? PARTS.length / 2 : PARTS.length;
  const room = Math.max(40, (list.parentElement.clientWidth - GAP * (columns - 1)) / columns);
  PARTS.forEach((part, p) => channels.forEach((channel, n) => {
    const box = $(`[data-map="${part} ${channel}"]`, list), canvas = $("canvas", box);
    paintMap(canvas, frames[p * channels.length + n], { width, height, room, signed: SIGNED.includes(part) });
    canvas.setAttribute("aria-label", text("map label", { part, channel: channel + 1 }));
    box.classList.toggle("off", isOff(part, channel, cell));
    mark(box, pixel?.channel === channel ? pixel : null);
  }));
  for (const button of $$("[data-channel]", list)) setText(button, text(isOff("c", Number(button.dataset.channel), cell) ? "channel back" : "channel off"));
  showBars();
}

export function clearMaps() {
  $(".inside-maps").replaceChildren();
  shown = at = null;
}

function build(list, channels) {
  const rows = channels.flatMap((channel, n) => [
    make("div", { class: "channel" }, make("span", {}, text("channel", { n: channel + 1 })), make("button", { type: "button", "data-do": "switch-channel", "data-channel": channel })),
    ...PARTS.map((part) => {
      const box = make("div", { class: "inside-map", tabindex: "0", role: "button", "data-map": `${part} ${channel}` }, make("canvas", { role: "img" }), make("i", { hidden: "" }));
      box.addEventListener("pointerdown", (event) => choose(channel, placeOf(event, $("canvas", box))));
      box.addEventListener("keydown", (event) => step(event, box, channel));
      const name = n ? [] : [make("figcaption", {}, make("b", {}, part), text(`part ${part}`))];
      return make("figure", {}, ...name, box);
    }),
  ]);
  list.replaceChildren(...rows);
}

function placeOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const at = (part, size) => Math.max(0, Math.min(size - 1, Math.floor(part * size)));
  return { row: at((event.clientY - box.top) / box.height, shown.height), column: at((event.clientX - box.left) / box.width, shown.width) };
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
function step(event, box, channel) {
  const by = ARROWS[event.key];
  if (!by && event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  event.stopPropagation(); // the page's own arrows turn the sample
  const from = at ?? { row: shown.height >> 1, column: shown.width >> 1 }, [down, right] = by ?? [0, 0];
  const within = (value, size) => Math.max(0, Math.min(size - 1, value));
  choose(channel, { row: within(from.row + down, shown.height), column: within(from.column + right, shown.width) });
}

function choose(channel, place) {
  at = place;
  tell("pixel", { channel, ...place });
}

function mark(box, pixel) {
  const frame = $("i", box);
  frame.hidden = !pixel;
  if (!pixel) return;
  frame.style.left = `${(100 * pixel.column) / shown.width}%`;
  frame.style.top = `${(100 * pixel.row) / shown.height}%`;
  frame.style.width = `${100 / shown.width}%`;
  frame.style.height = `${100 / shown.height}%`;
}

function paintMap(canvas, { grey }, { width, height, room, signed }) {
  const scale = fit(width, height, room), dark = document.body.classList.contains("dark"), table = tableOf("map");
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  const image = new ImageData(width, height);
  for (let i = 0; i < grey.length; i += 1) {
    image.data.set(signed ? errorColour(2 * (grey[i] - 127.5), "grey", dark) : table[grey[i]], 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// What the colours mean: the same at every moment and in every network.
function showBars() {
  const dark = document.body.classList.contains("dark");
  const ends = [-255, -128, 0, 128, 255].map((value) => `rgb(${errorColour(value, "grey", dark).join(" ")})`).join(", ");
  const bar = (name, low, high, background) => make("span", {}, make("b", {}, name), low, make("i", { style: `background:${background}` }), high);
  $(".inside-bars").replaceChildren(
    bar("i f o", "0", "1", gradient),
    bar("g h", "−1", "1", `linear-gradient(90deg, ${ends})`),
    bar("c", "−∞", "∞", `linear-gradient(90deg, ${ends})`),
    make("span", {}, text("bar memory")),
  );
}
