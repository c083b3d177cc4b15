// A scene's run on the server: found again, followed, told what to do.
import { tell } from "./dom.js";
import { seekGpu } from "./gpu.js";
import { remember } from "./memory.js";
import { showNotice } from "./notices.js";
import { here, own, scenes } from "./scenes.js";
import { ask, follow } from "./server.js";

const SILENCE = 7000, PATIENCE = 3000; // ms: a stream is missed; it is asked for again
const UNDER_WAY = ["training", "waiting", "paused"];

export const isTraining = (snapshot) => ["training", "waiting"].includes(snapshot?.state);

// Find a scene's run again, or open one; a link's query brings settings.
export async function attach(scene, query = null) {
  const first = !scene.settled;
  scene.attaching = true;
  scene.query = query ?? scene.query; // until the server has taken it in
  const reply = await ask("attach", { run: scene.run, query: scene.query, scene: scene.name, lesson: scene.lesson?.key });
  scene.attaching = false;
  scene.heard = Date.now(); // without a run it is asked for again
  if (reply.run) {
    scene.run = reply.run;
    [scene.settled, scene.query] = [true, null];
    remember(`run-${scene.key}`, scene.run);
    if (first || reply.notice?.key === "restarted") {
      Object.assign(scene.settings, reply.settings);
      if (first) scene.locked = reply.locked ?? [];
      tell("settled", scene);
    }
    follow(scene.run);
    tell("attached", scene);
  }
  if (reply.notice) showNotice(reply.notice, scene);
}

// What the server says of a run.
export function receive(value) {
  const scene = [...scenes.values()].find(({ run }) => run && run === value?.run);
  if (!scene) return;
  scene.heard = Date.now();
  if (value.notice?.key === "lost") {
    attach(scene);
    return;
  }
  if (value.notice) return; // a server that is busy is asked again
  if (scene.notice?.key === "offline") showNotice(null, scene);
  if (scene === own) tell("teacher", value.teacher ? value : null);
  if (value.teacher) return; // under this run's name: the run itself goes on behind it
  if (value.resumed.length > (scene.snapshot?.resumed ?? value.resumed).length) showNotice({ key: "resumed" }, scene);
  const before = scene.snapshot;
  scene.snapshot = value;
  seekGpu(scene, before);
  tell("snapshot", scene);
}

// A stream that fell silent (sleeping laptop, lost network, server gone) is asked for again.
export function listenForSilence() {
  setInterval(() => {
    for (const scene of scenes.values()) {
      if (!scene.heard || scene.attaching || Date.now() - scene.heard <= SILENCE) continue;
      scene.heard = Date.now() - SILENCE + PATIENCE;
      attach(scene);
    }
  }, 1000);
}

// A question about a scene's run; asked before there was one, it waits.
export async function askRun(name, payload, scene = here) {
  if (scenes.get(scene.key) !== scene) return null; // a teacher's, which is only looked at
  await scene.attached;
  const reply = await ask(name, { run: scene.run, ...payload });
  if (reply.notice?.key === "lost") {
    await attach(scene);
    return null;
  }
  return reply;
}

export async function act(action, scene = here) {
  if (action === "train") scene.pressed = true;
  const reply = await askRun("act", { action, settings: scene.settings }, scene);
  if (reply) showNotice(reply.notice ?? (reply.kept ? { key: "thrown" } : null), scene);
  return reply;
}

export const isUnderWay = (snapshot) => Boolean(snapshot) && !snapshot.shipped && UNDER_WAY.includes(snapshot.state);

// Speed and learning rate of a run under way change at once; anything else asks for a reset.
export function announceSettings() {
  const { snapshot, notice } = here;
  if (isUnderWay(snapshot)) act("change");
  else if (["refused", "reset"].includes(notice?.key)) showNotice(null);
}

let looking = 0;
export function turnSample(by) {
  const picture = here.snapshot?.picture;
  if (!picture) return;
  lookAtSample(((picture.sample ?? 0) + by + picture.samples) % picture.samples, picture.speed);
}

// Of the scene's own samples, or with a speed of the speed test's.
export function lookAtSample(sample, speed = null) {
  const scene = here;
  clearTimeout(looking);
  looking = setTimeout(async () => {
    const reply = await askRun("look", { sample, speed }, scene);
    if (reply?.notice) showNotice(reply.notice, scene);
  }, 60);
}
