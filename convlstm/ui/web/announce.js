// What a screen reader hears of a run: each state at once, and how far it is every 15 s at most.
import { $, setText } from "./dom.js";

const PAUSE = 15_000; // ms between two announcements of one state

let heard = "", at = 0;

// `what` names the state that the words tell of.
export function announce(what, words) {
  const now = Date.now();
  if (what === heard && now - at < PAUSE) return;
  heard = what;
  at = now;
  setText($(".status-heard"), words);
}
