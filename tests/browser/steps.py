"""What a person does on the page, and what they read there."""

import contextlib
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl

from gradio_client import Client
from playwright.sync_api import Page

from convlstm.server.links import config_of_query
from convlstm.settings import settings_of
from convlstm.training.config import TrainConfig
from tests.browser.conftest import PATIENCE

# Small runs, so that the tests are quick, with a handful of evaluations.
_SMALL = {
    "squares": "scene=squares&speed=1&canvas=16&size=3&hidden=2&kernel=3&batch=2",
    "digits": "scene=digits&hidden=2&layers=1&residual=false&batch=2&context_frames=4&horizon=2",
    "storm": "scene=storm&hidden=2&layers=1&residual=false&crop=16",
    "own": "scene=own&canvas=32&hidden=2&kernel=3&layers=1&residual=false",
}


def small(scene: str, epochs: int = 60) -> str:
    """Return the query of a run that is over soon."""
    return f"?{_SMALL[scene]}&epochs={epochs}&evaluate_every=20"


def settings(query: str) -> dict[str, object]:
    """Return all settings of a query."""
    return settings_of(config(query))


def config(query: str) -> TrainConfig:
    """Return the configuration of a query."""
    return config_of_query(dict(parse_qsl(query.removeprefix("?"))))


def long(scene: str) -> str:
    """Return the query of a run that lasts until somebody stops it."""
    return small(scene, 20_000 if scene == "squares" else 8000)


def wait_for_state(page: Page, *states: str, timeout: int = PATIENCE) -> None:
    page.wait_for_selector(",".join(f"[data-state={state}]" for state in states), timeout=timeout)


def state(page: Page) -> str:
    return page.get_attribute(".gradio-container [data-state]", "data-state")


def press(page: Page, action: str) -> None:
    page.click(f"button[data-do={action}]")


@contextlib.contextmanager
def answered(page: Page, name: str) -> Iterator[None]:
    """Wait until the server has answered what the page asks of it within."""
    with page.expect_response(
        lambda response: f'"fn_name":"{name}"' in (response.request.post_data or ""),
        timeout=PATIENCE,
    ):
        yield


def status(page: Page) -> str:
    return page.inner_text(".status-text")


def epoch(page: Page) -> int:
    return int(re.search(r"epoch (\d+)", status(page))[1])


def wait_for_epoch(page: Page, number: int) -> None:
    page.wait_for_function(
        "n => Number(/epoch (\\d+)/.exec(document.querySelector('.status-text')?.textContent)?.[1])"
        " >= n",
        arg=number,
    )


def run_of(page: Page, scene: str) -> str:
    return page.evaluate("name => localStorage.getItem(`convlstm-playground-run-${name}`)", scene)


def wait_for(client: Client, run: str, wanted: Callable[[dict], bool]) -> dict:
    """Return the first snapshot of a run that is as wanted."""
    job = client.submit(run, api_name="/watch")
    try:
        return next(value for value in job if wanted(value))
    finally:
        job.cancel()  # or it would go on listening, beside all others


def snapshot(client: Client, run: str) -> dict:
    """Return the run as the server knows it."""
    return wait_for(client, run, lambda value: True)


def rest(client: Client, page: Page, scene: str) -> int:
    """Return the steps of a run that does nothing more: what was under way is over."""
    run = run_of(page, scene)
    client.predict("pause", run, {}, api_name="/act")  # done between two pieces of work
    return snapshot(client, run)["step"]


def points(page: Page, kind: str) -> int:
    return (page.get_attribute(f"svg.curve path.{kind}", "d") or "").count(" ")


_PIXELS = """selector => [...document.querySelectorAll(selector)].map(c =>
[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0))"""


def row(page: Page, name: str) -> list[list[int]]:
    """Return the pixels of a row's frames, red of each."""
    return page.evaluate(_PIXELS, f".row-frames.{name} canvas")


def panel(page: Page, name: str) -> list[int]:
    """Return the pixels of one of the three larger frames, red of each."""
    return page.evaluate(_PIXELS, f".view.{name} canvas")[0]


_LOOKS = "selector => [...document.querySelectorAll(selector)].map(c => c.toDataURL()).join()"


def looks(page: Page, name: str) -> str:
    """Return what a row's frames look like; cheaper than their pixels."""
    return page.evaluate(_LOOKS, f".row-frames.{name} canvas")


def wait_for_another(page: Page, name: str, before: str) -> None:
    """Wait until a row looks other than before."""
    page.wait_for_function(
        f"([selector, before]) => ({_LOOKS})(selector) !== before",
        arg=[f".row-frames.{name} canvas", before],
        polling=250,
    )


def reset(page: Page) -> None:
    """Reset the run; where the page asks whether to throw it away, say yes."""
    press(page, "reset")
    page.wait_for_selector("dialog.reset[open], [data-state=idle]")
    if page.locator("dialog.reset[open]").count():
        press(page, "throw-away")
    wait_for_state(page, "idle")


def open_more(page: Page, setting: str) -> None:
    """Open the closed group in which a setting waits."""
    page.click(f"details:has([data-name={setting}]) summary")
