// The teacher's board: one row for each student. Rows keep their place; where they are sorted by what
// moves, they change places every few seconds at most.
import { points } from "./axes.js";
import { $, $$, make, setText, shape } from "./dom.js";
import { errorNumber, settingValue, withUnit } from "./numbers.js";
import { scenes } from "./scenes.js";
import { beats } from "./scores.js";
import { drawSpark } from "./spark.js";
import { shortState } from "./status.js";
import { isWorded, text } from "./words.js";

const SETTLED = 5000; // ms between two orders of the same rows
const ACTIVE = ["training", "waiting"], DONE = ["goal", "finished", "patience"];
const GLYPHS = { waiting: "…", training: "▶", paused: "❚❚", stopped: "■", goal: "✓", finished: "✓", patience: "✓", diverged: "✗", failed: "✗" };

// What rows are sorted by, and whether its first order is from the highest down. Errors are told as a
// share of the better baseline's: scenes have units of their own.
const SORTS = {
  student: { of: () => 0, descends: false },
  progress: { of: ({ state, step, steps }) => (state && state !== "shipped" ? step / Math.max(1, steps) : -1), descends: true },
  best: { of: ({ best, baseline }) => (Number.isFinite(best) && baseline ? best / baseline[1] : Infinity), descends: false },
};

const sort = { by: "student", turned: false, at: 0 };
let newest = null;

export function prepareBoard() {
  for (const heading of $$(".board [data-sort]")) {
    $("button", heading).addEventListener("click", () => {
      const { sort: by } = heading.dataset;
      Object.assign(sort, { by, turned: sort.by === by && !sort.turned, at: 0 });
      showSort();
      if (newest) showBoard(newest);
    });
  }
  showSort();
}

function showSort() {
  for (const heading of $$(".board [data-sort]")) {
    const { sort: by } = heading.dataset;
    if (by === sort.by) heading.setAttribute("aria-sort", SORTS[by].descends === sort.turned ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  }
}

const nameOf = ({ name, number }) => name || text("student", { n: number });

export function compareRows(one, other, by, turned) {
  const { of, descends } = SORTS[by], sign = descends === turned ? 1 : -1;
  const apart = of(one) - of(other); // two without a score are NaN apart
  if (Math.abs(apart) === Infinity) return apart; // who has none comes last in any order
  if (apart) return sign * apart;
  const names = nameOf(one).localeCompare(nameOf(other), undefined, { numeric: true }) || one.number - other.number;
  return by === "student" ? sign * names : names;
}

// A reply of the server: {rows, address, following}.
export function showBoard(reply) {
  newest = reply;
  const { rows, address } = reply;
  setText($(".board-counts"), rows.length ? countsOf(rows) : "");
  const where = /^(localhost|127\.|\[::1\])/.test(location.hostname) && address ? address : location.origin;
  setText($(".board-address"), text("board address", { address: where }));
  setText($(".board-empty"), rows.length ? "" : text("board empty"));
  const body = $(".board tbody"), lines = new Map($$("tr", body).map((line) => [Number(line.dataset.number), line]));
  const known = rows.every(({ number }) => lines.has(number)) && lines.size === rows.length;
  for (const row of rows) {
    if (!lines.has(row.number)) lines.set(row.number, makeLine(row.number));
    showRow(lines.get(row.number), row);
  }
  if (known && Date.now() - sort.at < SETTLED) return;
  sort.at = Date.now();
  const ordered = [...rows].sort((one, other) => compareRows(one, other, sort.by, sort.turned)).map(({ number }) => lines.get(number));
  if (ordered.some((line, n) => body.children[n] !== line) || !known) body.replaceChildren(...ordered);
}

function countsOf(rows) {
  const here = rows.filter((row) => row.here);
  const count = (states) => here.filter(({ state }) => states.includes(state)).length;
  return text("board counts", { here: here.length, training: count(ACTIVE), done: count(DONE) });
}

function makeLine(number) {
  const cell = (...children) => make("td", {}, ...children);
  return make("tr", { "data-number": number },
    make("th", { scope: "row" }), cell(), cell(),
    cell(make("span", { class: "progress", "aria-hidden": "true" }), make("span", {})),
    cell(make("span", { class: "soft" }), make("span", { class: "best" }), make("span", { class: "soft" })),
    cell(shape("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" })));
}

function showRow(line, row) {
  const [student, trains, state, progress, best, curve] = line.children;
  const own = row.state && row.state !== "shipped"; // or there is nothing of their own to show
  line.classList.toggle("left", !row.here);
  setCell(student, nameOf(row));
  setCell(trains, own ? trainingOf(row) : row.scene ? text(`scene ${row.scene}`) : "");
  setCell(state, stateOf(row));
  if (!row.here) state.title = text("help board left");
  $(".progress", progress).hidden = !own;
  $(".progress", progress).style.setProperty("--fill", own ? `${(100 * row.step) / Math.max(1, row.steps)}%` : "0%");
  setText(progress.lastChild, own ? text("epoch", { n: row.epoch, of: row.epochs }) : "");
  showBest(best.children, row);
  best.title = best.textContent;
  drawSpark(curve.firstChild, points(row.curve ?? ""), row);
}

function setCell(cell, words) {
  setText(cell, words);
  cell.title = words; // where it is cut off
}

function showBest([before, number, after], { best, baseline, error }) {
  const has = Number.isFinite(best);
  const write = (value) => withUnit(errorNumber(value, error), error.unit);
  setText(before, has ? `${text(`measure ${error.kind}`)} ` : "");
  const good = has && Boolean(baseline) && beats(best, [baseline[1]]);
  setText(number, has ? `${write(best)}${good ? " ✓" : ""}` : "–");
  number.classList.toggle("good", good);
  setText(after, has && baseline ? ` · ${text(`baseline ${baseline[0]}`)} ${write(baseline[1])}` : "");
}

function stateOf({ here, state, reason, place }) {
  if (!state) return text("short state connecting");
  const words = [GLYPHS[state], shortState(state, place)].filter(Boolean).join(" ");
  if (!here) return text("board left", { state: shortState(state, place) });
  return isWorded(`reason ${reason}`) ? `${words}${text("comma")}${text(`reason ${reason}`)}` : words;
}

// What somebody trains, in words: a preset's name, or what is other than in the first preset.
function trainingOf({ scene, preset, settings }) {
  if (preset) return `${text(`scene ${scene}`)} · ${text(`preset ${preset}`)}`;
  const { controls } = scenes.get(scene);
  const words = Object.entries(settings).map(([name, value]) => `${text(`name ${name}`, {}, scene)} ${settingValue(controls.find((each) => each.name === name), value)}`);
  return [text(`scene ${scene}`), words.join(text("comma")) || text("preset own")].join(" · ");
}
