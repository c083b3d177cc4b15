"""Whether everybody can use the page: axe's rules over all that it shows."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCENES, shoot
from tests.browser.steps import wait_for_state

LAYOUTS = {"desktop": (1366, 768), "phone": (390, 844), "projector": (1920, 1080)}
OPENED = {"en": "share", "zh": "how"}  # the tab that is looked at in each language
# Targets of 24 px are WCAG 2.2's, which axe asks about only where told to.
_AXE = """async () => (await axe.run({
      resultTypes: ['violations'], iframes: false, rules: { 'target-size': { enabled: true } },
    })).violations
    .flatMap(({ id, impact, help, nodes }) => nodes.map(({ target, any, all, none }) =>
      [id, impact, help, target.join(' '), ...[...any, ...all, ...none].map((c) => c.message)]
        .join(' · ')))"""


def violations(page: Page) -> list[str]:
    """Return each rule that a part of the page breaks, with its weight, the part and the reason."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(_AXE)


def open_all(page: Page) -> None:
    """Show every setting at once: axe takes what is scrolled away for hidden."""
    page.add_style_tag(content=".cp .panel { height: auto !important; }")
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")


def press(page: Page, name: str) -> None:
    """Press a switch that a projector does not show."""
    page.evaluate("name => document.querySelector(`[data-do=${name}]`).click()", name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_axe_finds_nothing_in_any_scene_theme_or_language(open_page, layout):
    width, height = LAYOUTS[layout]
    page = open_page(viewport={"width": width, "height": height})
    if layout == "projector":
        page.click("[data-do=projector]")
    found = {}
    for scene in SCENES:
        page.click(f"[data-scene={scene}]")
        wait_for_state(page, "shipped")
        expect(page.locator("[data-score=error]")).not_to_have_text("–")
        open_all(page)
        if page.locator("#cp-inside").is_hidden():
            page.click(".stage [data-do=look-inside]")
        expect(page.locator(".inside-map canvas").first).to_be_visible()
        page.locator(".inside-map").first.press("Enter")
        expect(page.locator(".inside-pixel table")).to_be_visible()
        for theme in ("light", "dark"):
            for language, tab in OPENED.items():
                page.evaluate("name => document.querySelector(`[data-tab=${name}]`).click()", tab)
                for broken in violations(page):
                    found.setdefault(broken, []).append(f"{scene} {theme} {language}")
                press(page, "language")
            press(page, "theme")
    lines = [f"{broken} ({', '.join(where)})" for broken, where in found.items()]
    assert not lines, "\n".join(lines)


def test_axe_finds_nothing_in_a_question_or_a_notice(open_page):
    page = open_page("?speed=99")
    expect(page.locator(".notice")).to_be_visible()
    assert violations(page) == []
    page.evaluate("document.querySelector('dialog.reset').showModal()")
    assert violations(page) == []


def test_every_slider_has_a_name_and_a_value_with_its_unit(show):
    for scene in SCENES:
        page = show(scene)
        page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        sliders = page.locator("input[type=range]").filter(visible=True)
        assert sliders.count() > 5
        for slider in sliders.all():
            name, value = slider.get_attribute("aria-labelledby"), "aria-valuetext"
            assert page.inner_text(f"#{name}").strip(), name
            row = slider.locator("xpath=..").locator("output")
            assert slider.get_attribute("data-do") or row.inner_text() == slider.get_attribute(
                value
            )
            assert slider.get_attribute(value), name
        page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = false))")


def test_every_stop_of_the_tabulator_is_seen(open_page):
    page = open_page("?scene=digits")
    page.click("[data-tab=how]")
    page.locator("h1").click()
    unseen = page.evaluate(
        """() => {
          const line = (node) => node && getComputedStyle(node).outlineStyle !== 'none';
          return [...document.querySelectorAll('.cp *')].filter((node) => {
            if (node.tabIndex < 0 || !node.checkVisibility() || node.disabled) return false;
            node.focus({ focusVisible: true });
            return ![node, node.nextElementSibling, node.parentElement].some(line);
          }).map((node) => node.outerHTML.slice(0, 90));
        }"""
    )
    assert unseen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chosen_and_unchosen_differ_in_forced_colours(open_page, scheme):
    page = open_page(forced_colors="active", color_scheme=scheme)
    looks = "node => getComputedStyle(node).backgroundColor"
    options = page.locator("[data-name=walls] .options input + span")
    assert options.nth(0).evaluate(looks) != options.nth(1).evaluate(looks)
    scenes = page.locator(".scenes button")
    assert scenes.nth(0).evaluate(looks) != scenes.nth(1).evaluate(looks)
    assert scenes.nth(0).evaluate(looks) == options.nth(0).evaluate(looks)  # by one mark
    page.click("[data-do=animate]")
    shoot(page, f"forced-colours-{scheme}")
