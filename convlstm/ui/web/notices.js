// A notice: something refused, something found, or a change that waits for a reset.
import { $, make, setText } from "./dom.js";
import { here, own } from "./scenes.js";
import { isWorded, text } from "./words.js";

const FACTS = ["opened", "restarted", "resumed", "no gpu", "thrown", "clip opened", "clip fitted"];
// Buttons of a notice: actions of the page, worded "offer <action>".
const OFFERS = { reset: ["restart", "undo-settings"], thrown: ["undo-reset"] };

export function showNotice(next, scene = here) {
  scene.notice = next;
  if (scene !== here && scene !== own) return;
  $(".notice").hidden = !next;
  if (!next) return;
  $(".notice").dataset.kind = FACTS.includes(next.key) ? "fact" : "refusal";
  setText($(".notice-text"), wordNotice(next));
  const offers = OFFERS[next.key] ?? [];
  $(".notice-offers").replaceChildren(...offers.map((action) => make("button", { type: "button", "data-do": action }, text(`offer ${action}`))));
}

const settingName = (name) => (isWorded(`name ${name}`) ? text(`name ${name}`) : name);

// A value that the engine names, as the page does.
function wordValue(value) {
  const plain = String(value).replace(/^'(.*)'$/, "$1"), known = [`choice ${plain}`, `value ${plain}`].find((key) => isWorded(key));
  return known ? text(known) : String(value);
}

export function wordNotice(notice) {
  if (notice.key === "refused") {
    if (!isWorded(`rule ${notice.rule}`)) return notice.text ?? "";
    const { choices } = notice.details, words = choices && { choices: choices.split(", ").map(wordValue).join(text("comma")) };
    const rule = text(`rule ${notice.rule}`, { ...notice.details, ...words });
    return text("refused", { name: settingName(notice.name), value: wordValue(notice.value), rule });
  }
  if (notice.key === "reset") return text("notice reset", { names: notice.names.map(settingName).join(text("comma")) });
  return text(`notice ${notice.key}`, { text: "", ...notice });
}
