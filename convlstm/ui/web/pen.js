// The pen: the pad for a keyboard. Arrows move it, space lowers or raises it; it is shown and said.
import { $, setText } from "./dom.js";
import { text } from "./words.js";

const STEPS = 28; // across the pad: each is a pixel of the digit that is made of the drawing
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `stroke(from, to)` draws on the pad, in its own px.
export function preparePen(pad, stroke) {
  const pen = { x: STEPS / 2, y: STEPS / 2, isDown: false };
  const place = () => [((pen.x - 0.5) * pad.width) / STEPS, ((pen.y - 0.5) * pad.height) / STEPS];
  pad.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(move || event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation(); // or arrows would change the sample, and space train
    const from = place();
    if (move) [pen.x, pen.y] = [pen.x + move[0], pen.y + move[1]].map((value) => Math.max(1, Math.min(STEPS, value)));
    else if (!event.repeat) pen.isDown = !pen.isDown;
    if (pen.isDown) stroke(from, place());
    showPen(pen);
    setText($(".pen-heard"), text(pen.isDown ? "pen down" : "pen up", pen));
  });
  pad.addEventListener("blur", () => {
    pen.isDown = false;
    showPen(pen);
  });
  showPen(pen);
}

function showPen({ x, y, isDown }) {
  const mark = $(".pen");
  mark.style.left = `${(100 * (x - 0.5)) / STEPS}%`;
  mark.style.top = `${(100 * (y - 0.5)) / STEPS}%`;
  mark.classList.toggle("down", isDown);
}
