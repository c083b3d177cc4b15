// The tabs under the stage.
import { $$, tell } from "./dom.js";

export function openTab(name) {
  for (const tab of $$("[data-tab]")) {
    const open = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
  }
  for (const panel of $$(".tab-panel")) panel.hidden = panel.id !== `cp-${name}`;
  tell("tab-opened", name);
}

// Among the tabs the arrows go from tab to tab, as screen readers expect.
export function arrowOnTab(event) {
  if (!event.target.dataset?.tab || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.stopPropagation();
  const tabs = $$("[data-tab]").filter((tab) => !tab.hidden), step = event.key === "ArrowLeft" ? -1 : 1;
  const other = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  openTab(other.dataset.tab);
  other.focus();
}
