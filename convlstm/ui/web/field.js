// The field of view of a pixel, drawn over the frames that the network has seen.
import { $$, make } from "./dom.js";

// How far from the pixel a seen frame may lie and still reach it, px: `lead` is the frame's moment.
export function radiusOf({ moment, reach, hop, travels, closed }, lead) {
  const predicted = Math.max(0, moment), seen = Math.min(0, moment) - lead; // steps since then
  return reach + seen * hop + predicted * (closed ? Math.max(travels, hop) : hop);
}

export function showField(answer, picture) {
  for (const old of $$(".row-frames.input .field")) old.remove();
  if (!answer || answer.reach === null) return;
  const { pixel, side, moment } = answer;
  for (const figure of $$(".row-frames.input figure")) {
    const lead = Number(figure.dataset.lead);
    if (lead > moment) continue;
    const radius = radiusOf(answer, lead), canvas = $$("canvas", figure)[0], scale = canvas.clientWidth / picture.width;
    const edges = (place, size) => [Math.max(0, place * side - radius), Math.min(size, (place + 1) * side + radius)];
    const [left, right] = edges(pixel.column, picture.width), [top, bottom] = edges(pixel.row, picture.height);
    const box = make("i", { class: "field", "aria-hidden": "true" });
    const put = (name, value) => { box.style[name] = `${value}px`; };
    put("left", canvas.offsetLeft + left * scale);
    put("top", canvas.offsetTop + top * scale);
    put("width", (right - left) * scale);
    put("height", (bottom - top) * scale);
    figure.append(box);
  }
}
