// The panel: one control for each setting of the scene, made of the browser's own inputs.
import { $, $$, fillSlider, make, setText } from "./dom.js";
import { withUnit } from "./numbers.js";
import { fromSlider, sliderRange, toSlider } from "./slider.js";
import { isWorded, text } from "./words.js";

const GROUPS = ["scene", "network", "training"];
const NAMED = 3; // settings that a closed group names
const LONG = 14; // letters of a choice's options beside its name

// `set(name, value, rest)` hears of every change; `rest` is false while a slider still moves.
export function buildControls(controls, set) {
  $(".groups").replaceChildren(...GROUPS.map((name) => {
    const own = controls.filter(({ group }) => group === name);
    const rows = (more) => own.filter((control) => Boolean(control.more) === more).map((control) => buildControl(control, set));
    const hidden = rows(true);
    const group = make("fieldset", { class: "group" }, make("legend", { "data-text": name }), ...rows(false));
    if (name === "network") group.append(make("p", { class: "hint reach" }));
    if (hidden.length) group.append(make("details", { class: "more" }, make("summary"), ...hidden));
    return group;
  }));
}

// What depends on words: a choice too long for its name's line has one of its own; and what waits
// behind "more" is named by its first settings.
export function wordControls() {
  for (const options of $$(".options")) options.classList.toggle("wide", options.textContent.length > LONG);
  for (const more of $$("details.more")) {
    const names = $$(".control", more).map((row) => text(`name ${row.dataset.name}`));
    const list = names.slice(0, NAMED).join(text("comma")) + (names.length > NAMED ? " …" : "");
    setText($("summary", more), text("more", { names: list }));
  }
}

function buildControl(control, set) {
  const { name, kind } = control;
  const label = make("span", { class: "name", "data-text": `name ${name}`, id: `cp-name-${name}` });
  const help = make("span", { class: "help", role: "tooltip", id: `cp-help-${name}`, "data-text": `help ${name}` });
  const described = { "aria-labelledby": `cp-name-${name}`, "aria-describedby": `cp-help-${name}` };
  return make("div", { class: `control ${kind}`, "data-name": name }, ...BUILDERS[kind](control, set, label, described), help);
}

const BUILDERS = {
  choice({ name, choices, unit }, set, label, described) {
    const options = make("span", { class: "options", role: "radiogroup", ...described });
    if (unit) options.setAttribute("aria-labelledby", `cp-name-${name} cp-unit-${name}`);
    for (const choice of choices) {
      const input = make("input", { type: "radio", name: `cp-${name}`, value: choice });
      input.addEventListener("change", () => set(name, choice, true));
      const key = isWorded(`choice ${choice}`) ? { "data-text": `choice ${choice}` } : {};
      options.append(make("label", {}, input, make("span", key, String(choice))));
    }
    const words = make("span", { class: "row" }, label);
    if (unit) words.append(make("span", { class: "unit", "data-text": `unit ${unit}`, id: `cp-unit-${name}` }));
    return [words, options];
  },
  flag({ name }, set, label, described) {
    const input = make("input", { type: "checkbox", ...described });
    input.addEventListener("change", () => set(name, input.checked, true));
    return [make("label", { class: "row" }, label, input)];
  },
  number({ name, low, high, step }, set, label, described) {
    const input = make("input", { type: "number", min: low, max: high, step, ...described });
    input.addEventListener("change", () => set(name, input.value === "" ? null : Number(input.value), true));
    return [make("label", { class: "row" }, label, input)];
  },
  // No label around a slider: a finger on its name would move it.
  slider(control, set, label, described) {
    const input = make("input", { type: "range", ...sliderRange(control), ...described });
    input.addEventListener("input", () => set(control.name, fromSlider(control, Number(input.value)), false));
    input.addEventListener("change", () => set(control.name, fromSlider(control, Number(input.value)), true));
    // Its value is read with it, and not once more by itself.
    return [make("span", { class: "row" }, label, make("output", { "aria-live": "off" })), input];
  },
};

export function showControl(control, value) {
  const row = $(`.control[data-name="${control.name}"]`);
  if (control.kind === "choice") {
    for (const input of $$("input", row)) input.checked = input.value === String(value);
    return;
  }
  const input = $("input", row);
  if (control.kind === "flag") {
    input.checked = value;
  } else if (control.kind === "number") {
    input.value = value ?? "";
  } else {
    const shown = withUnit(String(value), control.unit);
    input.value = toSlider(control, value);
    fillSlider(input);
    setText($("output", row), shown);
    input.setAttribute("aria-valuetext", shown);
  }
}

export function markRefused(name) {
  for (const row of $$(".control")) {
    const isRefused = row.dataset.name === name;
    row.classList.toggle("refused", isRefused);
    for (const input of $$("input", row)) input.setAttribute("aria-invalid", String(isRefused));
    if (isRefused && row.closest("details")) row.closest("details").open = true;
  }
}

// Every setting with its sentence, for "How it works".
export function buildHelp(controls) {
  $(".control-help").replaceChildren(...controls.flatMap(({ name }) => [make("dt", {}, text(`name ${name}`)), make("dd", {}, text(`help ${name}`))]));
}
