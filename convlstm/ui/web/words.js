// Texts by key, in the viewer's language, with {places} filled in. A scene may word a key in its own
// way: "<scene> <key>" stands before "<key>".
import { $$, root, setText } from "./dom.js";
import { recall, remember } from "./memory.js";

let texts = { en: {} };
let scene = "";
export let language = "en";

export function useTexts(all) {
  texts = all;
  const known = recall("language");
  language = Object.hasOwn(texts, known ?? "") ? known : navigator.language.startsWith("zh") && texts.zh ? "zh" : "en";
}

export function turnLanguage() {
  language = language === "en" ? "zh" : "en";
  remember("language", language);
}

export function wordFor(name) {
  scene = name;
}

function pattern(key, of) {
  for (const words of [texts[language], texts.en]) {
    const found = words[`${of} ${key}`] ?? words[key];
    if (found !== undefined) return found;
  }
}

export const isWorded = (key, of = scene) => pattern(key, of) !== undefined;

// `of`: the scene whose words they are, where it is not the one shown.
export function text(key, places = {}, of = scene) {
  return (pattern(key, of) ?? key).replace(/\{(\w+)\}/g, (whole, name) => places[name] ?? whole);
}

// Everything marked in the markup with a text's key.
export function wordPage() {
  for (const node of $$("[data-text]")) setText(node, text(node.dataset.text));
  for (const node of $$("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of $$("[data-title]")) node.title = text(node.dataset.title);
  for (const node of $$("[data-lang-mark]")) node.classList.toggle("on", node.dataset.langMark === language);
  root.lang = document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}
