import time
from pathlib import Path

import pytest
import torch

from convlstm import devices
from convlstm.devices import Threads, pick_device, resolve_precision


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")


def test_a_device_that_is_not_there_is_refused_with_what_would_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is 'cuda': this machine has none; use --device"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device is 'gpu': must be auto, cpu, cuda or mps."):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device is 'cuda:7': must have a number under 2"):
        pick_device("cuda:7")


def test_a_precision_is_resolved_for_the_device():
    cpu = torch.device("cpu")
    for precision in ("float32", "bfloat16", "float16"):
        assert resolve_precision(precision, cpu) == precision
    assert resolve_precision("auto", cpu) in ("float32", "bfloat16")
    assert resolve_precision("auto", torch.device("meta")) == "float32"


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_threads_are_as_many_as_cores_that_nobody_else_uses(four_threads, monkeypatch):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    used = [0.0, 0.0]  # s, of all programs together and of this process
    threads, now = Threads(lambda: tuple(used)), time.monotonic() + 100
    threads.adapt(now)

    def after(seconds: float, own: float, others: float) -> int:
        nonlocal now
        now += seconds
        used[:] = used[0] + seconds * (own + others), used[1] + seconds * own
        return threads.adapt(now)

    assert after(1, own=4, others=0) == 4
    assert after(1, own=3.5, others=0.5) == 4  # the page, or a player of music
    assert after(1, own=3, others=1) == 3
    assert after(0.5, own=1, others=3) == 3  # it looks once a second
    assert after(0.5, own=1, others=3) == 1
    assert after(1, own=0, others=4) == 1  # never none
    assert after(1, own=1, others=0.3) == 4
    assert after(1, own=1, others=1.4) == 3
    assert after(1, own=1, others=1.2) == 3


def test_threads_stay_where_nobody_says_what_others_use(four_threads):
    threads = Threads(lambda: None)
    assert threads.adapt(time.monotonic() + 100) == 4


def test_what_is_used_is_read_from_this_system():
    if not Path("/proc/stat").exists():
        pytest.skip("only on Linux")
    everybody, own = devices._used_seconds()
    assert everybody > own > 0


@pytest.mark.parametrize(("niceness", "seconds"), [(0, 50.0), (5, 70.0)])
def test_who_gives_way_is_not_counted_unless_this_program_does_too(monkeypatch, niceness, seconds):
    #                    user nice system idle waiting interrupts stolen
    lines = [
        "cpu  1 1 1 1 1 1 1 1",
        "cpu0 1000 2000 500 9000 800 300 200 3000",
        "cpu1 7 7 7 7 7 7 7 7",
    ]
    monkeypatch.setattr(devices.Path, "read_text", lambda path: "\n".join(lines))
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(devices.os, "sysconf", lambda name: 100, raising=False)
    monkeypatch.setattr(devices.os, "nice", lambda more: niceness, raising=False)
    assert devices._used_seconds()[0] == seconds
