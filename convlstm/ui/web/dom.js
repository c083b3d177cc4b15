// Small helpers. `element`, `props`, `server`, `upload`, `trigger` and `watch` come from Gradio.
const $ = (selector, within = element) => within.querySelector(selector);
const $$ = (selector, within = element) => [...within.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function setText(node, text) {
  // Untouched text keeps a screen reader quiet and a selection alive.
  if (node && node.textContent !== text) node.textContent = text;
}

// The page works where the browser forbids storage; it only forgets.
function remember(key, value) {
  try { localStorage.setItem(`convlstm-playground-${key}`, value); } catch { /* forgets */ }
}
function recall(key) {
  try { return localStorage.getItem(`convlstm-playground-${key}`); } catch { return null; }
}

// Texts, by key, with {places} filled in.
let language = recall("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
function text(key, places = {}) {
  const pattern = props.texts[language][key] ?? props.texts.en[key] ?? key;
  return pattern.replace(/\{(\w+)\}/g, (whole, name) => places[name] ?? whole);
}

// Numbers as a person writes them.
function small(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 0.01 ? value.toFixed(3) : value === 0 ? "0" : value.toPrecision(2).includes("e") ? value.toExponential(1) : Number(value.toPrecision(2)).toString();
}
function duration(seconds) {
  if (seconds < 90) return text("seconds", { n: seconds < 10 ? Math.max(0.1, seconds).toFixed(seconds < 1 ? 1 : 0) : Math.round(seconds) });
  return text("minutes", { n: Math.round(seconds / 60) });
}

// Everything marked in the markup with a text's key.
function wordPage() {
  for (const node of $$("[data-text]")) setText(node, text(sceneKey(node.dataset.text)));
  for (const node of $$("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of $$("[data-title]")) node.title = text(node.dataset.title);
  for (const node of $$("[data-lang-mark]")) node.classList.toggle("on", node.dataset.langMark === language);
  element.lang = language === "zh" ? "zh-CN" : "en";
}
