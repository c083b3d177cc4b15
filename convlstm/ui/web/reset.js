// What throws a training away asks first where that took some time: Reset, and the space bar, which
// begins anew when a run is over and is easily pressed unasked. Train, pressed by name, does not ask.
import { $, setText } from "./dom.js";
import { duration } from "./numbers.js";
import { showNotice } from "./notices.js";
import { act, isTraining } from "./runs.js";
import { here } from "./scenes.js";
import { showSettings } from "./settings.js";
import { text } from "./words.js";

const WORTH_ASKING = 10; // s of computing

let asked = "reset";

export const isWorthAsking = (snapshot) => Boolean(snapshot) && !snapshot.shipped && snapshot.seconds > WORTH_ASKING;

export const reset = () => askBefore("reset");

// The space bar trains, goes on or pauses.
export function turn() {
  const { snapshot } = here;
  if (isTraining(snapshot)) return act("pause");
  return snapshot?.state === "paused" ? act("train") : askBefore("train");
}

function askBefore(action) {
  if (!isWorthAsking(here.snapshot)) return act(action);
  asked = action;
  setText($(".reset-sentences"), text(`${action} question`, { time: duration(here.snapshot.seconds) }));
  $("dialog.reset").showModal(); // Escape closes it, and keeps
}

export function throwAway() {
  keep();
  return act(asked);
}

// Train with settings that the run under way cannot take on. Not asked first: there is a way back.
export async function restart() {
  const scene = here, reply = await act("reset", scene);
  if (!reply || reply.notice) return;
  const begun = await act("train", scene);
  if (reply.kept && begun && !begun.notice) showNotice({ key: "thrown" }, scene);
}

// Bring back the training that the last reset threw away, and its settings.
export async function undoReset() {
  const scene = here, reply = await act("undo", scene);
  if (!reply?.settings) return;
  Object.assign(scene.settings, reply.settings);
  if (scene === here) showSettings();
}

export function undoSettings() {
  showSettings(here.snapshot.settings);
  showNotice(null);
}

export function keep() {
  $("dialog.reset").close();
}
