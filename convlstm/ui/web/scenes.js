// The scenes, each with a run, settings and a snapshot of its own; one is shown, the others go on.
import { recall, remember } from "./memory.js";

export const scenes = new Map();
export let here = null; // the scene that is shown
export let own = null; // this viewer's own one: the same, unless somebody else's training is shown

export function makeScenes(given) {
  scenes.clear();
  for (const [name, { controls, presets }] of Object.entries(given)) {
    scenes.set(name, {
      name, controls, presets,
      run: recall(`run-${name}`),
      settings: { ...Object.values(presets)[0] },
      description: null, // what the settings mean
      snapshot: null,
      frames: null, // its picture, unpacked
      version: null, // of the picture that is unpacked, or about to be
      heard: 0, // when the server last sent a sign of life, or was asked for one
      attached: null, // the promise of its first run
      attaching: false, // whether the server was asked for it and has not answered yet
      settled: false, // whether the server's settings have come
      notice: null,
      pressed: false, // whether Train was, since a GPU was asked for
      sought: 0, // when a GPU was asked for
      described: 0, // the newest question what the settings mean
    });
  }
  here = own = scenes.get(firstScene(null));
}

// The scene of a link, which is the first where it names none, or where this person was last.
export function firstScene(query) {
  const asked = query ? query.scene : recall("scene");
  return scenes.has(asked) ? asked : scenes.keys().next().value;
}

export function goTo(name) {
  here = own = scenes.get(name);
  remember("scene", name);
}

// Show another's training; the own one stays where it is.
export function visit(scene) {
  here = scene;
}
