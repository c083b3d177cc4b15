// A place that is guessed on the stage: in the newest frame seen, by a click or by its numbers. What
// follows stays covered until then.
import { $, $$, make, tell } from "./dom.js";
import { here } from "./scenes.js";

let open = false, place = null, heard = false;

export const markedPlace = () => place;
export const isPlaceAsked = () => open; // the frame is shown whole then, and large

const frame = () => $(".view.truth");

export function openPlaces() {
  if (open) return;
  open = true;
  $(".stage").classList.add("guessing");
  tell("moment", 0);
  if (heard) return;
  heard = true;
  $(".player").addEventListener("click", ({ clientX, clientY }) => {
    const box = $("canvas", frame()).getBoundingClientRect(), { picture } = here.frames ?? {};
    if (!open || !picture) return;
    const [x, y] = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
    if (Math.min(x, y) < 0 || Math.max(x, y) >= 1) return;
    mark([Math.floor(x * picture.width), Math.floor(y * picture.height)]);
    for (const input of $$("[data-place]")) input.value = place[input.dataset.place === "across" ? 0 : 1];
  });
  $(".lesson").addEventListener("input", ({ target }) => {
    if (!target.dataset.place) return;
    const given = ["across", "down"].map((axis) => $(`[data-place=${axis}]`).value);
    mark(given.includes("") ? null : given.map(Number));
  });
}

export function closePlaces() {
  if (!open) return;
  open = false;
  mark(null);
  $(".stage").classList.remove("guessing");
  tell("drawn");
}

function mark(at) {
  place = at;
  $(".place-mark")?.remove();
  const canvas = $("canvas", frame()), { picture } = here.frames ?? {};
  if (!at || !picture) return;
  const dot = make("span", { class: "place-mark", "aria-hidden": "true" }), [box, around] = [canvas, frame()].map((node) => node.getBoundingClientRect());
  dot.style.left = `${box.left - around.left + ((at[0] + 0.5) * box.width) / picture.width}px`;
  dot.style.top = `${box.top - around.top + ((at[1] + 0.5) * box.height) / picture.height}px`;
  frame().append(dot);
}
