// The two tabs under the stage.
import { $$ } from "./dom.js";

export function openTab(name) {
  for (const tab of $$("[data-tab]")) {
    const open = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
  }
  for (const panel of $$(".tab-panel")) panel.hidden = panel.id !== `cp-${name}`;
}

// Among the tabs the arrows go from tab to tab, as screen readers expect.
export function arrowOnTab(event) {
  if (!event.target.dataset?.tab || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.stopPropagation();
  const other = $$("[data-tab]").find((tab) => tab !== event.target);
  openTab(other.dataset.tab);
  other.focus();
}
