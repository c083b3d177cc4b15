// Which channels the network needs: each silenced in turn over the validation set, at one button.
import { $, make, setText } from "./dom.js";
import { errorNumber, percent, withUnit } from "./numbers.js";
import { showNotice } from "./notices.js";
import { askRun } from "./runs.js";
import { here } from "./scenes.js";
import { text } from "./words.js";

const KIND = "knock-out";

export async function rankChannels() {
  const of = here, running = isRunning(of.snapshot);
  const reply = await askRun(running ? "stop_study" : "study", running ? {} : { kind: KIND, options: null }, of);
  if (reply?.notice) showNotice(reply.notice, of);
}

const isRunning = (snapshot) => snapshot.study?.kind === KIND && snapshot.study.state === "running";

export function showRanked(snapshot, cells) {
  const { study, stage, step } = snapshot, ours = study?.kind === KIND ? study : null;
  setText($("[data-do=rank]"), text(isRunning(snapshot) ? "rank stop" : "rank go"));
  const result = ours?.result, list = $(".ranked");
  setText($(".rank-state"), !ours ? "" : text(`rank ${ours.state === "done" && step !== ours.step ? "done before" : ours.state}`, { share: percent(ours.done), n: result?.sequences, of: result?.of, shown: result?.channels.length }));
  if (!result) return list.replaceChildren();
  const write = (value) => withUnit(errorNumber(value, stage.error), stage.error.unit), most = Math.max(result.error, ...result.channels.map(([, , error]) => error));
  const rows = result.channels.map(([cell, channel, error]) => {
    const name = [cells.length > 1 ? text(`cell ${cells[cell].role}`, { n: cells[cell].number + 1 }) : "", text("channel", { n: channel + 1 })].filter(Boolean).join(text("comma"));
    return make("li", {}, make("span", {}, name), make("i", { style: `width:${(100 * error) / most}%` }), make("span", {}, write(error)));
  });
  const whole = make("li", { class: "whole" }, make("span", {}, text("rank whole")), make("i", { style: `width:${(100 * result.error) / most}%` }), make("span", {}, write(result.error)));
  return list.replaceChildren(whole, ...rows);
}
