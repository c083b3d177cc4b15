"""What the page's server serves: its modules, what was made for a download, and nothing else."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import gradio
import pytest
from gradio.routes import App
from starlette.testclient import TestClient

import convlstm
from convlstm.files.reading import read_checkpoint
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.pool import Pool
from convlstm.ui.page import build_page, launch_options

WEB = Path(convlstm.__file__).parent / "ui" / "web"
ROOT = Path(convlstm.__file__).parents[1]


class Server:
    """The page over HTTP, without a port."""

    def __init__(self, page: gradio.Blocks, client: TestClient) -> None:
        self.page, self.client = page, client
        (self.component,) = (b for b in page.blocks.values() if isinstance(b, gradio.HTML))

    def ask(self, function: str, **payload: object) -> dict[str, object]:
        body = {
            "session_hash": "s",
            "component_id": self.component._id,
            "fn_name": function,
            "data": payload,
        }
        # Escaped, or what is no text could not be sent.
        content, form = json.dumps(body), {"content-type": "application/json"}
        reply = self.client.post("/gradio_api/component_server", content=content, headers=form)
        assert reply.status_code == 200
        return reply.json()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back at the end
        pool = Pool(("cpu",))
        options = launch_options(pool)

        async def build() -> tuple[gradio.Blocks, App]:
            page = build_page(pool)
            return page, App.create_app(page, app_kwargs=options["app_kwargs"])

        # Where no event loop runs, Gradio makes some of its own and never closes them.
        page, app = asyncio.run(build())
        page.max_file_size = options["max_file_size"]  # as launch() does
        with TestClient(app) as client:
            yield Server(page, client)
        pool.close()


@pytest.mark.parametrize("scene", CATALOGUE)
def test_a_download_s_address_serves_the_file(server, scene):
    run = server.ask("attach", run=None, query=None, scene=scene)["run"]
    made = server.ask("download", run=run, kind="checkpoint")
    assert set(made) == {"name", "url"}
    assert made["name"] == f"{scene}.safetensors"
    reply = server.client.get(f"/{made['url']}")
    assert reply.status_code == 200
    assert read_checkpoint(reply.content).config.scene.name == scene
    losses = server.ask("download", run=run, kind="losses")
    assert server.client.get(f"/{losses['url']}").text.startswith("step,")
    assert server.ask("download", run=run, kind="nothing")["notice"]["name"] == "kind"
    assert server.ask("download", run="gone", kind="losses")["notice"] == {"key": "lost"}


def test_the_page_s_modules_are_served(server):
    address = server.component.props["web"]
    for name in ("page.js", "page.css"):
        reply = server.client.get(f"/{address}{name}")
        assert reply.status_code == 200
        assert reply.text == (WEB / name).read_text("utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "checkpoints/quick-start.safetensors",
        "convlstm/ui/page.py",
        "convlstm/ui/web/../page.py",
        "convlstm/ui/texts/english.py",
    ],
)
def test_no_other_file_of_the_program_is_served(server, path):
    assert (ROOT / path).exists()
    for address in (path, f"{ROOT.as_posix()}/{path}"):
        reply = server.client.get(f"/gradio_api/file={address}")
        assert reply.status_code in (403, 404)


def test_no_file_outside_the_cache_is_served_or_opened(server, tmp_path):
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes((ROOT / "checkpoints" / "quick-start.safetensors").read_bytes())
    inside = Path(server.page.GRADIO_CACHE)
    for address in (secret, "/etc/passwd", f"{inside}/../{secret.name}", f"{inside}/../{secret}"):
        reply = server.client.get(f"/gradio_api/file={address}")
        assert reply.status_code in (403, 404)
    run = server.ask("attach", run=None, query=None, scene="squares")["run"]
    for path in (str(secret), "/etc/passwd", "", "\0", "x" * 300, "\ud800", None, 3, ["x"]):
        reply = server.ask("open_checkpoint", run=run, path=path)
        assert reply == {"notice": {"key": "too large"}}
    assert secret.exists()


def test_an_uploaded_checkpoint_is_opened_and_forgotten(server):
    content = (ROOT / "checkpoints" / "quick-start.safetensors").read_bytes()
    files = {"files": ("mine.safetensors", content)}
    (path,) = server.client.post("/gradio_api/upload", files=files).json()
    assert Path(path).exists()
    run = server.ask("attach", run=None, query=None, scene="squares")["run"]
    reply = server.ask("open_checkpoint", run=run, path=path)
    assert reply["notice"] == {"key": "opened"}
    assert not Path(path).exists()
