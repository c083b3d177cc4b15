"""The page: one component that draws everything, and the endpoints behind it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path

# Nothing leaves the machine; must stand before Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402
from gradio.processing_utils import save_bytes_to_cache  # noqa: E402
from gradio.utils import get_upload_folder  # noqa: E402

from convlstm.scenes.catalogue import CATALOGUE  # noqa: E402
from convlstm.server.scheduler import Scheduler  # noqa: E402
from convlstm.settings import settings_of  # noqa: E402
from convlstm.training.presets import offered, preset  # noqa: E402
from convlstm.ui.controls import controls_of  # noqa: E402
from convlstm.ui.links import FIRST_SCENE  # noqa: E402
from convlstm.ui.notices import Reply  # noqa: E402
from convlstm.ui.service import MAX_UPLOAD_BYTES, Service  # noqa: E402
from convlstm.ui.texts import TEXTS  # noqa: E402

_WEB = Path(__file__).parent / "web"
# Gradio runs this in the component; what it gives goes to the modules, which import each other. It
# looks here for the names of the component's own events. At every update it goes through all props,
# so what never changes is one text.
_LOADER = """
// They trigger "follow".
const given = { ...JSON.parse(props.fixed), get value() { return props.value; } };
import(new URL(props.web + "page.js", document.baseURI)).then(({ start }) =>
  start({ element, props: given, server, upload, trigger, watch }));
"""


def build_page(scheduler: Scheduler) -> gr.Blocks:
    """Lay out the page of a server.

    Args:
        scheduler: owns the runs that the page shows.

    Returns:
        The page; launch it with `LAUNCH_OPTIONS`.
    """
    service = Service(scheduler)

    with gr.Blocks(title="ConvLSTM Playground", delete_cache=(600, 3600)) as demo:
        gr.set_static_paths([_WEB])
        page = _component(_server_functions(service, demo))

        async def follow(event: gr.EventData) -> AsyncIterator[Reply]:
            run_id = event._data.get("run") if isinstance(event._data, dict) else None
            async for snapshot in service.watch(run_id):
                yield snapshot

        page.follow(
            follow,
            outputs=page,
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="multiple",
            api_visibility="private",
        )
        _add_api(service)
    demo.queue(api_open=False)
    return demo


# Arguments of launch() that belong to the page, wherever it is launched from.
LAUNCH_OPTIONS = {
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "max_threads": 256,
    "max_file_size": MAX_UPLOAD_BYTES,
    "theme": gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
    "share": False,
}


def _component(server_functions: list[Callable]) -> gr.HTML:
    """Make the one component of the page; its value is the latest snapshot of the viewer's run.

    The markup is put in by the script and not by the template, which Gradio would render again and
    compare with the document at every update. No subclass: Gradio would write a file beside it.
    """
    fixed = {
        "markup": (_WEB / "page.html").read_text("utf-8"),
        "style": (_WEB / "page.css").read_text("utf-8"),
        "texts": TEXTS,
        "scenes": {name: _scene(name) for name in CATALOGUE},
    }
    return gr.HTML(
        html_template='<div class="cp"></div>',
        js_on_load=_LOADER,
        apply_default_css=False,
        server_functions=server_functions,
        fixed=json.dumps(fixed),
        web=f"gradio_api/file={_WEB.resolve().as_posix()}/",
    )


def _scene(name: str) -> dict[str, object]:
    """Return a scene's controls and presets, as the page's scripts read them."""
    presets = {key: settings_of(preset(key)) for key in offered(name)}
    return {"controls": [asdict(control) for control in controls_of(name)], "presets": presets}


def _server_functions(service: Service, demo: gr.Blocks) -> list[Callable]:
    """Return what the page's script calls, each with one object as its argument."""

    async def attach(payload: object) -> Reply:
        return await service.attach(*(_get(payload, name) for name in ("run", "query", "scene")))

    def describe(payload: object) -> Reply:
        return service.describe(_get(payload, "settings"), _get(payload, "scene"))

    async def act(payload: object) -> Reply:
        return await service.act(*(_get(payload, name) for name in ("action", "run", "settings")))

    def look(payload: object) -> Reply:
        return service.look(_get(payload, "run"), _get(payload, "sample"))

    async def open_checkpoint(payload: object) -> Reply:
        path = _uploaded(_get(payload, "path"))
        if path is None:
            return {"notice": {"key": "too large"}}
        try:
            return await service.open_checkpoint(_get(payload, "run"), path)
        finally:
            path.unlink(missing_ok=True)

    async def download(payload: object) -> Reply:
        made = await service.download(_get(payload, "run"), _get(payload, "kind"))
        if isinstance(made, dict):
            return made
        name, content = made
        # An address of Gradio's own, which forgets the file after an hour.
        path = await asyncio.to_thread(save_bytes_to_cache, content, name, demo.GRADIO_CACHE)
        return {"name": name, "url": f"gradio_api/file={Path(path).as_posix()}"}

    def draw(payload: object) -> Reply:
        return service.draw(*(_get(payload, name) for name in ("run", "drawing", "angle")))

    return [attach, describe, act, look, draw, open_checkpoint, download]


def _add_api(service: Service) -> None:
    """Name the same requests as endpoints, for scripts and for `gradio_client`."""

    async def open_run(link: dict | None = None, scene: str = FIRST_SCENE) -> dict:
        """Open a run in a scene; returns its id and settings."""
        return await service.attach(None, link, scene)

    async def act(action: str, run: str, settings: dict | None = None) -> dict:
        """Train, pause, step, stop, reset or change a run."""
        return await service.act(action, run, settings)

    def describe(settings: dict, scene: str = FIRST_SCENE) -> dict:
        """Check settings; returns reach, cost and link."""
        return service.describe(settings, scene)

    def look(run: str, sample: int) -> dict:
        """Choose the sample a run shows."""
        return service.look(run, sample)

    async def watch(run: str) -> AsyncIterator[dict]:
        """Stream snapshots of a run."""
        async for snapshot in service.watch(run):
            yield snapshot

    def draw(run: str, drawing: list, angle: float) -> dict:
        """Show how a run's network continues a digit of 56 x 56 grey values."""
        return service.draw(run, drawing, angle)

    for function in (open_run, act, describe, look, draw):
        gr.api(function, api_name=function.__name__, queue=False)
    gr.api(watch, api_name="watch", concurrency_limit=None)


def _get(payload: object, name: str) -> object:
    return payload.get(name) if isinstance(payload, dict) else None


def _uploaded(path: object) -> Path | None:
    """Return a path that Gradio's upload made, or None: no other file is ever opened."""
    if not isinstance(path, str) or "\0" in path:
        return None
    resolved = Path(path).resolve()
    inside = resolved.is_relative_to(Path(get_upload_folder()).resolve())
    return resolved if inside and resolved.is_file() else None
