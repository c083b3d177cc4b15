// The page: what a viewer does goes to the server, what the server knows comes back as snapshots.
// Nothing happens before `start`, which Gradio's component calls with what it has.
import { turnBrightness } from "./brighten.js";
import { addChange, changeParts, removeChange, switchChannel, transplant } from "./changes.js";
import { CLIP, prepareClip } from "./clip.js";
import { buildHelp, wordControls } from "./controls.js";
import { drawCurve } from "./curve.js";
import { $, $$, hear, make, root, tell, useRoot } from "./dom.js";
import { closeDrawer, prepareDrawer, turnDrawer } from "./drawer.js";
import { openInside, showInside, turnCell, turnChannels, useInside } from "./inside.js";
import { actionOf, showLetters, switchLetters } from "./keys.js";
import { foldLesson, lessonOf, makeLessons, showLesson, startStudy, wordLessons } from "./lessons.js";
import { recall, remember } from "./memory.js";
import { showModel, useModel } from "./model.js";
import { showNotice } from "./notices.js";
import { clearPad, preparePad, sendDrawing, showAngle } from "./pad.js";
import { arrowOnHeat, readCell } from "./heat.js";
import { pin, showPins, unpin, usePinned } from "./pins.js";
import { goToMoment, toggleCloseUp, togglePlaying } from "./player.js";
import { rankChannels } from "./ranked.js";
import { keep, reset, restart, throwAway, turn, undoReset, undoSettings } from "./reset.js";
import { act, announceSettings, attach, lookAtSample, listenForSilence, receive, turnSample } from "./runs.js";
import { firstScene, goTo, here, makeScenes, own, scenes } from "./scenes.js";
import { ask, useServer } from "./server.js";
import { buildSettings, choosePreset, showDescription, showSettings } from "./settings.js";
import { copyLink, download, openCheckpoint, queryOf } from "./share.js";
import { drawMoment, drawStage, showPicture } from "./stage.js";
import { chooseLead, lookAtSpeed, showSpeed, stopStudy, testSpeeds } from "./speed.js";
import { showStatus } from "./status.js";
import { arrowOnTab, openTab } from "./tabs.js";
import { showTiles } from "./tiles.js";
import { turnLanguage, useTexts, wordFor, wordPage } from "./words.js";

const PATIENCE = 1000; // ms until a server that does not answer is asked again

const ACTIONS = {
  train: () => {
    closeDrawer();
    act("train");
  },
  pause: () => act("pause"),
  step: () => act("step"),
  stop: () => act("stop"),
  reset,
  turn,
  "throw-away": throwAway,
  keep,
  restart,
  "undo-reset": undoReset,
  "undo-settings": undoSettings,
  "use-model": useModel,
  drawer: turnDrawer,
  dismiss: () => showNotice(null),
  previous: () => turnSample(-1),
  next: () => turnSample(1),
  animate: () => here.frames && togglePlaying(),
  closeup: toggleCloseUp,
  "look-inside": openInside,
  "channels-back": () => turnChannels(-1),
  "channels-on": () => turnChannels(1),
  cell: turnCell,
  "switch-channel": (button) => switchChannel(Number(button.dataset.channel)),
  "try-add": addChange,
  "try-remove": (button) => removeChange(Number(button.dataset.change)),
  transplant,
  rank: rankChannels,
  "fold-lesson": foldLesson,
  "leave-lesson": () => enterScene(here.name),
  "lesson-study": startStudy,
  "test-speeds": testSpeeds,
  "stop-study": stopStudy,
  "look-speed": (button) => lookAtSpeed(Number(button.dataset.speed)),
  "leave-speed": () => lookAtSample(0),
  pin,
  unpin: (button) => unpin(Number(button.dataset.pin)),
  "use-pinned": (button) => usePinned(Number(button.dataset.pin)),
  ...CLIP,
  brighten: () => {
    turnBrightness();
    drawStage();
  },
  copy: copyLink,
  "clear-pad": clearPad,
  "send-drawing": sendDrawing,
  language: () => {
    turnLanguage();
    showWords();
  },
  theme: () => {
    const dark = document.body.classList.toggle("dark");
    remember("theme", dark ? "dark" : "light");
    drawAll();
  },
  "to-train": () => $(".transport .primary:not([hidden])").focus(),
  projector: () => showProjector(!root.classList.contains("projector")),
  escape: () => {
    closeDrawer();
    showProjector(false);
  },
};

function showProjector(on) {
  root.classList.toggle("projector", on);
  document.activeElement?.blur(); // or the space bar would press this button again, and not train
  requestAnimationFrame(drawAll);
}

// Again, in other words or another room.
function drawAll() {
  showSnapshot();
  drawStage();
  showInside();
  showLesson();
}

function showSnapshot() {
  const { snapshot } = here;
  showStatus(snapshot);
  for (const part of $$("[data-needs=script]")) part.hidden = !snapshot?.hasScript;
  if (!snapshot) return $("svg.curve").replaceChildren();
  drawCurve(snapshot);
  showModel(snapshot);
  showTiles(snapshot);
  showSpeed(snapshot);
  showPins(snapshot);
  return showPicture(here);
}

function showWords() {
  wordPage();
  wordControls();
  buildHelp(here.controls);
  showSettings();
  showDescription();
  wordLessons();
  showNotice(own.notice, own);
  drawAll();
  tell("worded");
}

function showScene() {
  wordFor(here.name);
  for (const button of $$(".scenes button")) button.setAttribute("aria-pressed", String(button.dataset.scene === here.key));
  buildSettings();
  showWords();
}

function enterScene(name, query = null) {
  goTo(name);
  showScene();
  here.attached ??= attach(here, query);
  tell("entered", here);
}

function listen() {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return chooseOnDrawing(event.target);
    if (button.disabled) return;
    if (button.dataset.scene) enterScene(button.dataset.scene);
    else if (button.dataset.tab) openTab(button.dataset.tab);
    else if (button.dataset.download) download(button.dataset.download, button);
    else ACTIONS[button.dataset.do]?.(button);
  });
  root.addEventListener("change", ({ target }) => {
    if (target.dataset.do === "upload") openCheckpoint(target);
    if (target.dataset.do === "lesson") enterScene(target.value || here.name);
    if (target.name === "cp-speed-lead") chooseLead(target.value);
    if (target.dataset.do === "letters") switchLetters(target.checked);
    if (target.dataset.do === "preset" && target.value) choosePreset(target.value);
    if (/^(try|transplant)-/.test(target.dataset.do)) changeParts();
  });
  root.addEventListener("input", ({ target }) => {
    if (target.dataset.do === "angle") showAngle();
    if (["scrub", "inside-scrub"].includes(target.dataset.do)) goToMoment(Number(target.value));
  });
  root.addEventListener("keydown", arrowOnTab);
  root.addEventListener("keydown", arrowOnHeat);
  for (const event of ["mouseover", "focusin"]) root.addEventListener(event, ({ target }) => target.closest(".heat") && readCell(target.closest("td")));
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action) return;
    if (action !== "escape") event.preventDefault();
    ACTIONS[action]();
  });
  hear("settings", announceSettings);
  hear("panel", () => here.snapshot && showModel(here.snapshot));
  hear("settled", (scene) => scene === here && showSettings());
  hear("snapshot", (scene) => scene === here && showSnapshot());
  hear("moment", goToMoment);
  hear("drawn", drawMoment);
  useInside();
  prepareClip();
  hear("tab", openTab);
  hear("tab-opened", showSnapshot);
  new ResizeObserver(drawAll).observe(root);
}

// A place on a drawing: the speed that is tested there, and where there is one, the moment.
function chooseOnDrawing(target) {
  const { speed, lead } = target.closest?.("[data-speed]")?.dataset ?? {};
  if (speed === undefined) return;
  if (lead) goToMoment(Number(lead));
  lookAtSpeed(Number(speed));
}

// The page is there before what computes is, and may outlive a server's restart.
async function askPatiently(name) {
  for (;;) {
    const reply = await ask(name, {});
    if (!reply.notice) return reply;
    await new Promise((resolve) => setTimeout(resolve, PATIENCE));
  }
}

export async function start({ element, props, server, upload, trigger, watch }) {
  useRoot(element);
  root.classList.toggle("framed", window.parent !== window);
  useServer({ server, upload, trigger });
  useTexts(props.texts);
  document.head.append(make("style", {}, props.style));
  $(".cp").innerHTML = props.markup;
  wordPage();
  showStatus(null);
  $(".cp").inert = true; // a press that nobody hears would be lost
  makeScenes(await askPatiently("scenes"));
  const names = [...scenes.keys()];
  makeLessons((await askPatiently("lessons")).lessons ?? []);
  $(".cp").inert = false;
  $(".scenes").append(...names.map((name) => make("button", { type: "button", "data-scene": name, "data-text": `scene ${name}` })));
  const theme = recall("theme");
  if (theme) document.body.classList.toggle("dark", theme === "dark");
  preparePad();
  showAngle();
  showLetters();
  prepareDrawer();
  listen();
  listenForSilence();
  watch("value", () => receive(props.value));
  if (props.classroom) await (await import("./classroom.js")).openClassroom(props.classroom, showScene);
  const query = queryOf(location.search), asked = new URLSearchParams(location.search).get("lesson");
  const lesson = asked === null ? null : lessonOf(asked);
  enterScene(lesson ?? firstScene(query), query);
  if (asked !== null && !lesson) showNotice({ key: "no such lesson" });
}
