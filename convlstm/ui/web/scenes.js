// Two scenes, each with a run, settings and a snapshot of its own; one is shown, the other goes on.
const scenes = {};
for (const [name, { controls, presets }] of Object.entries(props.scenes)) {
  scenes[name] = {
    name, controls, presets,
    run: recall(`run-${name}`),
    settings: { ...Object.values(presets)[0] },
    description: null, // what the settings mean
    snapshot: null,
    heard: 0, // when the server last sent a sign of life, or was asked for one
    attached: null, // the promise of its first run
    attaching: false, // whether the server was asked for it and has not answered yet
    settled: false, // whether the server's settings have come
    notice: null,
    described: 0, // the newest question what the settings mean
  };
}
let here = scenes.squares;

function openScene(name) {
  here = scenes[name];
  remember("scene", name);
  element.dataset.scene = name;
  for (const button of $$("[data-scene]")) button.setAttribute("aria-pressed", String(button.dataset.scene === name));
  for (const part of $$("[data-only]")) part.hidden = part.dataset.only !== name;
  buildControls();
  showWords();
  showNotice(here.notice);
}

// The scene of a link, which is the squares' where it names none, or where this person was last.
function firstScene(query) {
  const asked = query ? query.scene : recall("scene");
  return Object.hasOwn(scenes, asked ?? "") ? asked : "squares";
}

// A text that the scene words in its own way, or the one for all.
function sceneKey(key) {
  const own = `${here.name} ${key}`;
  return props.texts.en[own] === undefined ? key : own;
}

function enterScene(name, query = null) {
  openScene(name);
  here.attached ??= attach(here, query);
}
