// What a person changes inside the network, and what the prediction becomes without it.
import { linearAxis } from "./axes.js";
import { gridLines, label, pathOf, roomOf, tickNumber, typeSize } from "./chart.js";
import { $, $$, make, setText, shape, tell } from "./dom.js";
import { framesAt, unpackSprites } from "./frames.js";
import { errorNumber, moment, withUnit } from "./numbers.js";
import { paint } from "./paint.js";
import { goToMoment, momentShown } from "./player.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const SWITCHED = ["i", "f", "g", "o", "c", "h"];
const PLACES = { f: [176, 104], i: [250, 109], g: [300, 109], o: [345, 193], c: [452, 40], h: [452, 156] };
const ROOM = 128; // px of a compared frame
const CLEARLY = 0.5; // an error that is so much smaller says whose frame it is
const DONOR_MOMENT = -1; // the newest frame of its own is still read

let changes = [], cell = 0, donor = null, guess = "";

export const experiment = () => (donor === null ? (changes.length ? changes : null) : [{ transplant: donor, moment: DONOR_MOMENT }]);

export function forgetChanges() {
  [changes, donor, guess] = [[], null, ""];
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const offOf = (part, channel, of) => ({ part, cell: of, channel, how: "off" });
export const isOff = (part, channel, of) => donor === null && changes.some((each) => each.how === "off" && each.part === part && each.cell === of && (each.channel === null || each.channel === channel));

function changed() {
  donor = null;
  setText($(".transplant-found"), "");
  showSwitches(cell);
  tell("changes");
}

// Switch a part of all channels off, or on again.
export function switchPart(part) {
  const off = offOf(part, null, cell), known = changes.some((each) => same(each, off));
  changes = known ? changes.filter((each) => !same(each, off)) : [...changes, off];
  changed();
}

// Switch what a channel remembers and shows off, or on again.
export function switchChannel(channel) {
  const offs = ["c", "h"].map((part) => offOf(part, channel, cell)), known = offs.every((off) => changes.some((each) => same(each, off)));
  const others = changes.filter((each) => !offs.some((off) => same(each, off)));
  changes = known ? others : [...others, ...offs];
  changed();
}

export function addChange() {
  const valueOf = (name) => $(`[data-do=try-${name}]`).value;
  const part = valueOf("part"), how = valueOf("how"), channel = valueOf("channel") === "" ? null : Number(valueOf("channel"));
  const change = { part, cell, channel, how };
  if (how === "hold") change.start = momentShown();
  if (how === "swap") change.other = Number(valueOf("other"));
  if (!changes.some((each) => same(each, change))) changes = [...changes, change];
  changed();
}

export function removeChange(number) {
  changes = changes.filter((_, n) => n !== number);
  changed();
}

// The drawing of the cell, whose letters are switches.
export function showSwitches(of) {
  cell = of;
  const svg = $(".cell-switches");
  if (!svg.children.length) {
    svg.append(...[...$(".how .cell-drawing").children].map((node) => node.cloneNode(true)));
    svg.append(...SWITCHED.map((part) => {
      const [x, y] = PLACES[part], box = shape("g", { role: "button", tabindex: "0", "data-part": part });
      box.append(shape("rect", { x: x - 17, y: y - 17, width: 34, height: 34, rx: 7 }), shape("text", { x, y: y + 7 }, part));
      box.addEventListener("click", () => switchPart(part));
      box.addEventListener("keydown", (event) => {
        if (![" ", "Enter"].includes(event.key)) return;
        event.preventDefault();
        event.stopPropagation();
        switchPart(part);
      });
      return box;
    }));
  }
  for (const box of $$("[data-part]", svg)) {
    const { part } = box.dataset, off = isOff(part, null, cell) && changes.some((each) => same(each, offOf(part, null, cell)));
    box.setAttribute("aria-pressed", String(off));
    box.setAttribute("aria-label", text("switch label", { part, name: text(`part ${part}`) }));
  }
}

export function showChanges(channels) {
  showTryForm(channels);
  const list = $(".changes");
  const words = changes.map((each) => text(`change ${each.how}`, {
    what: [each.part, each.channel === null ? text("every channel") : text("channel", { n: each.channel + 1 })].join(text("comma")),
    moment: moment(each.start ?? 0),
    other: (each.other ?? 0) + 1,
  }));
  list.replaceChildren(...words.map((what, n) => make("li", {}, what, make("button", { type: "button", "data-do": "try-remove", "data-change": n, "aria-label": text("change remove", { what }) }, "×"))));
}

export function showTryForm(channels) {
  const fill = (name, options) => {
    const menu = $(`[data-do=${name}]`), wanted = JSON.stringify(options);
    if (menu.dataset.options === wanted) return;
    const { value } = menu;
    menu.dataset.options = wanted;
    menu.replaceChildren(...options.map(([key, words]) => make("option", { value: key }, words)));
    if (options.some(([key]) => key === value)) menu.value = value;
  };
  const numbers = Array.from({ length: channels }, (_, n) => [String(n), text("channel", { n: n + 1 })]);
  fill("try-part", SWITCHED.map((part) => [part, `${part} · ${text(`part ${part}`)}`]));
  fill("try-how", ["off", "hold", ...(channels > 1 ? ["swap"] : [])].map((how) => [how, text(`how ${how}`)]));
  const swaps = $("[data-do=try-how]").value === "swap";
  fill("try-channel", [...(swaps ? [] : [["", text("every channel")]]), ...numbers]); // two change places
  fill("try-other", numbers.filter(([key]) => !swaps || key !== $("[data-do=try-channel]").value));
  $("[data-do=try-other]").hidden = !swaps;
  const { picture } = here.frames, others = Array.from({ length: picture.samples }, (_, n) => n).filter((n) => n !== picture.sample);
  fill("transplant-from", others.map((n) => [String(n), text("sample", { n: n + 1, of: picture.samples })]));
  fill("transplant-guess", [["", text("guess none")], ...["own", "other", "nothing"].map((key) => [key, text(`guess ${key}`)])]);
  $("[data-do=transplant]").disabled = !$("[data-do=transplant-guess]").value;
}

export const changeParts = () => showTryForm($$("[data-do=try-channel] option").filter(({ value }) => value).length);

// Let the network go on with what it would remember of another sequence; a guess comes first.
export function transplant() {
  guess = $("[data-do=transplant-guess]").value;
  changes = [];
  donor = Number($("[data-do=transplant-from]").value);
  showSwitches(cell);
  goToMoment(1); // what is told of it is the first frame predicted
  tell("changes");
}

// Unpack the predictions without and with the changes, if there are any.
export const unpackCompared = ({ experiment }, { width, height }) => (experiment ? unpackSprites(experiment.sprites, width, height) : null);

export function showCompared({ experiment: compared }, frames) {
  $(".inside-compared").hidden = !compared;
  if (!compared) return;
  const { picture } = here.frames, { stage } = here.snapshot;
  const lead = Math.max(1, momentShown()), room = ROOM;
  const shown = { truth: framesAt(here.frames, lead).truth, without: frames[lead - 1], with: frames[picture.horizon + lead - 1] };
  const list = $(".compared-frames");
  if (!list.children.length) list.append(...Object.keys(shown).map((name) => make("figure", { class: name }, make("figcaption", {}), make("canvas", { role: "img" }))));
  Object.entries(shown).forEach(([name, frame], n) => {
    const words = `${text(`compared ${name}`)} · ${moment(lead)}`;
    setText($("figcaption", list.children[n]), words);
    paint($("canvas", list.children[n]), frame, { picture, stage, room });
    $("canvas", list.children[n]).setAttribute("aria-label", words);
  });
  drawErrors(compared, lead, stage);
  showDonor(compared.donor, stage);
}

function showDonor(found, stage) {
  if (!found) return;
  const [own, other] = [found.own < CLEARLY * found.other, found.other < CLEARLY * found.own];
  const write = (value) => withUnit(errorNumber(value, stage.error), stage.error.unit);
  const errors = text("transplant errors", { own: write(found.own), other: write(found.other), nothing: write(found.nothing) });
  setText($(".transplant-found"), `${text("your guess", { guess: text(`guess ${guess}`) })} ${text(`transplant ${own ? "own" : other ? "other" : "neither"}`)} ${errors}`);
}

function drawErrors(compared, chosen, { error }) {
  const svg = $("svg.compared"), room = roomOf(svg, [80, 50]);
  if (!room) return;
  const all = [...compared.without, ...compared.with], axis = linearAxis(Math.max(...all, 1e-6));
  const left = 4 * typeSize(), right = room.width - 8, top = 8, bottom = room.height - 2.3 * typeSize(), horizon = compared.with.length;
  const half = (right - left) / horizon / 2, x = (lead) => left + half * (2 * lead - 1);
  const y = (value) => bottom - (bottom - top) * Math.min(1, Math.max(0, axis.place(value)));
  const nodes = gridLines(axis.ticks, y, left, right, tickNumber);
  for (let lead = 1; lead <= horizon; lead += 1) nodes.push(label(x(lead), bottom + typeSize(), "middle", String(lead)));
  nodes.push(label((left + right) / 2, room.height - 2, "middle", text("lead axis")));
  nodes.push(shape("rect", { class: "chosen", x: x(chosen) - half, y: top, width: 2 * half, height: bottom - top }));
  for (const name of ["without", "with"]) nodes.push(shape("path", { class: name, d: pathOf(compared[name].map((value, n) => [x(n + 1), y(value)])) }));
  svg.replaceChildren(...nodes);
}
