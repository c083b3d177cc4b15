// The panel: one control for each of the scene's, made of the browser's own inputs.
const inputs = {};

function buildControls() {
  const groups = $(".groups");
  groups.replaceChildren();
  for (const name of Object.keys(inputs)) delete inputs[name];
  for (const name of ["scene", "model", "training"]) {
    const group = make("fieldset", { class: `group ${name}` }, make("legend", { "data-text": name }));
    const more = make("details", { class: "more" }, make("summary", { "data-text": sceneKey(`more ${name}`) }));
    for (const control of here.controls.filter((c) => c.group === name)) {
      (control.more ? more : group).append(buildControl(control));
    }
    group.append(...(name === "model" ? [make("p", { class: "hint reach" })] : []), more);
    groups.append(group);
  }
  const menu = $("[data-do=preset]");
  menu.replaceChildren(...[...Object.keys(here.presets), ""].map((value) => make("option", { value })));
}

function buildControl(control) {
  const { name, kind } = control;
  const row = make("div", { class: `control ${kind}`, "data-name": name });
  const label = make("span", { class: "name", "data-text": sceneKey(`name ${name}`), id: `cp-name-${name}` });
  const help = make("span", { class: "help", role: "tooltip", id: `cp-help-${name}`, "data-text": sceneKey(`help ${name}`) });
  const described = { "aria-labelledby": `cp-name-${name}`, "aria-describedby": `cp-help-${name}` };
  if (kind === "choice") {
    const options = make("span", { class: "options", role: "radiogroup", ...described });
    for (const choice of control.choices) {
      const input = make("input", { type: "radio", name: `cp-${name}`, value: choice });
      input.addEventListener("change", () => setSetting(name, choice));
      const known = props.texts.en[`choice ${choice}`] !== undefined;
      const word = make("span", known ? { "data-text": `choice ${choice}` } : {}, known ? "" : String(choice));
      options.append(make("label", {}, input, word));
    }
    inputs[name] = options;
    row.append(make("span", { class: "row" }, label), options, help);
    row.classList.toggle("wide", String(control.choices.join("")).length > 12);
  } else if (kind === "flag") {
    const input = make("input", { type: "checkbox", ...described });
    input.addEventListener("change", () => setSetting(name, input.checked));
    inputs[name] = input;
    row.append(make("label", { class: "row" }, label, input), help);
  } else if (kind === "number") {
    const input = make("input", { type: "number", min: control.low, max: control.high, step: control.step, ...described });
    input.addEventListener("change", () => setSetting(name, input.value === "" ? null : Number(input.value)));
    inputs[name] = input;
    row.append(make("label", { class: "row" }, label, input), help);
  } else {
    const input = make("input", { type: "range", ...sliderRange(control), ...described });
    input.addEventListener("input", () => setSetting(name, fromSlider(control, Number(input.value)), false));
    input.addEventListener("change", () => announceSettings());
    inputs[name] = input;
    row.append(make("label", {}, make("span", { class: "row" }, label, make("output")), input), help);
  }
  return row;
}

// A logarithmic slider moves evenly over the logarithm and rounds to figures a person would choose.
const LOG_STEPS = 100;
function sliderRange(control) {
  return control.scale === "log" ? { min: 0, max: LOG_STEPS, step: 1 } : { min: control.low, max: control.high, step: control.step };
}
function fromSlider(control, position) {
  if (control.scale !== "log") return position;
  if (position >= LOG_STEPS) return control.high;
  const raw = control.low * (control.high / control.low) ** (position / LOG_STEPS);
  const digits = raw >= 20 || raw < 1 ? 2 : 1;
  const value = Number(raw.toPrecision(digits));
  return Math.max(control.low, control.low >= 1 ? Math.round(value) : value);
}
function toSlider(control, value) {
  if (control.scale !== "log") return value;
  return Math.round((LOG_STEPS * Math.log(value / control.low)) / Math.log(control.high / control.low));
}

function setSetting(name, value, announce = true) {
  here.settings[name] = value;
  showSetting(name);
  showPreset();
  describeSoon();
  if (announce) announceSettings();
}

function showSettings(values) {
  Object.assign(here.settings, values);
  for (const control of here.controls) showSetting(control.name);
  showPreset();
  describeSoon();
}

function showSetting(name) {
  const control = here.controls.find((c) => c.name === name);
  const value = here.settings[name];
  if (!control) return;
  if (control.kind === "choice") {
    for (const input of $$("input", inputs[name])) input.checked = input.value === String(value);
  } else if (control.kind === "flag") {
    inputs[name].checked = value;
  } else if (control.kind === "number") {
    inputs[name].value = value;
  } else {
    inputs[name].value = toSlider(control, value);
    const shown = control.unit ? `${value} ${text(`unit ${control.unit}`)}` : String(value);
    setText($("output", inputs[name].closest(".control")), shown);
    inputs[name].setAttribute("aria-valuetext", shown);
    const { min, max } = inputs[name];
    inputs[name].style.setProperty("--fill", `${(100 * (inputs[name].value - min)) / (max - min)}%`);
  }
}

// The preset whose settings these are, or "your own settings".
function presetOf(values) {
  const same = (preset) => Object.entries(preset).every(([name, value]) => values[name] === value);
  return Object.keys(here.presets).find((key) => same(here.presets[key])) ?? "";
}
function showPreset() {
  const key = presetOf(here.settings);
  const menu = $("[data-do=preset]");
  menu.value = key;
  for (const option of $$("option", menu)) {
    setText(option, text(`preset ${option.value || "own"}`));
    option.hidden = option.value === "" && key !== "";
  }
  setText($(".preset-sentence"), text(`sentence ${key || "own"}`));
}

// What the settings mean, asked of the engine when they have rested for a moment.
let describing = 0;
function describeSoon() {
  clearTimeout(describing);
  const scene = here;
  describing = setTimeout(async () => {
    const number = (scene.described += 1);
    const reply = await ask("describe", { settings: scene.settings, scene: scene.name });
    if (number !== scene.described) return; // settings moved on meanwhile
    scene.description = reply;
    if (scene === here) showDescription();
  }, 120);
}
function showDescription() {
  const reach = $(".reach"), cost = $(".cost"), { description } = here;
  if (!description) {
    for (const line of [reach, cost]) setText(line, "");
    $("[data-link]").value = "";
    return;
  }
  const refusal = description.notice;
  for (const row of $$(".control")) row.classList.toggle("refused", refusal?.name === row.dataset.name);
  if (refusal) {
    setText(reach, "");
    setText(cost, wordNotice(refusal));
    cost.classList.add("bad");
    return;
  }
  if (description.reach !== undefined) {
    const enough = description.reach >= description.speed;
    setText(reach, text(enough ? "reach enough" : "reach short", description));
    reach.classList.toggle("good", enough);
    reach.classList.toggle("bad", !enough);
  }
  cost.classList.remove("bad");
  setText(cost, text("cost", { time: duration(description.seconds), mib: Math.round(description.mib) }));
  $("[data-link]").value = `${location.origin}${location.pathname}?${description.link}`;
}
