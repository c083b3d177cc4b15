// The line that says what the run does, the transport's buttons, and advice where there is some.
import { announce } from "./announce.js";
import { $, root, setText } from "./dom.js";
import { count, duration, errorNumber, percent, withUnit } from "./numbers.js";
import { isTraining } from "./runs.js";
import { isWorded, language, text } from "./words.js";

const BLACK_STEPS = 30; // before that every network is black
const ADVISED = ["diverged", "failed"];

export function showStatus(snapshot) {
  const state = !snapshot ? "connecting" : snapshot.shipped ? "shipped" : snapshot.state;
  const active = isTraining(snapshot), paused = snapshot?.state === "paused";
  root.dataset.state = state;
  $("[data-do=train]").hidden = active;
  $("[data-do=pause]").hidden = !active;
  $("[data-do=stop]").disabled = !active && !paused;
  setText($("[data-do=train] .word"), text(paused ? "continue" : "train"));
  setText($(".status-text"), snapshot ? statusWords(snapshot, state) : text("connecting"));
  announce([language, snapshot?.run, state].join(), snapshot ? heardWords(snapshot, state) : text("connecting"));
  setText($(".advice"), snapshot ? adviceOn(snapshot) : "");
  setText($(".about"), snapshot ? text("about", { parameters: count(snapshot.parameters), sequences: count(snapshot.sequences) }) : "");
}

// The same for a screen reader: how far it is, and how good.
function heardWords(snapshot, state) {
  const { shipped, epoch, epochs, scores, stage } = snapshot, parts = [stateWords(snapshot, state)];
  if (!shipped) parts.push(text("epoch", { n: epoch, of: epochs }));
  if (!shipped && scores) {
    parts.push(`${text(`error ${stage.error.kind}`)} ${withUnit(errorNumber(scores.model.error, stage.error), stage.error.unit)}`);
    parts.push(`${text("skill")} ${percent(scores.skill)}`);
  }
  parts.push(adviceOn(snapshot));
  return parts.filter(Boolean).join(text("comma"));
}

// Of another's training, without what to press.
function stateWords({ place, teacher }, state) {
  if (!teacher) return text(`state ${state}`, { place });
  return isWorded(`teacher state ${state}`) ? text(`teacher state ${state}`) : shortState(state, place);
}

export function shortState(state, place) {
  return text(isWorded(`short state ${state}`) ? `short state ${state}` : `state ${state}`, { place });
}

function statusWords(snapshot, state) {
  const { epoch, epochs, horizon, horizonEnd, stepMs, left, device, reason } = snapshot, training = snapshot.state === "training";
  const parts = [stateWords(snapshot, state)];
  if (!snapshot.shipped) parts.push(text("epoch", { n: epoch, of: epochs }));
  if (training && horizon < horizonEnd) parts.push(text("horizon now", { n: horizon, of: horizonEnd }));
  if (training && stepMs) parts.push(text("a step", { ms: stepMs }), text("left", { time: duration(left) }));
  parts.push(device === "CUDA" ? "GPU" : device);
  if (isWorded(`reason ${reason}`)) parts.push(text(`reason ${reason}`));
  return parts.join(" · ");
}

function adviceOn({ state, reason, step, scores }) {
  if (ADVISED.includes(state)) return text(`advice ${state}`, { reason: isWorded(`reason ${reason}`) ? text(`reason ${reason}`) : reason ?? "" });
  return scores?.isBlack && step >= BLACK_STEPS ? text("advice black") : "";
}
