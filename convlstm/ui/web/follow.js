// "Follow me": a student's page shows the teacher's training, live, and takes no orders meanwhile. The
// student's own goes on behind it, and is there again as it was.
import { $, setText, tell } from "./dom.js";
import { keep } from "./reset.js";
import { here, own, scenes, visit } from "./scenes.js";
import { showSettings } from "./settings.js";
import { text } from "./words.js";

const ASIDE = [".scenes", "[data-do=lesson]", ".settings", ".transport", ".sampler", "[data-do=beyond]", "[data-do=leave-speed]", "[data-do=look-inside]", "#cp-inside", ".clip", ".draw", ".extras"];

let guest = null; // the teacher's training, as if it were a scene of this page

// What the server says of the teacher's run; null where everybody is to see their own.
export function showTeacher(snapshot, showScene) {
  if (!snapshot || !scenes.has(snapshot.scene)) {
    if (guest) leave(showScene);
  } else if (guest?.name !== snapshot.scene) {
    begin(snapshot, showScene);
  } else {
    const changed = JSON.stringify(snapshot.settings) !== JSON.stringify(guest.snapshot.settings);
    guest.snapshot = snapshot;
    if (changed) showSettings(snapshot.settings);
    tell("snapshot", guest);
  }
}

function begin(snapshot, showScene) {
  keep(); // a question about one's own training is none meanwhile
  guest = { ...scenes.get(snapshot.scene), run: null, notice: null, description: null, frames: null, version: null, settings: { ...snapshot.settings }, snapshot };
  visit(guest);
  setAside(true);
  showScene();
}

function leave(showScene) {
  guest = null;
  visit(own);
  setAside(false);
  showScene();
}

function setAside(on) {
  for (const part of ASIDE) $(part).inert = on;
  setText($(".following"), on ? text("following") : "");
}

export function wordFollowing() {
  if (here !== own) setText($(".following"), text("following"));
}
