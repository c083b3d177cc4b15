// Which model is on show, and where the settings that Train would use are others.
import { $, setText, tell } from "./dom.js";
import { settingValue } from "./numbers.js";
import { isUnderWay } from "./runs.js";
import { here } from "./scenes.js";
import { showSettings } from "./settings.js";
import { text } from "./words.js";

const SHAPE = ["hidden_channels", "kernel_size", "canvas", "epochs"]; // what a model is told by
const NAMED = 2; // settings that differ and are named; the others are counted

const modelOf = ({ model, settings }) => model ?? settings;

// Settings of a scene in which the model on show is other than the panel, those of its shape first.
export function otherSettings(model, settings, controls) {
  const names = controls.map(({ name }) => name).filter((name) => model[name] !== settings[name]);
  const rank = (name) => (SHAPE.indexOf(name) + SHAPE.length + 1) % (SHAPE.length + 1);
  return names.sort((one, other) => rank(one) - rank(other));
}

export function showModel(snapshot) {
  const model = modelOf(snapshot), { settings, controls } = here;
  const shape = SHAPE.filter((name) => controls.some((control) => control.name === name));
  setText($(".model-shown"), text("model shown", { settings: listed(shape, model) }));
  const others = snapshot.teacher ? [] : otherSettings(model, settings, controls), more = others.length - NAMED;
  const words = [listed(others.slice(0, NAMED), settings), more > 0 && text("model more", { n: more })].filter(Boolean).join(" · ");
  setText($(".model-others"), others.length ? text(isUnderWay(snapshot) ? "model goes on" : "model others", { settings: words }) : "");
  $("[data-do=use-model]").hidden = !others.length;
}

export function useModel() {
  if (!here.snapshot) return;
  showSettings(modelOf(here.snapshot));
  tell("settings");
}

// Without units, which the panel has: it is one line.
function listed(names, settings) {
  return names.map((name) => `${text(`name ${name}`)} ${settingValue(null, settings[name])}`).join(" · ");
}
