// Settings that a lesson or a link keeps as they are: their controls do nothing, and say why, each
// where it is pointed at and, for those who point at nothing, above them all.
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
  const all = [reasonOfLesson(scene), scene.locked.length ? text("link locks", { names: named(scene.locked) }) : ""].filter(Boolean);
  $(".locks").hidden = !all.length;
  setText($(".locks"), all.join(" "));
}

const named = (names) => names.map((each) => text(`name ${each}`)).join(text("comma"));

const reason = (scene, name) => (isOfLesson(scene, name) ? reasonOfLesson(scene) : text("locked by link"));

function reasonOfLesson({ lesson }) {
  if (!lesson) return "";
  return text(lesson.unlocked.length ? "locked by lesson" : "locked all", { n: lesson.number, names: named(lesson.unlocked) });
}
