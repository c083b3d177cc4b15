// On a phone the settings are a drawer over the page, and the transport stays under it.
import { $ } from "./dom.js";

const isOpen = () => $(".cp").classList.contains("drawer-open");

function show(open) {
  $(".cp").classList.toggle("drawer-open", open);
  $("[data-do=drawer]").setAttribute("aria-expanded", String(open));
  for (const behind of [".bar", ".work"]) $(behind).inert = open;
}

export const turnDrawer = () => show(!isOpen());
export const closeDrawer = () => isOpen() && show(false);

// A page that becomes wide has no drawer.
export function prepareDrawer() {
  matchMedia("(max-width: 860px)").addEventListener("change", closeDrawer);
}
