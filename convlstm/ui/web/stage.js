// The stage: what was seen, what followed, what was predicted and where that errs, frame by frame.
import { gainOf, showBrightness } from "./brighten.js";
import { fullErrorOf, gradient } from "./colours.js";
import { describeFrame } from "./describe.js";
import { showClip } from "./clip.js";
import { $, $$, make, setText, tell } from "./dom.js";
import { framesAt, unpackPicture } from "./frames.js";
import { drawLeadTimes } from "./lead.js";
import { moment, withUnit } from "./numbers.js";
import { paint } from "./paint.js";
import { drawPlayer, isCloseUp, playOnce } from "./player.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const ROWS = ["input", "truth", "prediction", "error"];

// Unpack and draw a scene's picture, where it is new; where a newer one comes meanwhile, only that one.
export async function showPicture(scene) {
  const { picture, stage } = scene.snapshot;
  const version = picture && picture.sprites + JSON.stringify([stage, picture.sample, picture.speed]);
  if (!picture || scene.version === version) return;
  scene.version = version;
  const frames = await unpackPicture(picture);
  if (scene.version !== version) return;
  scene.frames = frames;
  if (scene !== here) return;
  playOnce();
  drawStage();
  tell("pictured");
}

export const roomFor = (what) => parseFloat(getComputedStyle($(".stage")).getPropertyValue(`--${what}`));

export function drawStage() {
  const { frames, snapshot } = here;
  const shown = Boolean(frames && snapshot);
  $(".stage").classList.toggle("empty", !shown);
  if (!shown) return;
  const { stage } = snapshot, { picture } = frames;
  $("[data-do=closeup]").hidden = !stage.closeUp;
  $(".draw").hidden = !stage.drawable;
  showClip(snapshot);
  setText($(".stage-title"), text("stage title", { n: picture.context, m: picture.horizon }));
  setText($(".sample-name"), sampleName(picture));
  $("[data-do=leave-speed]").hidden = picture.speed === null && !picture.beyond;
  $(".stage").classList.toggle("beyond", Boolean(picture.beyond));
  showBrightness(stage);
  drawRows(frames, stage);
  drawKeys(stage);
  drawMoment();
}

function sampleName({ sample, samples, speed, beyond }) {
  if (beyond) return text("after the end");
  if (sample === null) return text("your drawing");
  return text(speed === null ? "sample" : "speed sample", { n: sample + 1, of: samples, speed });
}

// What changes while the sequence plays.
export function drawMoment() {
  const { frames, snapshot } = here;
  if (!frames || !snapshot) return;
  $(".stage").classList.toggle("close", isCloseUp(snapshot.stage)); // its frames have less room each
  const lead = drawPlayer(frames, snapshot.stage, roomFor("view"));
  for (const figure of $$(".row-frames figure")) figure.classList.toggle("now", Number(figure.dataset.lead) === lead);
  drawLeadTimes({ stage: snapshot.stage, picture: frames.picture }, lead);
}

function drawRows(frames, stage) {
  const { picture } = frames, room = roomFor("thumb"), rows = $(".rows");
  if (!rows.children.length) {
    for (const name of ROWS) rows.append(make("h3", { class: name }), make("div", { class: `row-frames ${name}`, role: "list" }));
  }
  ROWS.forEach((name, n) => {
    const leads = name === "input" ? frames.seen.map((_, i) => i + 1 - frames.seen.length) : frames.truth.map((_, i) => i + 1);
    const list = rows.children[2 * n + 1];
    setText(rows.children[2 * n], text(`row ${name}`));
    list.setAttribute("aria-label", text(`row ${name}`));
    if ($$("figure", list).map(({ dataset }) => dataset.lead).join() !== leads.join()) list.replaceChildren(...leads.map(thumbnail));
    leads.forEach((lead, i) => {
      const shown = framesAt(frames, lead), { truth, prediction } = shown, canvas = $("canvas", list.children[i]);
      const frame = name === "prediction" || name === "error" ? prediction : truth;
      paint(canvas, frame, { picture, stage, room, gain: gainOf(stage), truth: name === "error" ? truth : null });
      canvas.setAttribute("aria-label", describeFrame(name, lead, shown, picture, stage));
      // Moments stand under what was seen and under the truth: once for each column.
      if (name === "input" || name === (picture.beyond ? "prediction" : "truth")) setText($("figcaption", list.children[i]), picture.times?.[picture.context + lead - 1] ?? moment(lead));
    });
  });
}

function thumbnail(lead) {
  // The scrubber is the same for the keyboard: forty stops for the tabulator would be a burden.
  const figure = make("figure", { role: "listitem", "data-lead": lead }, make("canvas", { role: "img" }), make("figcaption", { "aria-hidden": "true" }));
  figure.addEventListener("click", () => tell("moment", lead));
  return figure;
}

// What the colours mean.
function drawKeys({ colours, low, high, unit }) {
  const isMap = colours === "map";
  $(".colour-bar").hidden = !isMap;
  $(".colour-bar i").style.background = gradient;
  setText($(".bar-low"), String(Number(low.toPrecision(4))));
  setText($(".bar-high"), withUnit(String(Number(high.toPrecision(4))), unit));
  setText($(".error-key .under"), text(`under ${colours}`));
  setText($(".error-key .over"), text(`over ${colours}`));
  setText($(".error-key .full"), isMap ? text("full colour", { n: withUnit(String(Number((fullErrorOf(colours) * (high - low)).toPrecision(2))), unit) }) : "");
}
