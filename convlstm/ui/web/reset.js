// A reset throws a training away; it asks first where that took some time.
import { $, setText } from "./dom.js";
import { duration } from "./numbers.js";
import { act } from "./runs.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const WORTH_ASKING = 10; // s of computing

export const isWorthAsking = (snapshot) => Boolean(snapshot) && !snapshot.shipped && snapshot.seconds > WORTH_ASKING;

export function reset() {
  if (!isWorthAsking(here.snapshot)) return act("reset");
  setText($(".reset-sentences"), text("reset question", { time: duration(here.snapshot.seconds) }));
  $("dialog.reset").showModal(); // Escape closes it, and keeps
}

export function throwAway() {
  keep();
  return act("reset");
}

export function keep() {
  $("dialog.reset").close();
}
