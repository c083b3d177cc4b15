// Settings that a lesson or a link keeps as they are: their controls do nothing, and say why.
import { $, $$, setText } from "./dom.js";
import { text } from "./words.js";

const isOfLesson = ({ lesson }, name) => Boolean(lesson) && !lesson.unlocked.includes(name);

export const isLocked = (scene, name) => isOfLesson(scene, name) || scene.locked.includes(name);

export function showLocks(scene) {
  for (const row of $$(".control")) {
    const locked = isLocked(scene, row.dataset.name);
    row.classList.toggle("locked", locked);
    for (const input of $$("input", row)) input.disabled = locked;
    const help = $(".help", row), words = text(`help ${row.dataset.name}`);
    setText(help, locked ? `${reason(scene, row.dataset.name)} ${words}` : words);
  }
}

function reason(scene, name) {
  if (!isOfLesson(scene, name)) return text("locked by link");
  const names = scene.lesson.unlocked.map((each) => text(`name ${each}`)).join(text("comma"));
  return text(names ? "locked by lesson" : "locked all", { n: scene.lesson.number, names });
}
