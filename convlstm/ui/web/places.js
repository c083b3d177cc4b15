// A place that is guessed on the stage: in the newest frame seen, by a click or by its numbers. What
// follows stays covered until then.
import { $, $$, make, tell } from "./dom.js";
import { here } from "./scenes.js";

let open = false, place = null, heard = false;

export const markedPlace = () => place;

export function openPlaces() {
  if (open) return;
  open = true;
  place = null;
  $(".stage").classList.add("guessing");
  tell("moment", 0);
  if (heard) return;
  heard = true;
  const frame = $(".view.truth");
  frame.addEventListener("click", ({ clientX, clientY }) => {
    const canvas = $("canvas", frame), box = canvas.getBoundingClientRect(), { picture } = here.frames ?? {};
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
}

function mark(at) {
  place = at;
  $(".place-mark")?.remove();
  const canvas = $(".view.truth canvas"), { picture } = here.frames ?? {};
  if (!at || !picture) return;
  const dot = make("span", { class: "place-mark", "aria-hidden": "true" });
  dot.style.left = `${canvas.offsetLeft + ((at[0] + 0.5) * canvas.offsetWidth) / picture.width}px`;
  dot.style.top = `${canvas.offsetTop + ((at[1] + 0.5) * canvas.offsetHeight) / picture.height}px`;
  $(".view.truth").append(dot);
}
