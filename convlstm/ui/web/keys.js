// The keyboard: keys that do what buttons do. Letters can be switched off, for those whose voice or
// hand presses them unasked (WCAG 2.1.4).
import { $ } from "./dom.js";
import { recall, remember } from "./memory.js";

const LETTERS = { s: "step", r: "reset" };
const OTHERS = { " ": "turn", ArrowLeft: "previous", ArrowRight: "next", Escape: "escape" };

export const lettersAreOn = () => recall("letters") !== "off";

export function showLetters() {
  $("[data-do=letters]").checked = lettersAreOn();
}

export function switchLetters(on) {
  remember("letters", on ? "on" : "off");
}

// What a key can do only where its button could be pressed.
const PARTS = { turn: ".transport", step: ".transport", reset: ".transport", previous: ".sampler", next: ".sampler" };

// The name of the action that a key asks for, or undefined.
export function actionOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("dialog[open]")) return undefined;
  if (event.key === "Escape") return OTHERS.Escape;
  const control = event.target.closest?.("input, select, textarea, button, summary, a");
  const isFree = !control || (control.tagName === "BUTTON" && event.key !== " " && event.key !== "Enter");
  const wide = event.target.closest?.(".rows, .pin-rows");
  if (!isFree || (wide && event.key.startsWith("Arrow") && wide.scrollWidth > wide.clientWidth)) return undefined; // they scroll
  const action = (lettersAreOn() ? LETTERS[event.key] : undefined) ?? OTHERS[event.key];
  return PARTS[action] && $(PARTS[action]).closest("[inert]") ? undefined : action;
}
