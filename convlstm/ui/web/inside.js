// Inside the cell: maps of a moment, asked for while the card is open and never otherwise.
import { experiment, forgetChanges, showChanges, showCompared, showSwitches, unpackCompared } from "./changes.js";
import { $, fillSlider, hear, make, setText } from "./dom.js";
import { framesAt } from "./frames.js";
import { showField } from "./field.js";
import { channelsAtOnce, clearMaps, drawMaps, unpackMaps } from "./maps.js";
import { showNotice } from "./notices.js";
import { moment } from "./numbers.js";
import { showPixel } from "./pixel.js";
import { momentShown } from "./player.js";
import { showRanked } from "./ranked.js";
import { askRun } from "./runs.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const OF_NETWORK = ["cell", "channel", "row", "column"]; // what another network may not have
const LIVE = 500; // ms between two looks while it trains

let open = false, scene = null;
let cell = 0, first = 0, pixel = null; // what is looked at
let answer = null;
let asking = false, stale = false, askedAt = 0, waiting = 0;

export function useInside() {
  hear("drawn", refresh);
  hear("changes", refresh);
  hear("entered", refresh);
  hear("pictured", refreshSoon); // another sequence, or the same one after more training
  hear("pixel", (chosen) => {
    pixel = chosen;
    refresh();
  });
  hear("snapshot", (of) => {
    if (!open || of !== here || !answer) return;
    showRanked(here.snapshot, answer.cells);
    if (answer.step !== here.snapshot.step) refreshSoon();
  });
}

export function openInside() {
  open = !open;
  $("#cp-inside").hidden = !open;
  $(".stage [data-do=look-inside]").setAttribute("aria-expanded", String(open));
  if (!open) {
    showField(null);
    return $(".stage [data-do=look-inside]").focus();
  }
  $("#cp-inside").focus({ preventScroll: true });
  $("#cp-inside").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  showSwitches(cell);
  return refresh();
}

// Another scene: another network.
function leaveCell() {
  if (scene === here) return;
  scene = here;
  [cell, first, pixel, answer] = [0, 0, null, null];
  forgetChanges();
  clearMaps();
  showPixel(null);
  showField(null);
  showCompared({ experiment: null });
}

function refreshSoon() {
  if (!open || waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    refresh();
  }, Math.max(0, askedAt + LIVE - Date.now()));
}

async function refresh() {
  if (!open || document.hidden) return;
  leaveCell(); // before its first frames come, or the maps shown until then would be another's
  if (!here?.frames) return;
  if (asking) {
    stale = true;
    return;
  }
  [asking, stale, askedAt] = [true, false, Date.now()];
  const asked = { cell, channel: first, channels: channelsAtOnce(), moment: momentShown(), pixel, experiment: experiment() };
  const of = here, reply = await askRun("look_inside", { asked }, of).catch(() => null);
  asking = false;
  if (reply?.notice) {
    if (OF_NETWORK.includes(reply.notice.name)) [cell, first, pixel] = [0, 0, null]; // a smaller network by now
    if (["refused", "lost"].includes(reply.notice.key)) forgetChanges();
    showNotice(reply.notice, of);
  } else if (reply && of === here && open) {
    answer = reply;
    await showInside();
  }
  if (stale) refresh();
}

export async function showInside() {
  if (!open || !answer || scene !== here || !here.frames) return;
  const told = answer, [frames, compared] = await Promise.all([unpackMaps(told), unpackCompared(told, here.frames.picture)]);
  if (answer !== told) return; // a newer one, or another network
  const { cells, channels } = answer, total = cells[answer.cell].channels;
  const now = moment(answer.moment);
  setText($(".inside-when"), text(answer.moment > 0 ? "inside predicted" : "inside seen", { moment: now }));
  setText($(".inside-range"), text(channels.length > 1 ? "channels shown" : "channel shown", { from: channels[0] + 1, to: channels.at(-1) + 1, of: total }));
  $("[data-do=channels-back]").disabled = first === 0;
  $("[data-do=channels-on]").disabled = first + channelsAtOnce() >= total;
  showCells(cells);
  showScrubber();
  showSwitches(answer.cell);
  showChanges(total);
  drawMaps(answer, frames, pixel);
  showPixel(answer.pixel);
  showField(answer.pixel && answer, here.frames.picture);
  setText($(".inside-field"), answer.pixel && answer.reach !== null ? text("field words", { radius: answer.reach, hop: answer.hop }) : "");
  showReach();
  showRanked(here.snapshot, cells);
  showCompared(answer, compared);
}

function showCells(cells) {
  const list = $(".inside-cells");
  list.hidden = cells.length < 2;
  if (list.children.length !== cells.length) list.replaceChildren(...cells.map((_, n) => make("button", { type: "button", "data-do": "cell", "data-cell": n })));
  cells.forEach(({ role, number }, n) => {
    setText(list.children[n], text(`cell ${role}`, { n: number + 1 }));
    list.children[n].setAttribute("aria-pressed", String(n === answer.cell));
  });
}

function showScrubber() {
  const input = $("[data-do=inside-scrub]"), { picture } = here.frames;
  Object.assign(input, { min: 1 - picture.context, max: picture.horizon, value: momentShown() });
  fillSlider(input);
  input.setAttribute("aria-valuetext", moment(momentShown()));
  setText($(".inside-moment output"), moment(momentShown()));
}

// What moves further in a frame than information does is predicted from nothing.
function showReach() {
  const { picture } = here.frames, { stage } = here.snapshot, at = answer.moment;
  const moves = stage.colours === "grey" && !stage.brings && at < picture.horizon ? distance(framesAt(here.frames, at).truth, framesAt(here.frames, at + 1).truth, picture.width) : 0;
  setText($(".inside-reach"), moves > answer.travels ? text("outside reach", { moves, reach: answer.travels }) : "");
}

// How far the bright pixel that is furthest from the earlier ones lies from the nearest of them, px.
export function distance(before, after, width) {
  const bright = ({ grey }) => [...grey.keys()].filter((i) => grey[i] > 127).map((i) => [i % width, Math.floor(i / width)]);
  const from = bright(before), to = bright(after);
  if (!from.length || !to.length) return 0;
  return Math.max(...to.map(([x, y]) => Math.min(...from.map(([u, v]) => Math.max(Math.abs(x - u), Math.abs(y - v))))));
}

export function turnChannels(by) {
  first = Math.max(0, Math.min(first + by * channelsAtOnce(), answer.cells[cell].channels - 1));
  refresh();
}

export function turnCell(button) {
  cell = Number(button.dataset.cell);
  [first, pixel] = [0, null];
  refresh();
}
