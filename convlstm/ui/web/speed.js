// The speed test: asked for, followed, and drawn; a speed chosen there is looked at on the stage.
import { $, $$, make, setText, tell } from "./dom.js";
import { baselinesBeaten, buildHeat } from "./heat.js";
import { showNotice } from "./notices.js";
import { count } from "./numbers.js";
import { askRun, lookAtSample } from "./runs.js";
import { here } from "./scenes.js";
import { drawSpeeds } from "./speedchart.js";
import { language, text } from "./words.js";

const KIND = "speed";

let lead = null; // the lead time of the chart: 1, "mean", or null as long as nobody chose
let drawn = ""; // what the drawings show

const studyOf = ({ study }) => (study?.kind === KIND ? study : null);

export async function testSpeeds() {
  const scene = here, reply = await askRun("study", { kind: KIND, options: null }, scene);
  if (reply) showNotice(reply.notice ?? null, scene);
}

export async function stopStudy() {
  const scene = here, reply = await askRun("stop_study", {}, scene);
  if (reply?.notice) showNotice(reply.notice, scene);
}

// Show one of a speed's sequences on the stage.
export const lookAtSpeed = (speed) => lookAtSample(0, speed);

export function showSpeed(snapshot) {
  const hasSpeeds = Boolean(snapshot?.stage.hasSpeeds), tab = $("[data-tab=speed]");
  tab.hidden = !hasSpeeds;
  if (!hasSpeeds) {
    if (tab.getAttribute("aria-selected") === "true") tell("tab", "share");
    return;
  }
  if ($("#cp-speed").hidden) return;
  const study = studyOf(snapshot), running = study?.state === "running";
  setText($(".speed-intro"), text("speed intro"));
  $("[data-do=test-speeds]").hidden = running;
  $("[data-do=stop-study]").hidden = !running;
  $("progress.speed-done").hidden = !running;
  $("progress.speed-done").value = study?.done ?? 0;
  setText($("[data-do=test-speeds]"), text(study ? "speed again" : "speed go"));
  setText($(".speed-share"), running ? text("speed running", { n: Math.round(100 * study.done) }) : "");
  setText($(".speed-heard"), study ? stateWords(study, snapshot) : "");
  $(".speed-found").hidden = !study?.result;
  if (study?.result) showResult(study.result, snapshot);
}

// Read aloud when it changes, and not at every share.
function stateWords({ state, step }, snapshot) {
  const which = snapshot.shipped ? " shipped" : "";
  if (state === "running") return text(`speed asks${which}`, { n: count(step) });
  if (state !== "done") return text(`study ${state}`);
  const found = text(`speed done${which}`, { n: count(step) });
  return snapshot.step > step ? `${found} ${text("speed stale")}` : found;
}

function showResult(result, snapshot) {
  const { stage } = snapshot, speed = snapshot.picture?.speed ?? null;
  const chosen = lead ?? (snapshot.horizonEnd === 1 ? 1 : "mean");
  const room = $(".speed-found").getBoundingClientRect().width;
  const now = JSON.stringify([result, stage, chosen, speed, language, room, document.body.className]);
  if (now === drawn) return;
  drawn = now;
  for (const input of $$("[name=cp-speed-lead]")) input.checked = input.value === String(chosen);
  setText($(".speed-mean"), text("speed lead mean", { n: result.horizon }));
  showButtons(result.speeds, speed);
  drawSpeeds(result, stage, chosen, speed);
  buildHeat(result, stage);
  setText($(".speed-summary"), summary(result, stage, chosen));
}

// What the chart says, in a sentence.
function summary(result, stage, chosen) {
  const good = baselinesBeaten(result, stage, chosen);
  const trained = result.trained[0] === result.trained[1] ? `${result.trained[0]}` : `${result.trained[0]}–${result.trained[1]}`;
  return text(good.length ? "speed follows" : "speed follows none", { speeds: good.join(text("comma")), trained });
}

function showButtons(speeds, shown) {
  const row = $(".speed-buttons");
  if (row.children.length !== speeds.length) {
    row.replaceChildren(...speeds.map((speed) => make("button", { type: "button", "data-do": "look-speed", "data-speed": speed }, String(speed))));
  }
  for (const button of row.children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.speed) === shown));
    button.setAttribute("aria-label", text("speed look at", { n: button.dataset.speed }));
  }
}

export function chooseLead(value) {
  lead = value === "mean" ? value : Number(value);
  showSpeed(here.snapshot);
}
