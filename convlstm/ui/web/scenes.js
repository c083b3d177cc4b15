// The scenes, each with a run, settings and a snapshot of its own; one is shown, the others go on.
import { recall, remember } from "./memory.js";

export const scenes = new Map();
export let here = null; // the scene that is shown
export let own = null; // this viewer's own one: the same, unless somebody else's training is shown

export function makeScenes(given) {
  scenes.clear();
  for (const [name, { controls, presets }] of Object.entries(given)) scenes.set(name, makeScene(name, name, controls, presets));
  here = own = scenes.get(firstScene(null));
}

function makeScene(key, name, controls, presets) {
  return {
    key, name, controls, presets,
    lesson: null, // that it is for
    run: recall(`run-${key}`),
    settings: { ...Object.values(presets)[0] },
    locked: [], // settings that its link locks
    description: null, // what the settings mean
    snapshot: null,
    frames: null, // its picture, unpacked
    version: null, // of the picture that is unpacked, or about to be
    heard: 0, // when the server last sent a sign of life, or was asked for one
    attached: null, // the promise of its first run
    attaching: false, // whether the server was asked for it and has not answered yet
    settled: false, // whether the server's settings have come
    query: null, // a link's settings that the server has not taken in yet
    notice: null,
    pressed: false, // whether Train was, since a GPU was asked for
    sought: 0, // when a GPU was asked for
    described: 0, // the newest question what the settings mean
  };
}

// A lesson plays in a scene as if it were one of its own, so that a person's own is there afterwards.
export function addLesson(lesson, number) {
  const { controls, presets } = scenes.get(lesson.scene), key = `lesson-${lesson.key}`;
  const scene = makeScene(key, lesson.scene, controls, presets);
  scenes.set(key, Object.assign(scene, { lesson: { ...lesson, number }, settings: { ...lesson.settings } }));
}

// The scene of a link, which is the first where it names none, or where this person was last.
export function firstScene(query) {
  const asked = query ? query.scene : recall("scene");
  return scenes.has(asked) ? asked : scenes.keys().next().value;
}

export function goTo(key) {
  here = own = scenes.get(key);
  remember("scene", key);
}

// Show another's training; the own one stays where it is.
export function visit(scene) {
  here = scene;
}
