"""The page: one component that draws everything, and the endpoints behind it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

# Nothing leaves the machine; must stand before Gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402
from gradio.processing_utils import save_bytes_to_cache  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from convlstm.server.classroom import Classroom  # noqa: E402
from convlstm.server.limits import MAX_UPLOAD_BYTES  # noqa: E402
from convlstm.server.pool import Pool, Reply  # noqa: E402
from convlstm.ui.classroom import class_functions  # noqa: E402
from convlstm.ui.intake import Intake  # noqa: E402
from convlstm.ui.stream import Streams  # noqa: E402
from convlstm.ui.texts import TEXTS  # noqa: E402
from convlstm.ui.zero_gpu import ZeroGpu, lends  # noqa: E402

_WEB = Path(__file__).parent / "web"
STYLES = ("page", "inside", "speed", "pins", "lessons", "clip")
_MOST_UNREAD = 4  # messages of streams that a visitor may leave unread before they end
# Gradio runs this in the component; what it gives goes to the modules, which import each other. It
# looks here for the names of the component's own events. At every update it goes through all props,
# so what never changes is one text.
_LOADER = """
// They trigger "follow", and where GPUs are lent "borrow".
const given = { ...JSON.parse(props.fixed), get value() { return props.value; } };
import(new URL(props.web + "page.js", document.baseURI)).then(({ start }) =>
  start({ element, props: given, server, upload, trigger, watch }));
"""


def build_page(pool: Pool, classroom: Classroom | None = None) -> gr.Blocks:
    """Lay out the page of a server.

    Args:
        pool: computes the runs that the page shows.
        classroom: the class that it is served to, if any.

    Returns:
        The page; launch it with `launch_options`.
    """
    streams, files = Streams(pool, classroom), _files(pool)
    files.mkdir(exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(files)  # the only way to tell Gradio
    lender = ZeroGpu(pool) if lends() else None

    with gr.Blocks(title="ConvLSTM Playground", delete_cache=(600, 3600)) as demo:
        gr.set_static_paths([_WEB])
        functions = _server_functions(pool, files)
        if classroom:
            functions += class_functions(pool, classroom)
        page = _component(functions, _WEB / "class.html" if classroom else None)

        def is_read(request: gr.Request) -> bool:
            """Whether a visitor takes what is sent: for others it would pile up."""
            waiting = demo._queue.pending_messages_per_session.get(request.session_hash)
            return waiting is None or waiting.qsize() <= _MOST_UNREAD

        async def follow(event: gr.EventData, request: gr.Request) -> AsyncIterator[Reply]:
            run_id = event._data.get("run") if isinstance(event._data, dict) else None
            async for snapshot in streams.watch(run_id, lambda: is_read(request)):
                yield snapshot | {"gpu": lender.said(run_id)} if lender else snapshot

        page.follow(
            follow,
            outputs=page,
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="multiple",
            api_visibility="private",
        )
        if lender:
            _add_borrowing(page, lender)
        _add_api(pool, streams, is_read)
    demo.queue(api_open=False)
    return demo


def launch_options(pool: Pool) -> dict[str, object]:
    """Return the arguments of launch() that belong to the page of a server."""
    return {
        "app_kwargs": {"middleware": [Middleware(Intake, folder=_files(pool))]},
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


def _files(pool: Pool) -> Path:
    """Return the folder of files that are on their way to or from a browser."""
    return pool.passing / "files"


def _component(server_functions: list[Callable], classroom: Path | None) -> gr.HTML:
    """Make the one component of the page; its value is the latest snapshot of the viewer's run.

    The markup is put in by the script and not by the template, which Gradio would render again and
    compare with the document at every update. No subclass: Gradio would write a file beside it.

    Args:
        server_functions: what its script calls.
        classroom: the markup of a class; its style lies beside it.
    """
    fixed = {
        "markup": (_WEB / "page.html").read_text("utf-8"),
        "style": "".join((_WEB / f"{name}.css").read_text("utf-8") for name in STYLES),
        "texts": TEXTS,
    }
    if classroom:
        fixed["classroom"] = classroom.read_text("utf-8")
        fixed["style"] += classroom.with_suffix(".css").read_text("utf-8")
    return gr.HTML(
        html_template='<div class="cp"></div>',
        js_on_load=_LOADER,
        apply_default_css=False,
        server_functions=server_functions,
        fixed=json.dumps(fixed),
        web=f"gradio_api/file={_WEB.resolve().as_posix()}/",
    )


def _server_functions(pool: Pool, files: Path) -> list[Callable]:
    """Return what the page's script calls, each with one object as its argument."""

    async def scenes(payload: object) -> Reply:
        return await pool.ask("scenes")

    async def attach(payload: object) -> Reply:
        names = ("run", "query", "scene", "lesson")
        run, query, scene, lesson = (_get(payload, name) for name in names)
        return await pool.ask("attach", run, query, scene, lesson, run=run)

    async def lessons(payload: object) -> Reply:
        return await pool.ask("lessons")

    async def answer(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("answer", run, _get(payload, "given"), run=run)

    async def describe(payload: object) -> Reply:
        return await pool.ask("describe", _get(payload, "settings"), _get(payload, "scene"))

    async def act(payload: object) -> Reply:
        action, run, settings = (_get(payload, name) for name in ("action", "run", "settings"))
        return await pool.ask("act", action, run, settings, run=run)

    async def look(payload: object) -> Reply:
        run, sample, speed = (_get(payload, name) for name in ("run", "sample", "speed"))
        return await pool.ask("look", run, sample, speed, run=run)

    async def study(payload: object) -> Reply:
        run, kind, options = (_get(payload, name) for name in ("run", "kind", "options"))
        return await pool.ask("study", run, kind, options, run=run)

    async def stop_study(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("stop_study", run, run=run)

    async def look_inside(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("look_inside", run, _get(payload, "asked"), run=run)

    async def pin(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("pin", run, run=run)

    async def unpin(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("unpin", run, _get(payload, "number"), run=run)

    async def pins(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("pins", run, run=run)

    async def compare(payload: object) -> Reply:
        run = _get(payload, "run")
        return await pool.ask("compare", run, run=run)

    async def draw(payload: object) -> Reply:
        run, drawing, angle = (_get(payload, name) for name in ("run", "drawing", "angle"))
        return await pool.ask("draw", run, drawing, angle, run=run)

    async def open_checkpoint(payload: object) -> Reply:
        return await open_file("open_checkpoint", payload)

    async def open_clip(payload: object) -> Reply:
        return await open_file("open_clip", payload, _get(payload, "settings"))

    async def open_file(name: str, payload: object, *values: object) -> Reply:
        path, run = _uploaded(_get(payload, "path"), files), _get(payload, "run")
        if path is None:
            return {"notice": {"key": "too large"}}
        return await pool.open_file(name, run, path, *values)

    async def download(payload: object) -> Reply:
        run, kind = _get(payload, "run"), _get(payload, "kind")
        asked = ("export", run) if kind == "onnx" else ("download", run, kind)
        made = await pool.ask(*asked, run=run)
        if isinstance(made, dict):
            return made
        name, content = made
        # An address of Gradio's own, which forgets the file after an hour.
        path = await asyncio.to_thread(save_bytes_to_cache, content, name, str(files))
        return {"name": name, "url": f"gradio_api/file={Path(path).as_posix()}"}

    return [
        scenes,
        lessons,
        attach,
        answer,
        describe,
        act,
        look,
        look_inside,
        study,
        stop_study,
        pin,
        unpin,
        pins,
        compare,
        draw,
        open_checkpoint,
        open_clip,
        download,
    ]


def _add_borrowing(page: gr.HTML, lender: ZeroGpu) -> None:
    """Let the page ask for a GPU: in a queued event, as others carry no visitor's quota."""

    def borrow(event: gr.EventData) -> None:
        run, anew = _get(event._data, "run"), _get(event._data, "anew")
        lender.compute(run, anew=anew is True)

    page.borrow(
        borrow,
        show_progress="hidden",
        concurrency_limit=None,
        trigger_mode="multiple",
        api_visibility="private",
    )


def _add_api(pool: Pool, streams: Streams, is_read: Callable[[gr.Request], bool]) -> None:
    """Name the same requests as endpoints, for scripts and for `gradio_client`."""

    async def open_run(
        link: dict | None = None, scene: str | None = None, lesson: str | None = None
    ) -> dict:
        """Open a run in a scene, or for a lesson; returns its id and settings."""
        return await pool.ask("attach", None, link, scene, lesson)

    async def act(action: str, run: str, settings: dict | None = None) -> dict:
        """Train, pause, step, stop, reset or change a run, or undo a reset."""
        return await pool.ask("act", action, run, settings, run=run)

    async def describe(settings: dict, scene: str | None = None) -> dict:
        """Check settings; returns reach, cost and link."""
        return await pool.ask("describe", settings, scene)

    async def look(run: str, sample: int, speed: int | None = None) -> dict:
        """Choose the sample a run shows; with a speed, one of the speed test's."""
        return await pool.ask("look", run, sample, speed, run=run)

    async def study(run: str, kind: str, options: dict | None = None) -> dict:
        """Begin a long question about a run's network; snapshots tell what comes of it."""
        return await pool.ask("study", run, kind, options, run=run)

    async def stop_study(run: str) -> dict:
        """End that question; the run goes on."""
        return await pool.ask("stop_study", run, run=run)

    async def look_inside(run: str, asked: dict) -> dict:
        """Show what a run's cells do: maps, a pixel, an experiment."""
        return await pool.ask("look_inside", run, asked, run=run)

    async def watch(run: str, request: gr.Request) -> AsyncIterator[dict]:
        """Stream snapshots of a run."""
        async for snapshot in streams.watch(run, lambda: is_read(request)):
            yield snapshot

    async def draw(run: str, drawing: list, angle: float) -> dict:
        """Show how a run's network continues a digit of 56 x 56 grey values."""
        return await pool.ask("draw", run, drawing, angle, run=run)

    for function in (open_run, act, describe, look, look_inside, study, stop_study, draw):
        gr.api(function, api_name=function.__name__, queue=False)
    gr.api(watch, api_name="watch", concurrency_limit=None)


def _get(payload: object, name: str) -> object:
    return payload.get(name) if isinstance(payload, dict) else None


def _uploaded(path: object, files: Path) -> Path | None:
    """Return a path that Gradio's upload made, or None: no other file is ever opened."""
    if not isinstance(path, str):
        return None
    try:
        resolved = Path(path).resolve()
        inside = resolved.is_relative_to(files.resolve())
        return resolved if inside and resolved.is_file() else None
    except (OSError, ValueError):  # too long, a zero byte, or no text at all
        return None
