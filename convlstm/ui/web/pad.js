// The pad: a digit drawn with mouse, finger or keys, as strokes on black, sent as grey values.
import { $, fillSlider, make, setText } from "./dom.js";
import { showNotice } from "./notices.js";
import { preparePen } from "./pen.js";
import { bringIntoSight, goToMoment } from "./player.js";
import { askRun } from "./runs.js";
import { here } from "./scenes.js";

const SIDE = 56; // px of a drawing that are sent
const FAINTEST = 64; // of 255: less is no drawing

export function preparePad() {
  const pad = $(".pad"), ink = pad.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  const stroke = (from, to) => {
    ink.strokeStyle = "#fff";
    ink.lineWidth = 18;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(to[0] + 0.01, to[1]);
    ink.stroke();
  };
  const strokeTo = (to) => {
    stroke(last, to);
    last = to;
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    strokeTo(last);
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => last && strokeTo(place(event)));
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { last = null; });
  preparePen(pad, stroke);
  clearPad();
}

export function clearPad() {
  const pad = $(".pad"), ink = pad.getContext("2d");
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, pad.width, pad.height);
}

// The drawing as the server takes it: SIDE x SIDE values from 0 to 255, row by row.
export function readPad() {
  const ink = Object.assign(make("canvas"), { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
  ink.drawImage($(".pad"), 0, 0, SIDE, SIDE);
  const rgba = ink.getImageData(0, 0, SIDE, SIDE).data;
  return Array.from({ length: SIDE * SIDE }, (_, i) => rgba[4 * i]);
}

export async function sendDrawing() {
  const drawing = readPad(), scene = here;
  if (Math.max(...drawing) < FAINTEST) return showNotice({ key: "draw first" });
  const reply = await askRun("draw", { drawing, angle: Number($("[data-do=angle]").value) }, scene);
  if (!reply) return;
  showNotice(reply.notice ?? null, scene);
  if (reply.notice || scene !== here) return;
  goToMoment(1);
  bringIntoSight();
}

export function showAngle() {
  const dial = $("[data-do=angle]"), angle = Number(dial.value), words = `${"→↘↓↙←↖↑↗"[Math.round(angle / 45) % 8]} ${angle}°`;
  fillSlider(dial);
  dial.setAttribute("aria-valuetext", `${angle}°`);
  setText($("output", dial.closest(".slider")), words);
}
