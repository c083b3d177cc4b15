"""Worker processes: what is asked of them, their deaths, and what goes on after."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from convlstm.files.reading import read_checkpoint
from convlstm.server.limits import Limits
from convlstm.server.pool import Pool
from convlstm.settings import settings_of
from tests.server.helpers import DEADLINE, alone, endless_of, facts, small_of

ROOT = Path(__file__).parents[2]


class Asked:
    """A pool, and what tests do with it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def ask(self, name: str, *values: object, run: object = None) -> object:
        return self.wait(self.pool.ask(name, *values, run=run))

    def wait(self, question: Awaitable) -> object:
        return asyncio.run(asyncio.wait_for(question, DEADLINE))

    def opened(self, scene: str = "squares") -> str:
        return self.ask("attach", None, None, scene)["run"]

    def act(self, action: str, run: str, settings: dict | None = None) -> dict:
        return self.ask("act", action, run, settings or {}, run=run)

    def until(self, run: str, wanted: Callable[[dict], object]) -> dict:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            self.pool.watch(run)
            seen = self.pool.seen(run)
            if seen and wanted(seen):
                return seen
            time.sleep(0.02)  # for another process there is no event to wait for
        seen = self.pool.seen(run) or {}
        raise AssertionError({name: seen.get(name) for name in ("state", "step", "reason")})

    def kill(self) -> None:
        (worker,) = self.pool.workers()
        worker.process.kill()
        worker.process.wait()

    def records(self, run: str, tmp_path: Path) -> list:
        _, content = self.ask("download", run, "checkpoint", run=run)
        return facts(read_checkpoint(content).records)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """In workers, too: sums over other numbers of threads differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def serve() -> Iterator[Callable[..., Asked]]:
    made: list[Pool] = []

    def make(folder: Path | None = None, **limits: float) -> Asked:
        made.append(Pool(("cpu",), Limits(**limits), folder))
        return Asked(made[-1])

    yield make
    for pool in made:
        pool.close()


def test_a_worker_answers_and_what_it_shows_comes_up(serve):
    asked = serve()
    assert list(asked.ask("scenes")) == ["squares", "digits", "storm", "own"]
    run = asked.opened()
    shown = asked.until(run, lambda s: s["picture"])
    assert (shown["run"], shown["shipped"]) == (run, True)
    assert asked.pool.wait_ready(0) == ["cpu"]
    assert asked.ask("look", "no such run", 0)["notice"] == {"key": "lost"}


def test_what_is_asked_before_a_worker_is_ready_is_answered_when_it_is(serve):
    asked = serve()
    assert not asked.pool._workers[0].ready.done()
    assert asked.ask("attach", None, None, "storm")["scene"] == "storm"


def test_runs_go_on_after_a_death_with_the_losses_of_an_unbroken_run(serve, tmp_path):
    asked = serve()
    configs = {
        scene: small_of(scene, epochs=epochs, evaluate_every=100)
        for scene, epochs in (("squares", 900), ("digits", 300))
    }
    runs = {scene: asked.opened(scene) for scene in configs}
    for scene, run in runs.items():
        assert asked.act("train", run, settings_of(configs[scene])) == {"state": "training"}
    for steps in (40, 120):
        for run in runs.values():
            asked.until(run, lambda s, steps=steps: s["step"] >= steps)
        asked.kill()
    for scene, run in runs.items():
        last = asked.until(run, lambda s: s["state"] == "finished")
        assert last["resumed"]
        assert asked.records(run, tmp_path) == alone(configs[scene])


def test_a_run_is_never_more_than_a_few_seconds_back(serve):
    asked = serve()
    run = asked.opened()
    asked.act("train", run, settings_of(endless_of("squares")))
    before = asked.until(run, lambda s: s["step"] > 0 and s["seconds"] >= 12)
    asked.kill()
    after = asked.until(run, lambda s: s["resumed"])
    share = 1 - after["resumed"][-1] / before["step"]
    assert share * before["seconds"] <= 10 or after["resumed"][-1] > before["step"]


def test_a_run_that_kills_its_worker_twice_is_ended_and_the_others_go_on(serve):
    asked = serve()
    bad, good = asked.opened(), asked.opened()
    asked.act("train", good, settings_of(endless_of("squares")))
    asked.until(good, lambda s: s["step"] > 3)
    asked.act("pause", good)
    asked.act("train", bad, settings_of(endless_of("squares")))
    asked.until(bad, lambda s: s["step"] > 0)
    supervisor = asked.pool._workers[0]
    for _ in range(2):
        # What a kernel's fault would do: die whenever it is this run's turn.
        deadline = time.monotonic() + DEADLINE
        while supervisor._computing != bad:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        name, step = supervisor._suspect  # and get no further than before
        supervisor._kept[bad] = step if name == bad else 0
        asked.kill()
        supervisor.seen.pop(bad, None)
        asked.until(bad, lambda s: s["state"] in ("training", "failed"))
    ended = asked.until(bad, lambda s: s["state"] == "failed")
    assert ended["reason"] == "worker"
    assert supervisor._order.blamed == frozenset()  # after a reset it has another chance
    step = asked.until(good, lambda s: s["state"] == "paused")["step"]
    asked.act("train", good, settings_of(endless_of("squares")))
    asked.until(good, lambda s: s["step"] > step)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_question_whose_worker_dies_is_asked_once_more_and_no_oftener(serve, deaths):
    asked = serve()
    supervisor = asked.pool._workers[0]
    supervisor.ready.result(DEADLINE)
    first = supervisor.worker
    os.kill(first.process.pid, signal.SIGSTOP)
    future = supervisor.ask("scenes", ())
    first.process.kill()
    if deaths == 2:
        while supervisor.worker is first:
            time.sleep(0.001)
        supervisor.worker.process.kill()  # before it can answer
    reply = future.result(DEADLINE)
    assert ("squares" in reply) == (deaths == 1)
    assert ("notice" in reply) == (deaths == 2)
    assert supervisor.worker is not first
    assert "squares" in asked.ask("scenes")  # whoever asks next is answered


def test_who_leaves_before_the_answer_takes_no_worker_along(serve):
    asked = serve()

    async def leave() -> None:
        question = asyncio.create_task(asked.pool.ask("attach", "gone", None, "storm", run="gone"))
        await asyncio.sleep(0.1)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question

    asyncio.run(leave())
    assert "squares" in asked.ask("scenes")
    assert asked.pool.wait_ready(0) == ["cpu"]


def test_a_message_that_nobody_understands_costs_a_process_and_not_the_server(serve):
    asked = serve()
    run = asked.opened()
    supervisor = asked.pool._workers[0]
    first, understood = supervisor.worker, supervisor._on_seen
    supervisor._on_seen = lambda *given: 1 / 0
    asked.pool.watch(run)
    while supervisor.worker is first:
        asked.pool.watch(run)
        time.sleep(0.02)
    supervisor._on_seen = understood
    assert asked.until(run, lambda s: s["picture"])["run"] == run


@pytest.mark.parametrize("run", [None, 3, [], {}, ["x"], "x" * 10_000])
def test_a_run_that_can_be_none_is_answered(serve, run):
    asked = serve()
    assert asked.ask("look", run, 0, run=run)["notice"] == {"key": "lost"}


def test_runs_outlive_the_server_in_a_folder(serve, tmp_path):
    first = serve(tmp_path)
    config = small_of("digits", epochs=60, evaluate_every=20)
    run, idle = first.opened("digits"), first.opened("storm")
    first.act("train", run, settings_of(config))
    first.until(run, lambda s: s["step"] >= 10)
    first.pool.close()
    second = serve(tmp_path)
    reply = second.ask("attach", idle, None, "storm", run=idle)
    assert (reply["run"], reply["notice"]) == (idle, None)
    assert second.until(run, lambda s: s["state"] == "finished")["step"] == 60
    assert second.records(run, tmp_path) == alone(config)


def test_a_folder_holds_no_more_than_it_may_and_no_leftovers(serve, tmp_path):
    (tmp_path / "worker-0").mkdir()
    (tmp_path / "worker-0" / ".x.json.ab.tmp").write_bytes(b"half")
    (tmp_path / "worker-0" / "x.json").write_bytes(b"rubbish")
    asked = serve(tmp_path, kept_mib=0.2)
    runs = [asked.opened() for _ in range(3)]
    for run in runs:
        asked.act("train", run, settings_of(small_of("squares", hidden_channels=32)))
        asked.until(run, lambda s: s["state"] == "finished")
    asked.pool.close()
    kept = list((tmp_path / "worker-0").glob("*.safetensors"))
    assert sum(path.stat().st_size for path in kept) <= max(0.2 * 2**20, kept[0].stat().st_size)
    assert not list((tmp_path / "worker-0").glob(".*"))


def test_a_worker_that_there_is_no_device_for_says_so():
    pool = Pool(("abacus",))
    with pytest.raises(ValueError, match="device is 'abacus': must be auto, cpu, cuda or mps"):
        pool.wait_ready(DEADLINE)
    assert asyncio.run(pool.ask("scenes"))["notice"]["key"] == "broken"
    pool.close()


def test_workers_end_with_the_process_that_started_them():
    code = """
import sys, time
from convlstm.server.pool import Pool
pool = Pool(("cpu",))
pool.wait_ready()
print(pool.workers()[0].process.pid, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + DEADLINE
    while Path(f"/proc/{worker}").exists() and "Z" not in _state(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0]
    except OSError:
        return "Z"


def test_two_workers_share_the_runs():
    pool = Pool(("cpu", "cpu"))
    asked = Asked(pool)
    try:
        settings = settings_of(endless_of("squares"))
        for _ in range(4):
            run = asked.opened()
            asked.act("train", run, settings)
            asked.until(run, lambda s: s["state"] == "training")
        assert [len(worker.runs) for worker in pool._workers] == [2, 2]
    finally:
        pool.close()


def test_what_is_told_after_a_button_is_whole_again(serve):
    asked = serve()
    run = asked.opened()
    fields = asked.until(run, lambda s: s["picture"]).keys()
    supervisor = asked.pool._workers[0]
    supervisor._on_seen(supervisor._line, run, False, {"step": 1})
    assert supervisor.seen[run].keys() == fields
    supervisor.seen.pop(run)  # as a button does, before the worker has heard of it
    supervisor._on_seen(supervisor._line, run, False, {"step": 2})
    assert run not in supervisor.seen
    supervisor.forget_seen(run)
    assert asked.until(run, lambda s: True).keys() == fields
