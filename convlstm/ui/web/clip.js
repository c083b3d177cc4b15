// One's own clip: a file, a video that the browser plays, or the camera. Videos and the camera become
// the same array that a file may hold; what it may be, the server decides.
import { $, hear, make, setText } from "./dom.js";
import { showNotice } from "./notices.js";
import { bringIntoSight, goToMoment, togglePlaying } from "./player.js";
import { askRun, lookAtSample } from "./runs.js";
import { here } from "./scenes.js";
import { send } from "./server.js";
import { showSettings } from "./settings.js";
import { text } from "./words.js";

const NARROW = "(max-width: 860px)";
const SIDE = 96; // px of the frames that are sent: the largest canvas
const FEWEST = 20, MOST = 600; // frames
const VIDEO_RATE = 15, CAMERA_RATE = 10; // frames taken a second
const SHORTEST = 0.6; // s of a video with enough frames
const CAMERA_SECONDS = 10;
const MOST_BYTES = 2 ** 26; // of a file

let camera = null; // the stream, while it is on
let goesOn = false; // whether what comes after the end is to be played as soon as it is there

export const CLIP = { beyond: lookBeyond, camera: openCamera, record: recordCamera }; // by the names of their buttons

export function prepareClip() {
  $("[data-do=upload-clip]").addEventListener("change", ({ target }) => openClip(target));
  hear("entered", closeCamera);
  hear("pictured", () => {
    if (!goesOn || !here.frames.picture.beyond) return;
    goesOn = false;
    goToMoment(0);
    togglePlaying();
  });
}

export function showClip({ stage }) {
  const home = matchMedia(NARROW).matches ? $(".work") : $(".settings"); // a drawer would hide it
  if ($(".clip").parentElement !== home) home.prepend($(".clip"));
  $(".clip").hidden = !stage.brings;
  $("[data-do=beyond]").hidden = !stage.brings;
}

function lookBeyond() {
  goesOn = true;
  bringIntoSight();
  lookAtSample("beyond");
}

async function openClip(input) {
  const [file] = input.files, scene = here;
  input.value = ""; // so that the same file can be chosen again
  if (!file) return;
  if (!isVideo(file)) return sendClip(file, scene);
  try {
    const frames = await framesOf(file);
    await sendClip(new File([npy(frames)], "clip.npy"), scene);
  } catch (error) {
    showNotice({ key: error.key ?? "clip video" }, scene);
  } finally {
    say("");
  }
}

async function sendClip(file, scene) {
  if (file.size > MOST_BYTES) return showNotice({ key: "clip large" }, scene);
  say(text("clip sending"));
  let reply;
  try {
    const { path } = await send(file);
    reply = await askRun("open_clip", { path, settings: scene.settings }, scene);
  } catch {
    reply = { notice: { key: "too large" } };
  }
  say("");
  if (!reply) return;
  if (reply.settings) Object.assign(scene.settings, reply.settings);
  if (reply.settings && scene === here) showSettings();
  if (reply.notice) showNotice(reply.notice, scene);
}

const isVideo = ({ type, name }) => type.startsWith("video/") || /\.(mp4|m4v|mov|webm|ogv|mkv)$/i.test(name);
const say = (words) => setText($(".clip-said"), words);
const refusal = (key) => Object.assign(new Error(key), { key });
const happens = (target, name) => new Promise((resolve, reject) => {
  target.addEventListener(name, resolve, { once: true });
  target.addEventListener("error", () => reject(refusal("clip video")), { once: true });
});

// The middle square of what a video shows now, as red, green and blue.
function squareOf(video, ink) {
  const { videoWidth: width, videoHeight: height } = video, side = Math.min(width, height);
  ink.drawImage(video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  const rgba = ink.getImageData(0, 0, SIDE, SIDE).data, rgb = new Uint8Array(3 * SIDE * SIDE);
  for (let from = 0, to = 0; to < rgb.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

function makeInk() {
  const ink = make("canvas", { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
  ink.imageSmoothingQuality = "high";
  return ink;
}

async function framesOf(file) {
  const video = make("video", { preload: "auto", playsinline: "" }), ink = makeInk(), frames = [];
  video.muted = true;
  video.src = URL.createObjectURL(file);
  try {
    await happens(video, "loadeddata");
    if (video.duration === Infinity) { // what a recorder of a browser made does not say how long it is
      video.currentTime = 1e9;
      await happens(video, "seeked");
    }
    const seconds = video.duration;
    if (!video.videoWidth || !(seconds > 0)) throw refusal("clip video");
    if (seconds < SHORTEST) throw refusal("clip short");
    const count = Math.min(MOST, Math.max(FEWEST, Math.round(seconds * VIDEO_RATE)));
    for (let n = 0; n < count; n += 1) {
      video.currentTime = ((n + 0.5) * seconds) / count;
      await happens(video, "seeked");
      frames.push(squareOf(video, ink));
      if (n % 10 === 9) say(text("clip reading", { n: n + 1, of: count }));
    }
  } finally {
    URL.revokeObjectURL(video.src);
  }
  return frames;
}

// Frames as a file of NumPy's: (T, SIDE, SIDE, 3), bytes.
function npy(frames) {
  const head = `{'descr': '|u1', 'fortran_order': False, 'shape': (${frames.length}, ${SIDE}, ${SIDE}, 3), }`;
  const padded = head.padEnd(64 * Math.ceil((head.length + 11) / 64) - 11) + "\n";
  const size = padded.length, start = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, size & 255, size >> 8];
  return new Blob([new Uint8Array(start), padded, ...frames]);
}

async function openCamera() {
  if (camera) return closeCamera();
  if (!navigator.mediaDevices?.getUserMedia) return showNotice({ key: "camera unsafe" });
  const scene = here;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320 }, audio: false });
    if (scene !== here) return stopTracks(stream);
    camera = stream;
  } catch (error) {
    return showNotice({ key: error.name === "NotAllowedError" ? "camera refused" : "no camera" }, scene);
  }
  const video = $(".clip video");
  video.srcObject = camera;
  video.play();
  showCamera();
}

async function recordCamera(button) {
  const scene = here, video = $(".clip video"), ink = makeInk(), frames = [], count = CAMERA_SECONDS * CAMERA_RATE;
  const of = camera;
  button.disabled = true;
  for (let started = performance.now(); frames.length < count && camera === of;) {
    await new Promise((resolve) => { setTimeout(resolve, Math.max(0, started + (1000 * frames.length) / CAMERA_RATE - performance.now())); });
    if (camera !== of) break;
    frames.push(squareOf(video, ink));
    say(text("clip recording", { n: Math.ceil((count - frames.length) / CAMERA_RATE) }));
  }
  button.disabled = false;
  say("");
  if (camera !== of) return; // closed meanwhile
  closeCamera();
  await sendClip(new File([npy(frames)], "camera.npy"), scene);
}

const stopTracks = (stream) => stream.getTracks().forEach((track) => track.stop());

function closeCamera() {
  if (!camera) return;
  stopTracks(camera);
  camera = null;
  $(".clip video").srcObject = null;
  showCamera();
}

function showCamera() {
  $(".clip-camera").hidden = !camera;
  $("[data-do=camera]").setAttribute("aria-pressed", String(Boolean(camera)));
}
