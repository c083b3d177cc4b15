"""The page: one component that draws everything, and the endpoints behind it."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

# Nothing leaves the machine; must stand before Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402
from gradio.utils import get_upload_folder  # noqa: E402

from convlstm.checkpoint import MAX_BYTES  # noqa: E402
from convlstm.presets import PRESETS  # noqa: E402
from convlstm.scheduler import Scheduler  # noqa: E402
from convlstm.training import settings_of  # noqa: E402
from convlstm.ui import controls  # noqa: E402
from convlstm.ui.forecasts import Forecasts  # noqa: E402
from convlstm.ui.notices import Reply  # noqa: E402
from convlstm.ui.service import Service  # noqa: E402
from convlstm.ui.texts import TEXTS  # noqa: E402

_WEB = Path(__file__).parent / "web"
_SCRIPTS = (
    "dom.js",
    "controls.js",
    "curve.js",
    "stage.js",
    "digits.js",
    "share.js",
    "page.js",
)


def build_page(scheduler: Scheduler) -> gr.Blocks:
    """Lay out the page of a server.

    Args:
        scheduler: owns the runs that the page shows.

    Returns:
        The page; launch it with `LAUNCH_OPTIONS`.
    """
    service, forecasts = Service(scheduler), Forecasts()

    with gr.Blocks(title="ConvLSTM Playground", delete_cache=(600, 3600)) as demo:
        page = _component(_server_functions(service, forecasts))

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
        _add_api(service, forecasts)
    demo.queue(api_open=False)
    return demo


# Arguments of launch() that belong to the page, wherever it is launched from.
LAUNCH_OPTIONS = {
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "max_threads": 256,
    "max_file_size": MAX_BYTES,
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
    return gr.HTML(
        html_template='<div class="cp"></div>',
        js_on_load="\n".join((_WEB / name).read_text("utf-8") for name in _SCRIPTS),
        apply_default_css=False,
        server_functions=server_functions,
        markup=(_WEB / "page.html").read_text("utf-8"),
        style=(_WEB / "page.css").read_text("utf-8"),
        texts=TEXTS,
        controls=controls.as_props(),
        presets={key: settings_of(preset.config) for key, preset in PRESETS.items()},
    )


def _server_functions(service: Service, forecasts: Forecasts) -> list[Callable]:
    """Return what the page's script calls, each with one object as its argument."""

    async def attach(payload: object) -> Reply:
        return await service.attach(_get(payload, "run"), _get(payload, "query"))

    def describe(payload: object) -> Reply:
        return service.describe(_get(payload, "settings"))

    async def act(payload: object) -> Reply:
        return await service.act(*(_get(payload, name) for name in ("action", "run", "settings")))

    def look(payload: object) -> Reply:
        return service.look(*(_get(payload, name) for name in ("run", "sample", "lookAhead")))

    async def open_checkpoint(payload: object) -> Reply:
        path = _uploaded(_get(payload, "path"))
        if path is None:
            return {"notice": {"key": "too large"}}
        try:
            return await service.open_checkpoint(_get(payload, "run"), path)
        finally:
            path.unlink(missing_ok=True)

    async def download(payload: object) -> Reply:
        return await service.download(_get(payload, "run"), _get(payload, "kind"))

    async def forecast_sample(payload: object) -> Reply:
        return await forecasts.sample(_get(payload, "sample"))

    async def forecast_drawing(payload: object) -> Reply:
        return await forecasts.drawing(_get(payload, "drawing"), _get(payload, "angle"))

    return [
        attach,
        describe,
        act,
        look,
        open_checkpoint,
        download,
        forecast_sample,
        forecast_drawing,
    ]


def _add_api(service: Service, forecasts: Forecasts) -> None:
    """Name the same requests as endpoints, for scripts and for `gradio_client`."""

    async def open_run(link: dict | None = None) -> dict:
        """Open a run; returns its id and the settings to begin with."""
        return await service.attach(None, link)

    async def act(action: str, run: str, settings: dict | None = None) -> dict:
        """Train, pause, step, stop, reset or change a run."""
        return await service.act(action, run, settings)

    def describe(settings: dict) -> dict:
        """Check settings; returns reach, cost and link."""
        return service.describe(settings)

    def look(run: str, sample: int, look_ahead: int) -> dict:
        """Choose the sample a run shows and how far ahead."""
        return service.look(run, sample, look_ahead)

    async def watch(run: str) -> AsyncIterator[dict]:
        """Stream snapshots of a run."""
        async for snapshot in service.watch(run):
            yield snapshot

    async def forecast_sample(sample: int) -> dict:
        """Continue a Moving MNIST sequence of unseen digits; returns sprites and scores."""
        return await forecasts.sample(sample)

    async def forecast_drawing(drawing: list, angle: float) -> dict:
        """Set 56 x 56 grey values moving and continue them; returns sprites and scores."""
        return await forecasts.drawing(drawing, angle)

    for function in (open_run, act, describe, look, forecast_sample, forecast_drawing):
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
