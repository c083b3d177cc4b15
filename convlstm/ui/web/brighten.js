// A haze of a hundredth looks black and is none: all pictures of the stage, ten times as bright.
import { $, setText } from "./dom.js";
import { text } from "./words.js";

const GAIN = 10;
let isBright = false;

// A map has colours of its own, and no brightness.
const canBrighten = ({ colours }) => colours === "grey";

export const gainOf = (stage) => (isBright && canBrighten(stage) ? GAIN : 1);

export function turnBrightness() {
  isBright = !isBright;
}

// The switch, and the mark on every picture that it changes.
export function showBrightness(stage) {
  const button = $("[data-do=brighten]"), bright = gainOf(stage) > 1;
  button.hidden = !canBrighten(stage);
  button.setAttribute("aria-pressed", String(bright));
  $(".stage").classList.toggle("bright", bright);
  setText($(".brightened"), bright ? text("brightened") : "");
}
