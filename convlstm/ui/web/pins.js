// Runs pinned beside the scene's run, compared with it: curves, scores, what differs, predictions.
import { $, make, setText, tell } from "./dom.js";
import { showNotice } from "./notices.js";
import { count, errorNumber, percent, ratio, withUnit } from "./numbers.js";
import { drawPinCurves } from "./pincurves.js";
import { drawPinRows } from "./pinrows.js";
import { askRun } from "./runs.js";
import { here } from "./scenes.js";
import { showSettings } from "./settings.js";
import { isWorded, language, text } from "./words.js";

const MOST = 3, PAUSE = 1000; // ms between two questions for predictions, at least

let told = { key: "", pins: [], settings: {} }; // what never changes of the pins, and the run's own settings
let rows = { key: "", rows: [] }; // what they make of the sequence on the stage
let asking = false, askedAt = 0, drawn = "";

export async function pin() {
  const scene = here, reply = await askRun("pin", {}, scene);
  if (reply) showNotice(reply.notice ?? null, scene);
}

export async function unpin(number) {
  if (told.run !== here.run) return; // a table of another scene, about to go
  const scene = here, reply = await askRun("unpin", { number }, scene);
  if (reply?.notice) showNotice(reply.notice, scene);
}

export function usePinned(number) {
  const pinned = told.pins.find((each) => each.number === number);
  if (!pinned || told.run !== here.run) return;
  showSettings(pinned.settings);
  tell("settings");
}

export function showPins(snapshot) {
  if ($("#cp-compare").hidden || !snapshot) return;
  const full = snapshot.pins.count >= MOST, pins = snapshot.teacher ? { count: 0 } : snapshot.pins; // a teacher's are their own
  $("[data-do=pin]").disabled = full;
  setText($(".pin-hint"), text(full ? "pins full" : "pin hint"));
  $("[data-download=comparison]").hidden = pins.count === 0;
  $(".compare-found").hidden = pins.count === 0 || told.run !== here.run;
  if (pins.count === 0) return;
  askForNews(snapshot);
  if (told.pins.length !== pins.count || told.run !== here.run) return;
  const runs = [thisRun(snapshot), ...told.pins.map((each) => ({ ...each, name: pinName(each.number) }))];
  const width = $(".compare-found").getBoundingClientRect().width;
  const now = JSON.stringify([told.key, snapshot.curve, snapshot.scores, snapshot.step, language, width]);
  if (now !== drawn) {
    drawn = now;
    drawPinCurves(runs, snapshot.stage);
    fillTable(runs);
  }
  const current = rows.key === sequenceOf(here, snapshot) ? rows.rows : [];
  drawPinRows(here.frames, snapshot.stage, told.pins.map(({ number }) => ({ name: pinName(number), number, row: current.find((each) => each.number === number) })));
}

const pinName = (number) => text("pin name", { letter: "ABC"[number - 1] });
const thisRun = ({ step, shipped, curve, scores, stage }) => ({ number: 0, name: text("pin this run"), step, shipped, curve, scores, error: stage.error, settings: told.settings });

const sequenceOf = (scene, { pins, picture }) => picture && JSON.stringify([scene.run, pins, picture.sample, picture.speed, picture.baselines]);

// The pins' facts once for each change, their predictions once for each sequence.
async function askForNews(snapshot) {
  const scene = here, { pins, picture, settings, shipped } = snapshot;
  const facts = JSON.stringify([scene.run, pins, settings, shipped]);
  const sequence = sequenceOf(scene, snapshot);
  const wantsFacts = told.key !== facts, wantsRows = sequence && rows.key !== sequence && Date.now() - askedAt >= PAUSE;
  if (asking || !(wantsFacts || wantsRows)) return;
  asking = true;
  try {
    if (wantsFacts) {
      const reply = await askRun("pins", {}, scene);
      if (reply?.pins) told = { key: facts, run: scene.run, ...reply };
    }
    if (wantsRows) {
      askedAt = Date.now();
      const reply = await askRun("compare", {}, scene);
      if (reply?.rows) rows = { key: sequence, rows: await drawPinRows.unpacked(reply.rows, picture) };
    }
  } finally {
    asking = false;
  }
  if (scene === here) showPins(here.snapshot);
}

// The settings in which runs differ, by name.
export function differing(runs) {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  return names.filter((name) => new Set(runs.map(({ settings }) => JSON.stringify(settings[name]))).size > 1);
}

function fillTable(runs) {
  const names = differing(runs);
  const head = ["pin run", "pin error", "ssim", "skill", "pin steps"].map((key) => make("th", { scope: "col" }, text(key)));
  $(".pin-table").replaceChildren(make("thead", {}, make("tr", {}, ...head)), ...runs.map((run) => tableRows(run, names)));
}

// A run's scores, and under them the settings in which it differs.
function tableRows(run, names) {
  const { scores, error, number } = run;
  const own = scores?.model, best = (score, better) => (scores ? bestOf(scores.baselines, score, better) : null);
  const cell = (value, beside) => make("td", {}, make("b", {}, value), ...(beside ? [make("small", {}, beside)] : []));
  const beside = (found, write) => found && `${text(`baseline ${found.name}`)} ${write(found.value)}`;
  const chips = names.map((name) => make("span", { class: "chip" }, `${text(`name ${name}`)} ${wordValue(name, run.settings[name])}`));
  const buttons = number === 0 ? [] : [
    make("button", { type: "button", "data-do": "use-pinned", "data-pin": number }, text("pin use")),
    make("button", { type: "button", "data-do": "unpin", "data-pin": number, "aria-label": text("unpin name", { name: run.name }) }, text("unpin")),
  ];
  const numbers = make("tr", {},
    make("th", { scope: "row" }, make("i", {}), run.name),
    cell(own ? withUnit(errorNumber(own.error, error), error.unit) : "–", own ? beside(best("error", Math.min), (value) => errorNumber(value, error)) : text("pin unscored")),
    cell(own ? ratio(own.ssim) : "–", beside(best("ssim", Math.max), ratio)),
    cell(scores ? percent(scores.skill) : "–"),
    make("td", {}, run.shipped ? text("pin shipped") : count(run.step)));
  const differs = make("tr", { class: "differs" }, make("td", { colspan: 5 }, make("span", { class: "chips" }, text(chips.length ? "pin settings" : "pin same"), ...chips, ...buttons)));
  return make("tbody", { class: `pin-${number}` }, numbers, differs);
}

function bestOf(baselines, score, better) {
  const known = Object.entries(baselines).map(([name, each]) => ({ name, value: each[score] })).filter(({ value }) => Number.isFinite(value));
  return known.find(({ value }) => value === better(...known.map((each) => each.value))) ?? null;
}

function wordValue(name, value) {
  if (typeof value === "boolean") return text(value ? "setting on" : "setting off");
  const control = here.controls.find((each) => each.name === name);
  return isWorded(`choice ${value}`) ? text(`choice ${value}`) : withUnit(String(value), control?.unit);
}
