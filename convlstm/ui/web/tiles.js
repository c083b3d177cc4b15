// Four numbers, each above both of its baselines; green only where it beats the better one.
import { $, make, setText } from "./dom.js";
import { decibels, errorNumber, percent, ratio, unitOf } from "./numbers.js";
import { beats, scoresOf, skillOf } from "./scores.js";
import { text } from "./words.js";

export function showTiles(snapshot) {
  const { stage } = snapshot, scores = scoresOf(snapshot);
  setText($(".scores-subtitle"), text(scores ? `scores ${scores.of}` : "scores none"));
  setText($("[data-tile=error] h3"), text(`error ${stage.error.kind}`));
  const names = stage.baselines;
  const error = (value) => errorNumber(value, stage.error);
  const skill = (value) => skillOf(value.error, scores.baselines[0].error, stage.error);
  // The last of each: what is missing to perfection.
  showTile("error", names, scores, ({ error: value }) => value, error, (value) => value);
  setText($("[data-tile=error] .unit"), scores ? unitOf(stage.error.unit) : "");
  showTile("ssim", names, scores, ({ ssim }) => ssim, ratio, (value) => 1 - value);
  showTile("skill", names, scores, (value) => (value === scores.model ? scores.skill : skill(value)), percent, (value) => 1 - value);
  // Where the scene hides things, what it remembers says more than decibels.
  $("[data-tile=psnr]").hidden = stage.hides;
  $("[data-tile=unseen]").hidden = !stage.hides;
  const unseen = snapshot.scores?.unseen;
  const remembered = unseen && { model: unseen.model, baselines: stage.baselines.map((name) => unseen.baselines[name]) };
  showTile("unseen", names, remembered, (value) => value, percent, (value) => 1 - value);
  showTile("psnr", names, scores, ({ psnr }) => psnr, decibels, (value) => 10 ** (-value / 10));
}

function showTile(name, names, scores, valueOf, write, missing) {
  const tile = $(`[data-tile=${name}]`), list = $("dl", tile);
  setText($("[data-score]", tile), scores ? write(valueOf(scores.model)) : "–");
  const baselines = scores ? scores.baselines.map(valueOf) : [];
  tile.classList.toggle("good", Boolean(scores) && beats(missing(valueOf(scores.model)), baselines.map(missing)));
  if (list.children.length !== names.length) list.replaceChildren(...names.map(() => make("div", {}, make("dt"), make("dd"))));
  names.forEach((baseline, n) => {
    setText($("dt", list.children[n]), text(`baseline ${baseline}`));
    list.children[n].title = text(`help baseline ${baseline}`);
    setText($("dd", list.children[n]), scores ? write(baselines[n]) : "–");
  });
}
