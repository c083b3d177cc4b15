"""ONNX from the page: made beside the training, one at a time, refused in a sentence."""

import asyncio
import io
import sys
import zipfile

import pytest

from convlstm.files.checkpoint import network_bytes
from convlstm.files.reading import read_checkpoint
from convlstm.server import exporting
from convlstm.server.exporting import Exporter
from convlstm.server.service import Service
from convlstm.training.trainer import Trainer
from tests.export.test_files import check_forecast, check_step, opened
from tests.server.helpers import SMALL, alone, facts, is_over, small, trained, wait_until
from tests.server.helpers import opened as opened_run


def notice_of(reply: object) -> object:
    return reply["notice"]["key"]


def test_a_run_s_network_is_taken_home_as_onnx_and_its_losses_are_those_of_a_run_alone(serve):
    scheduler = serve()
    config = small(context_frames=2, epochs=60)
    run = opened_run(scheduler, config)
    before = network_bytes(run.trainer, best=False)
    service = Service(scheduler)

    async def train_meanwhile() -> tuple[str, bytes]:
        making = asyncio.create_task(service.export(run.id))
        await asyncio.sleep(0)
        await asyncio.to_thread(trained, scheduler, run, config)
        return await making

    name, content = asyncio.run(train_meanwhile())
    assert name == "convlstm-onnx.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == ["about.txt", "forecast.onnx", "step.onnx"]
        about = archive.read("about.txt").decode()
        forecast, step = (archive.read(f"{part}.onnx") for part in ("forecast", "step"))
    assert "context     (batch, 2, 1, height, width)" in about
    assert str(exporting.tempfile.gettempdir()) not in about
    metadata = opened(forecast).get_modelmeta().custom_metadata_map
    check_forecast(forecast, checkpoint := read_checkpoint(before), int(metadata["horizon"]))
    check_step(step, checkpoint)
    wait_until(lambda: is_over(run))
    assert facts(run.trainer.records) == alone(config)


def test_where_it_cannot_be_made_a_sentence_says_so_and_nothing_is_started(monkeypatch):
    def start(*given: object, **named: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    network = network_bytes(Trainer(SMALL))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        assert notice_of(asyncio.run(Exporter().onnx(network))) == "no onnx"
    monkeypatch.setattr(exporting, "MAX_MIB", 0.001)
    with pytest.raises(exporting.SettingError, match=r"weights is '0 MiB': must be at most 0.001"):
        asyncio.run(Exporter().onnx(network))


def test_a_lost_run_has_no_network(service):
    for run in ("gone", None, [], {"x": 1}):
        assert notice_of(asyncio.run(service.export(run))) == "lost"


def test_files_are_made_one_at_a_time_and_not_too_many_wait(monkeypatch):
    at_once = [0, 0]

    async def made(folder: object, network: bytes) -> tuple[str, bytes]:
        at_once[0] += 1
        at_once[1] = max(at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        at_once[0] -= 1
        return "a.zip", network

    monkeypatch.setattr(exporting, "_made", made)

    async def ask() -> list:
        exporter = Exporter()
        return await asyncio.gather(*(exporter.onnx(b"network") for _ in range(20)))

    replies = asyncio.run(ask())
    assert at_once == [0, 1]
    assert replies[:8] == [("a.zip", b"network")] * 8
    assert [notice_of(reply) for reply in replies[8:]] == ["busy"] * 12


def test_a_process_that_takes_too_long_is_ended_and_one_that_fails_says_why(monkeypatch):
    started = []
    start = asyncio.create_subprocess_exec

    async def noted(*given: object, **named: object) -> asyncio.subprocess.Process:
        started.append(await start(*given, **named))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def ask(seconds: float) -> object:
        monkeypatch.setattr(exporting, "_SECONDS", seconds)
        try:
            return await Exporter().onnx(b"no checkpoint")
        finally:
            await started[-1].wait()

    with pytest.raises(RuntimeError, match="The file is no checkpoint"):
        asyncio.run(ask(300.0))
    assert notice_of(asyncio.run(ask(0.0))) == "onnx slow"
    assert [process.returncode for process in started] == [2, -9]
