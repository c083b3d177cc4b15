// Lessons: a card that asks for a guess, says what to do on this page, and what was found. What was
// done the server knows, and tells with the snapshots.
import { $, $$, hear, make, root, setText } from "./dom.js";
import { showNotice } from "./notices.js";
import { percent, ratio, small } from "./numbers.js";
import { closePlaces, markedPlace, openPlaces } from "./places.js";
import { askRun } from "./runs.js";
import { addLesson, here, scenes } from "./scenes.js";
import { isWorded, language, text } from "./words.js";

const NARROW = "(max-width: 860px)";
const SPEEDS = [0, 1, 2, 3, 4, 5, 6, 7];

let folded = false;

export function makeLessons(lessons) {
  lessons.forEach((lesson, n) => addLesson(lesson, n + 1));
  const menu = $("[data-do=lesson]");
  menu.hidden = !lessons.length;
  menu.replaceChildren(...["", ...lessons.map(({ key }) => `lesson-${key}`)].map((value) => make("option", { value })));
  hear("snapshot", (scene) => scene === here && showLesson());
}

// The key of a link's lesson, which is its number or its name; undefined where there is none.
export function lessonOf(asked) {
  const all = [...scenes.values()].filter(({ lesson }) => lesson);
  return all.find(({ lesson }) => [String(lesson.number), lesson.key].includes(asked))?.key;
}

export function wordLessons() {
  for (const option of $$("[data-do=lesson] option")) {
    const { lesson } = scenes.get(option.value) ?? {};
    setText(option, lesson ? titleOf(lesson) : text(here.lesson ? "leave lesson" : "lessons"));
  }
  $("[data-do=lesson]").value = here.lesson ? here.key : "";
  showLesson();
}

const titleOf = ({ key, number }) => text("lesson title", { n: number, title: text(`lesson ${key}`) });

export function foldLesson() {
  folded = !folded;
  $("[data-do=fold-lesson]").setAttribute("aria-expanded", String(!folded));
  setText($("[data-do=fold-lesson] .glyph"), folded ? "▸" : "▾");
  $(".lesson-body").hidden = folded;
}

export function showLesson() {
  const { lesson, snapshot } = here, card = $(".lesson"), state = snapshot?.lesson;
  card.hidden = !lesson;
  $(".panel").classList.toggle("in-lesson", Boolean(lesson));
  if (!lesson || !state) {
    closePlaces();
    return;
  }
  const home = matchMedia(NARROW).matches || root.classList.contains("projector") ? $(".work") : $(".panel");
  if (card.parentElement !== home) home.prepend(card);
  setText($("#cp-lesson-title"), titleOf(lesson));
  setText($(".lesson-why"), text(`lesson ${lesson.key} why`));
  const { guess } = state;
  fill(".guess", [lesson.key, guess], () => (guess ? keptGuess(lesson, guess) : form(lesson, lesson.guesses, "guess")));
  fill(".do", [lesson.key, Boolean(guess)], () => (guess ? whatToDo(lesson) : []));
  const isAsked = fill(".answers", [lesson.key, asksNow(lesson, state), state.found], () => (asksNow(lesson, state) ? form(lesson, lesson.answers, "answers") : []));
  const isFound = fill(".found", [lesson.key, state.found], () => (state.found ? whatWasFound(lesson) : []));
  showSteps(lesson, state);
  showFacts(lesson, state, snapshot.study);
  if (isAsked || isFound) card.scrollTop = card.scrollHeight; // where they stand
  if (!guess && lesson.guesses.some(({ kind }) => kind === "place")) openPlaces();
  else closePlaces();
}

// A part is made anew only where something of it has changed: what is being filled in stays. Tells
// whether there is something where there was nothing.
function fill(part, about, build) {
  const node = $(`.lesson-part${part}`), version = JSON.stringify([language, ...about]);
  if (node.dataset.version === version) return false;
  const wasEmpty = !node.childElementCount;
  node.dataset.version = version;
  node.replaceChildren(...build());
  return wasEmpty && node.childElementCount > 0;
}

const asksNow = ({ answers, steps }, { guess, done, found }) => Boolean(guess) && !found && answers.length > 0 && steps.slice(0, -1).every((step) => done.includes(step));

function form(lesson, questions, part) {
  const asked = questions.map((question) => [question, ...controlsOf(lesson, question, part)]);
  const made = make("form", {}, ...asked.map(([, node]) => node), make("button", { type: "submit", class: "primary" }, text(`lesson keep ${part}`)));
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    send(Object.fromEntries(asked.map(([{ name }, , read]) => [name, read()])));
  });
  return [make("h3", {}, text(`lesson ${part}`)), made];
}

async function send(given) {
  const scene = here, reply = await askRun("answer", { given }, scene);
  if (!reply) return;
  showNotice(reply.notice?.key === "refused" ? { key: "answer first" } : reply.notice ?? null, scene);
}

// A question's controls, and what reads the answer from them.
function controlsOf({ key }, { name, kind, choices, low, high }, part) {
  const words = text(`lesson ${key} ask ${name}`), id = `cp-${part}-${name}`;
  const legend = make("legend", {}, words);
  if (kind === "choice" || kind === "speeds") {
    const type = kind === "choice" ? "radio" : "checkbox", values = kind === "choice" ? choices : SPEEDS.map(String);
    const inputs = values.map((value) => make("input", { type, name: id, value }));
    const labels = inputs.map((input) => make("label", {}, input, make("span", {}, kind === "choice" ? wordChoice(key, input.value) : input.value)));
    const node = make("fieldset", {}, legend, make("span", { class: kind === "choice" ? "options wide" : "options marks" }, ...labels));
    const chosen = () => inputs.filter(({ checked }) => checked).map(({ value }) => value);
    return [node, kind === "choice" ? () => chosen()[0] ?? null : () => chosen().map(Number)];
  }
  if (kind === "number") {
    const input = make("input", { type: "number", min: low, max: high, step: "any", id, inputmode: "decimal" });
    return [make("label", { class: "row" }, make("span", {}, words), input), () => (input.value === "" ? null : Number(input.value))];
  }
  const axes = ["across", "down"].map((axis) => make("input", { type: "number", min: 0, max: high, step: 1, "data-place": axis, "aria-label": text(`place ${axis}`) }));
  return [make("fieldset", {}, legend, make("span", { class: "row" }, ...axes.flatMap((input) => [make("span", {}, input.ariaLabel ?? input.getAttribute("aria-label")), input]))), () => markedPlace()];
}

const wordChoice = (key, value) => {
  const worded = text(`lesson choice ${value}`);
  return worded === `lesson choice ${value}` ? value : worded;
};

function keptGuess({ key, guesses }, guess) {
  const words = guesses.map(({ name, kind }) => {
    const value = guess[name];
    if (kind === "choice") return wordChoice(key, value);
    if (kind === "place") return text("place", { x: value[0], y: value[1] });
    return Array.isArray(value) ? value.join(text("comma")) || text("none") : String(value);
  });
  return [make("p", { class: "hint" }, text("lesson guessed", { words: words.join(text("comma")) }))];
}

function whatToDo({ key, button }) {
  const parts = [make("h3", {}, text("lesson do")), make("p", {}, text(`lesson ${key} do`))];
  if (button) parts.push(make("button", { type: "button", "data-do": "lesson-study" }, text(`lesson ${key} button`)));
  return parts;
}

export async function startStudy() {
  const scene = here, reply = await askRun("study", { kind: scene.lesson.button }, scene);
  if (reply?.notice) showNotice(reply.notice, scene);
}

function whatWasFound({ key, number }) {
  const next = [...scenes.values()].find(({ lesson }) => lesson?.number === number + 1);
  const button = next ? make("button", { type: "button", class: "primary", "data-scene": next.key }, text("lesson next")) : make("button", { type: "button", class: "primary", "data-do": "leave-lesson" }, text("lesson last"));
  return [make("h3", {}, text("lesson found")), make("p", {}, text(`lesson ${key} found`)), button];
}

function showSteps({ key, steps }, { guess, done }) {
  const list = $(".lesson-steps");
  if (list.children.length !== steps.length) list.replaceChildren(...steps.map(() => make("li")));
  list.hidden = !guess;
  steps.forEach((step, n) => {
    list.children[n].classList.toggle("done", done.includes(step));
    setText(list.children[n], `${done.includes(step) ? "✓" : "○"} ${text(`lesson ${key} step ${step}`)}`);
  });
}

// What was measured, in a line each.
function showFacts({ key, answers }, { facts, guess }, study) {
  const lines = !guess ? [] : facts.filter(({ kind }) => isWorded(`lesson ${key} fact ${kind}`)).map((fact) => factLine(key, fact));
  if (guess && answers.length && study?.kind === "speed") lines.push(...speedLines(study));
  const list = $(".lesson-facts"), version = JSON.stringify(lines);
  if (list.dataset.version === version) return;
  list.dataset.version = version;
  list.replaceChildren(...lines.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function factLine(key, fact) {
  const { kind, settings = {}, reach, skill, ssim, error, wall, sharpness, before, after } = fact;
  const places = { reach, loss: settings.loss?.toUpperCase(), walls: settings.walls && text(`choice ${settings.walls}`), kernel: settings.kernel_size, layers: settings.num_layers };
  places.skill = percent(skill);
  places.ssim = ratio(ssim);
  places.error = Number.isFinite(error) ? error.toFixed(1) : "–";
  places.wall = small(wall);
  places.sharpness = percent(sharpness);
  [places.before, places.after] = [small(before), small(after)];
  return [text(`lesson ${key} fact ${kind}`, places), text(`lesson ${key} measured ${kind}`, places)];
}

function speedLines({ state, done, result }) {
  if (!result) return state === "running" ? [[text("lesson testing"), percent(done)]] : [];
  const { speeds, scores } = result;
  const lines = speeds.filter((speed) => SPEEDS.includes(speed)).map((speed) => {
    const first = Object.fromEntries(Object.entries(scores).map(([name, rows]) => [name, rows[speeds.indexOf(speed)].error[0]]));
    const better = Math.min(...Object.entries(first).filter(([name]) => name !== "model").map(([, error]) => error));
    return [text("lesson speed", { speed }), text("lesson errors", { error: small(first.model), baseline: small(better) })];
  });
  return [[text("lesson speed head"), text("lesson errors head")], ...lines];
}
