// What the run and the pinned ones make of the sequence on the stage, a row for each.
import { $, make, setText } from "./dom.js";
import { unpackSprites } from "./frames.js";
import { moment, ratio } from "./numbers.js";
import { paint } from "./paint.js";
import { roomFor } from "./stage.js";
import { text } from "./words.js";

// The frames of the rows that the server sent, unpacked.
drawPinRows.unpacked = (rows, { width, height }) =>
  Promise.all(rows.map(async (row) => ({ ...row, frames: row.sprites && (await unpackSprites(row.sprites, width, height)) })));

export function drawPinRows(frames, stage, pinned) {
  const box = $(".pin-rows");
  if (!frames) return;
  const { picture, truth, prediction } = frames, room = roomFor("thumb");
  const rows = [
    { name: text("row truth"), kind: "truth", frames: truth },
    { name: text("pin this run"), kind: "pin-0", frames: prediction, scores: picture.scores },
    ...pinned.map(({ name, number, row }) => ({ name, kind: `pin-${number}`, frames: fits(row, truth) ? row.frames : null, scores: row?.scores, isOther: row && !row.sprites })),
  ];
  const shape = JSON.stringify([rows.map(({ kind, frames: list }) => [kind, list?.length ?? 0]), picture.width]);
  if (box.dataset.shape !== shape) {
    box.dataset.shape = shape;
    box.replaceChildren(...rows.flatMap(({ kind, frames: list }) => [
      make("h3", { class: kind }, make("i", {}), make("span")),
      make("div", { class: "row-frames" }, ...(list ? list.map(() => make("figure", {}, make("canvas", { role: "img" }), make("figcaption"))) : [make("p", { class: "hint" })])),
    ]));
  }
  rows.forEach(({ name, frames: list, scores, isOther }, n) => {
    const [head, row] = [box.children[2 * n], box.children[2 * n + 1]];
    setText($("span", head), name);
    if (!list) return setText($("p", row), text(isOther ? "pin other" : "pin waits"));
    return list.forEach((frame, i) => {
      const figure = row.children[i], canvas = $("canvas", figure), score = scores?.[i];
      paint(canvas, frame, { picture, stage, room });
      setText($("figcaption", figure), score ? ratio(score.ssim) : moment(i + 1));
      canvas.setAttribute("aria-label", [name, moment(i + 1), score && `SSIM ${ratio(score.ssim)}`].filter(Boolean).join(text("comma")));
    });
  });
}

// Frames of another size were asked for before the scene's settings changed.
const fits = (row, truth) => row?.frames?.length === truth.length && row.frames[0].grey.length === truth[0].grey.length;
