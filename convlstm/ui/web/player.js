// The player: truth, prediction and error of one moment, larger; a scrubber over all moments.
import { describeFrame } from "./describe.js";
import { gainOf } from "./brighten.js";
import { $, fillSlider, setText, tell } from "./dom.js";
import { framesAt } from "./frames.js";
import { errorNumber, moment, ratio, withUnit } from "./numbers.js";
import { closeUpWindow, paint } from "./paint.js";
import { isPlaceAsked } from "./places.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const FRAME_TIME = 200; // ms
let lead = 1; // frames after the last one seen; 0 and less were seen
let isClose = true;
let playing = 0, opened = false; // opened: the sequence plays by itself only once

const limit = ({ picture }) => Math.max(1 - picture.context, Math.min(picture.horizon, lead));

// Draw the moment on show; returns it.
export function drawPlayer(frames, stage, room) {
  const { picture } = frames, now = limit(frames);
  const { truth, prediction } = framesAt(frames, now), seen = now < 1;
  const window = isCloseUp(stage) ? closeUpWindow(truth, picture) : null;
  const options = { picture, stage, room, window, lines: true, gain: gainOf(stage) };
  paint($(".view.truth canvas"), truth, options);
  paint($(".view.prediction canvas"), prediction, options);
  paint($(".view.error canvas"), prediction, { ...options, truth });
  drawWhole(truth, options);
  for (const name of ["prediction", "error"]) $(`.view.${name}`).classList.toggle("seen", seen);

  const time = picture.times?.[picture.context + now - 1], score = seen ? null : picture.scores[now - 1];
  const when = seen ? `${moment(now)}${text("comma")}${text("seen")}` : moment(now);
  const error = score ? `${stage.error.kind.toUpperCase()} ${withUnit(errorNumber(score.error, stage.error), stage.error.unit)}` : "";
  setText($(".when"), time ?? when);
  setText($(".frame-ssim"), score && !picture.beyond ? `SSIM ${ratio(score.ssim)}` : "");
  setText($(".frame-error"), error);
  $(".frame-ssim").title = score ? baselinesOf((name) => ratio(picture.baselines[name][now - 1].ssim), stage) : "";
  $(".frame-error").title = score ? baselinesOf((name) => errorNumber(picture.baselines[name][now - 1].error, stage.error), stage) : "";
  for (const name of ["truth", "prediction", "error"]) {
    $(`.view.${name} canvas`).setAttribute("aria-label", describeFrame(name, now, { truth, prediction }, picture, stage));
  }

  const scrubber = $("[data-do=scrub]"), words = [when, time].filter(Boolean).join(" · ");
  Object.assign(scrubber, { min: 1 - picture.context, max: picture.horizon, value: now });
  fillSlider(scrubber);
  scrubber.setAttribute("aria-valuetext", [wordMoment(now), time].filter(Boolean).join(text("comma")));
  setText($(".moment"), words);
  return now;
}

// A moment for a listener, to whom "t + 1" says little.
function wordMoment(lead) {
  if (lead === 0) return text("moment last");
  return lead > 0 ? text("moment ahead", { n: lead }) : text("moment before", { n: -lead });
}

export const isCloseUp = ({ closeUp }) => isClose && closeUp && !isPlaceAsked();

// Beside a close-up, the whole frame, and where in it one looks.
function drawWhole(truth, options) {
  const whole = $(".view.whole"), { window, picture: { width, height } } = options;
  whole.hidden = !window;
  if (!window) return;
  paint($("canvas", whole), truth, { ...options, window: null });
  const [left, top, wide, high] = window, place = { left: left / width, top: top / height, width: wide / width, height: high / height };
  for (const [side, share] of Object.entries(place)) $(".window", whole).style[side] = `${100 * share}%`;
}

function baselinesOf(write, { baselines }) {
  return baselines.map((name) => `${text(`baseline ${name}`)} ${write(name)}`).join(text("comma"));
}

export const momentShown = () => (here?.frames ? limit(here.frames) : 0);

// Somebody goes to a moment: whatever plays, rests.
export function goToMoment(to) {
  stop();
  lead = to;
  tell("drawn");
}

// What answers a press is to be seen, on a phone too.
export const bringIntoSight = () => $(".player").scrollIntoView({ block: "nearest" });

export function toggleCloseUp(button) {
  isClose = !isClose;
  button.setAttribute("aria-pressed", String(isClose));
  tell("drawn");
}

export function togglePlaying() {
  bringIntoSight();
  if (playing) stop();
  else play(() => (limit(here.frames) >= here.frames.picture.horizon ? 1 - here.frames.picture.context : limit(here.frames) + 1));
}

// The first sequence plays once from its beginning, and rests on its last frame.
export function playOnce() {
  if (opened) return;
  opened = true;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  lead = 1 - here.frames.picture.context;
  play(() => {
    if (lead >= here.frames.picture.horizon) stop();
    return Math.min(lead + 1, here.frames.picture.horizon);
  });
}

function play(next) {
  playing = setInterval(() => {
    if (!here.frames) return;
    lead = next();
    tell("drawn");
  }, FRAME_TIME);
  showPlaying();
}

function stop() {
  clearInterval(playing);
  playing = 0;
  showPlaying();
}

function showPlaying() {
  const button = $("[data-do=animate]");
  button.setAttribute("aria-pressed", String(Boolean(playing)));
  setText($(".glyph", button), playing ? "❚❚" : "▶");
}
