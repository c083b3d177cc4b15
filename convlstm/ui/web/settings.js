// The settings of the scene shown: controls, presets, and what the engine says they mean.
import { $, $$, make, setText, tell } from "./dom.js";
import { buildControls, markRefused, showControl } from "./controls.js";
import { isLocked, showLocks } from "./locks.js";
import { wordNotice } from "./notices.js";
import { duration } from "./numbers.js";
import { here, own } from "./scenes.js";
import { ask } from "./server.js";
import { text } from "./words.js";

const REST = 120; // ms without a change, before the engine is asked

let built = null;

export function buildSettings() {
  if (built === here.controls) return; // and what was opened stays open
  built = here.controls;
  buildControls(here.controls, setSetting);
  const options = [...Object.keys(here.presets), ""].map((value) => make("option", { value }));
  $("[data-do=preset]").replaceChildren(...options);
}

function setSetting(name, value, rest) {
  here.settings[name] = value;
  showControl(here.controls.find((control) => control.name === name), value);
  showPreset();
  describeSoon();
  if (rest) tell("settings");
}

export function showSettings(values = {}) {
  Object.assign(here.settings, values);
  for (const control of here.controls) showControl(control, here.settings[control.name]);
  showLocks(here);
  showPreset();
  describeSoon();
}

export function choosePreset(key) {
  const open = Object.entries(here.presets[key]).filter(([name]) => !isLocked(here, name));
  showSettings(Object.fromEntries(open));
  tell("settings");
}

// The preset whose settings these are, or "" for one's own.
export function presetOf(settings, presets) {
  const same = (preset) => Object.entries(preset).every(([name, value]) => settings[name] === value);
  return Object.keys(presets).find((key) => same(presets[key])) ?? "";
}

function showPreset() {
  tell("panel");
  const key = presetOf(here.settings, here.presets);
  const menu = $("[data-do=preset]");
  menu.value = key;
  for (const option of $$("option", menu)) {
    setText(option, text(`preset ${option.value || "own"}`));
    option.hidden = option.value === "" && key !== "";
  }
  setText($(".preset-sentence"), text(`sentence ${key || "own"}`));
}

let describing = 0;
function describeSoon() {
  clearTimeout(describing);
  const scene = here;
  if (scene !== own) return; // nobody's own settings: nothing to weigh
  describing = setTimeout(async () => {
    const number = (scene.described += 1);
    const reply = await ask("describe", { settings: scene.settings, scene: scene.name });
    if (number !== scene.described) return; // settings moved on meanwhile
    scene.description = reply;
    if (scene === here) showDescription();
  }, REST);
}

export function showDescription() {
  const reach = $(".reach"), cost = $(".cost"), link = $("[data-link]"), { description } = here;
  const refusal = description?.notice;
  markRefused(refusal?.name);
  cost.classList.toggle("bad", Boolean(refusal));
  cost.setAttribute("aria-live", refusal ? "polite" : "off"); // what is refused is said, what it costs is not
  if (!description || refusal) {
    setText(reach, "");
    setText(cost, refusal ? wordNotice(refusal) : "");
    if (!description) link.value = "";
    return;
  }
  const { reach: pixels, speed, seconds, mib, link: query } = description;
  const moves = Number.isFinite(pixels) && Number.isFinite(speed), enough = moves && pixels >= speed;
  setText(reach, moves ? text(enough ? "reach enough" : "reach short", { reach: pixels, speed }) : "");
  reach.classList.toggle("good", enough);
  reach.classList.toggle("bad", moves && !enough);
  setText(cost, text("cost", { time: duration(seconds), mib: Math.round(mib) }));
  link.value = `${location.origin}${location.pathname}?${query}`;
}
