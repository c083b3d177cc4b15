// Small helpers over the page's one element, which Gradio hands to `start`.
export let root = null;

export function useRoot(element) {
  root = element;
}

export const $ = (selector, within = root) => within.querySelector(selector);
export const $$ = (selector, within = root) => [...within.querySelectorAll(selector)];

export function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

// The same for a part of a drawing.
export function shape(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function setText(node, text) {
  // Untouched text keeps a screen reader quiet and a selection alive.
  if (node && node.textContent !== text) node.textContent = text;
}

// One part of the page tells the others, who listen on the root: so that none has to know them.
export function tell(name, detail) {
  root.dispatchEvent(new CustomEvent(`cp-${name}`, { detail }));
}

export function hear(name, listener) {
  root.addEventListener(`cp-${name}`, ({ detail }) => listener(detail));
}

// How far a slider is filled; its track is drawn by the style.
export function fillSlider(input) {
  const { min, max, value } = input;
  input.style.setProperty("--fill", `${(100 * (value - min)) / (max - min || 1)}%`);
}
