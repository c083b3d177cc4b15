"""The page's modules from disk, in a blank page whose console must stay silent."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

from convlstm.ui.page import STYLES
from convlstm.ui.texts import TEXTS
from tests.browser.conftest import CHROMIUM_FLAGS, find_chromium

WEB = Path(__file__).parents[2] / "convlstm" / "ui" / "web"
ADDRESS = "http://modules.test/"
BLANK = (
    "<!doctype html><meta charset=utf-8><style>body { margin: 0 }</style>"
    "<div id=gradio><div class=cp></div></div>"
)
KINDS = {".js": "text/javascript", ".css": "text/css"}

# One scene that no script knows, with a control of each kind.
CONTROLS = [
    {"name": "speed", "kind": "slider", "low": 1, "high": 8, "step": 1, "unit": "px/frame"},
    {"name": "epochs", "kind": "slider", "low": 1, "high": 5000, "scale": "log", "unit": ""},
    {"name": "walls", "kind": "choice", "choices": ["wrap", "bounce"], "unit": ""},
    {"name": "peephole", "kind": "flag", "more": True},
    {"name": "seed", "kind": "number", "low": 0, "high": 9, "step": 1, "more": True},
]
GROUPS = {"speed": "scene", "walls": "scene", "peephole": "network"}
SETTINGS = {"speed": 2, "epochs": 260, "walls": "wrap", "peephole": False, "seed": 0}
SCENES = {
    name: {
        "controls": [{"more": False, **c, "group": GROUPS.get(c["name"], "training")} for c in own],
        "presets": {"quick": SETTINGS, "too-fast": {**SETTINGS, "speed": 4}},
    }
    for name, own in (("dots", CONTROLS), ("clouds", CONTROLS[1:]))
}


def sprites(frames: np.ndarray, missing: np.ndarray | None = None) -> str:
    """Return frames, (N, H, W) of 0 to 255, as the server sends them."""
    sheet = np.concatenate(list(frames.astype(np.uint8)))
    alpha = np.full_like(sheet, 255)
    if missing is not None:
        alpha[np.concatenate([missing] * len(frames))] = 0
    file = io.BytesIO()
    Image.merge("LA", [Image.fromarray(sheet), Image.fromarray(alpha)]).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def scores(error: float, ssim: float) -> dict[str, float]:
    return {"error": error, "mae": error, "psnr": 20.0, "ssim": ssim}


def make_picture(context: int = 3, horizon: int = 2, width: int = 6, height: int = 4) -> dict:
    frames = np.zeros((context + 2 * horizon, height, width))
    frames[np.arange(len(frames)), 1, np.arange(len(frames)) % width] = 255
    return {
        "sample": 0,
        "samples": 8,
        "speed": None,
        "width": width,
        "height": height,
        "context": context,
        "horizon": horizon,
        "sprites": sprites(frames),
        "times": None,
        "scores": [scores(0.001, 0.9)] * horizon,
        "baselines": {
            "copy_last": [scores(0.01, 0.5)] * horizon,
            "black": [scores(0.004, 0.7)] * horizon,
        },
    }


def make_snapshot(**changes: object) -> dict:
    return {
        "run": "run-dots",
        "scene": "dots",
        "state": "training",
        "reason": None,
        "place": 0,
        "shipped": False,
        "step": 20,
        "steps": 100,
        "epoch": 20,
        "epochs": 100,
        "horizon": 2,
        "horizonEnd": 2,
        "stepMs": 60,
        "left": 5,
        "seconds": 3,
        "device": "CPU",
        "parameters": 8449,
        "sequences": 80,
        "hasScript": False,
        "settings": SETTINGS,
        "model": None,
        "resumed": [],
        "stage": {
            "error": {"kind": "mse", "unit": "", "digits": None, "axis": "log"},
            "baselines": ["copy_last", "black"],
            "colours": "grey",
            "low": 0,
            "high": 1,
            "unit": "",
            "closeUp": True,
            "drawable": True,
            "hasSpeeds": True,
            "hides": False,
        },
        "curve": {"steps": 100, "train": "1 0.1;2 0.05;", "validation": "2 0.04;", "marks": []},
        "scores": None,
        "study": None,
        "pins": {"version": 0, "count": 0},
        "picture": make_picture(),
        **changes,
    }


# Begins the page with a server that answers at once and keeps what it was asked.
_START = """async ({ markup, style, texts, classroom, scenes, replies }) => {
  window.asked = [];
  const props = { markup, style, texts, classroom, value: null };
  const answers = {
    scenes: () => scenes,
    attach: ({ scene }) => ({ run: `run-${scene}`, scene, settings: {}, notice: null }),
    describe: () => ({ reach: 2, speed: 2, seconds: 8, mib: 50, link: 'speed=2', notice: null }),
    ...Object.fromEntries(Object.entries(replies).map(([name, reply]) => [name, () => reply])),
  };
  const server = new Proxy({}, { get: (_, name) => async (payload) => {
    window.asked.push([name, JSON.parse(JSON.stringify(payload))]);
    return answers[name] ? answers[name](payload) : {};
  } });
  let listener = () => {};
  window.push = (value) => { props.value = value; listener(); };
  const { start } = await import('./page.js');
  start({
    element: document.querySelector('#gradio'), props, server,
    upload: async () => ({ path: '/uploaded' }),
    trigger: (name, data) => window.asked.push([name, data]),
    watch: (name, heard) => { listener = heard; },
  });
}"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=CHROMIUM_FLAGS
            )
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Chromium: install it or set CHROMIUM_PATH ({error})")
        yield browser
        browser.close()


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    """A blank page that can import the modules."""
    context = browser.new_context(
        viewport={"width": 1366, "height": 768}, locale="en-US", reduced_motion="reduce"
    )
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))

    def serve(route) -> None:
        name = route.request.url.removeprefix(ADDRESS).partition("?")[0]
        if (file := WEB / name).suffix in KINDS:
            route.fulfill(body=file.read_text("utf-8"), content_type=KINDS[file.suffix])
        else:
            route.fulfill(body=BLANK, content_type="text/html")

    page.route(f"{ADDRESS}**", serve)
    page.set_default_timeout(10_000)
    page.goto(ADDRESS)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def use(blank: Page) -> Callable[..., object]:
    """Import a module in the blank page and return what an expression over `m` makes of it."""

    def run(module: str, expression: str, value: object = None) -> object:
        return blank.evaluate(
            f"async (v) => {{ const m = await import('./{module}.js'); return ({expression}); }}",
            value,
        )

    return run


@pytest.fixture
def begin(blank: Page) -> Callable[..., Page]:
    """Start the whole page in front of a server that only answers; then push a snapshot."""

    def start(
        snapshot: dict | None = None, query: str = "", in_class: bool = False, **replies: object
    ) -> Page:
        if query:
            blank.goto(ADDRESS + query)
        start_page(blank, replies, in_class=in_class)
        blank.wait_for_function("asked.some(([name]) => name === 'follow')")
        if snapshot:
            push(blank, snapshot)
        return blank

    return start


def start_page(page: Page, replies: dict[str, object], *, in_class: bool = False) -> None:
    styles = [f"{name}.css" for name in (*STYLES, *(["class"] if in_class else []))]
    given = {
        "markup": (WEB / "page.html").read_text("utf-8"),
        "style": "".join((WEB / name).read_text("utf-8") for name in styles),
        "classroom": (WEB / "class.html").read_text("utf-8") if in_class else None,
        "texts": TEXTS,
        "scenes": SCENES,
        "replies": replies,
    }
    page.evaluate(_START, given)


def push(page: Page, snapshot: dict) -> None:
    page.evaluate("value => push(value)", snapshot)
    if snapshot["picture"]:
        page.wait_for_selector(".stage:not(.empty)")


def asked(page: Page, name: str) -> list[dict]:
    """What the page asked one of the server's functions."""
    return [payload for asked, payload in json.loads(page.evaluate("JSON.stringify(asked)"))
            if asked == name]  # fmt: skip
