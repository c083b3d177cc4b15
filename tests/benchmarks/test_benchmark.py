"""The benchmark runs whole at its smallest size; what it prints of time is not asserted."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convlstm.benchmarks import benchmark as its_module
from convlstm.benchmarks import options
from convlstm.benchmarks.benchmark import Row, _row, _Worker, benchmark, installed, table
from convlstm.benchmarks.contestants import CONTESTANTS, PLAIN
from convlstm.benchmarks.modules import SIZES, Size
from convlstm.commands.main import main
from tests.training.test_captured import Refuses

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
EAGER = [name for name in CONTESTANTS if "compiled" not in name and "Keras" not in name]


def test_the_tiny_benchmark_prints_a_whole_row_for_each_contestant(capsys):
    rows = [PLAIN, "this project, float32", "convolutions alone, float32"]
    flags = [flag for row in rows for flag in ("--row", row)]
    assert main(["benchmark", "--size", "tiny", "--repeats", "2", "--json", *flags]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in found] == rows
    for row in found:
        assert row["error"] == ""
        assert all(row[name] is not None for name in Row.__dataclass_fields__)
    assert found[0]["ratio"] == 1
    assert found[2]["ceiling_share"] == 1


@pytest.mark.parametrize("name", EAGER)
def test_a_contestant_trains_and_predicts(name):
    contestant = CONTESTANTS[name](SIZES["tiny"], CPU)
    contestant.forward()
    contestant.train()
    contestant.train()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_every_contestant_of_a_gpu_is_a_row_without_an_error():
    rows = benchmark("tiny", device="cuda", repeats=1)
    assert {row.name: row.error for row in rows} == dict.fromkeys(installed("cuda"), "")


def test_all_torch_contestants_learn_one_function():
    """With one set of weights they predict the same: what is timed is the same work."""
    plain = CONTESTANTS[PLAIN](SIZES["tiny"], CPU)
    others = [
        CONTESTANTS[name](SIZES["tiny"], CPU)
        for name in EAGER
        if name.startswith("this project") and name.endswith("float32")
    ]
    assert len(others) > 6
    with torch.no_grad():
        for other in others:
            for theirs, mine in zip(
                plain.model.parameters(), other.model.parameters(), strict=True
            ):
                mine.copy_(theirs)
        expected = plain.model(plain.x)
    for other in others:
        torch.testing.assert_close(other.model(other.x), expected)
        other.train()
    for one, two in itertools.pairwise(others):  # and learn the same
        for mine, theirs in zip(one.model.parameters(), two.model.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", [name for name in EAGER if "captured" in name])
def test_what_is_captured_asks_the_device_for_nothing(name):
    contestant = CONTESTANTS[name](SIZES["tiny"], CPU)
    contestant.train()  # the first time, what stays is made
    with Refuses():
        contestant.train()
        contestant.forward()


def test_the_arithmetic_is_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    size = Size(2, 3, 8, 1, 4, 2, 3, repeats=1)
    contestant = CONTESTANTS["this project's reference, float32"](size, CPU)
    contestant.model.head = torch.nn.Identity()
    with FlopCounterMode(display=False) as counter:
        hidden = contestant.model.read(contestant.x)
    assert counter.get_total_flops() == size.flop(training=False)
    with FlopCounterMode(display=False) as counter:
        hidden.sum().backward()
    assert counter.get_total_flops() == size.flop(training=True) - size.flop(training=False)


def test_a_contestant_that_fails_is_a_row_with_its_reason():
    worker = _Worker("nobody", "tiny", "cpu")
    worker.time("train")
    row = _row(worker, {worker.name: worker}, SIZES["tiny"])
    assert (row.train_ms, row.error) == (None, "KeyError: 'nobody'")
    assert "KeyError: 'nobody'" in table("tiny", [row])
    assert worker.ask("memory") is None


def test_a_contestant_whose_process_ends_is_a_row_with_its_reason():
    worker = _Worker(PLAIN, "tiny", "cpu")
    with worker.pool:
        worker.pool.submit(os._exit, 1)
        worker.time("train")
    assert _row(worker, {PLAIN: worker}, SIZES["tiny"]) == Row(PLAIN, error="its process ended")


def test_a_contestant_whose_process_ends_on_the_way_says_so_behind_its_numbers():
    worker = _Worker(PLAIN, "tiny", "cpu")
    worker.seconds = {"train": [0.002, 0.003], "forward": [0.001, 0.001]}
    worker.error, worker.warm_up_seconds = "its process ended", 0.01
    row = _row(worker, {PLAIN: worker}, SIZES["tiny"])
    assert row.train_ms == 2.5
    assert table("tiny", [row]).endswith(", then its process ended")


def test_only_what_is_installed_takes_part(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not [name for name in installed() if "Keras" in name]
    assert PLAIN in installed()


def test_what_only_a_gpu_can_do_takes_no_part_elsewhere(monkeypatch):
    cuda = torch.device("cuda")
    there = {name for name, entry in CONTESTANTS.items() if entry.is_able(cuda)}
    assert not [name for name in installed(CPU) if "captured" in name or "GPU" in name]
    assert not [name for name in there if "Keras" in name or "memory kept" in name]
    assert {"plain loop, captured, float32", "whole training, captured, bfloat16"} < there
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "triton")
    without = {name for name, entry in CONTESTANTS.items() if entry.is_able(cuda)}
    assert "this project, GPU scan, eager gates, bfloat16" in without
    assert "this project, GPU scan, bfloat16" not in without


def test_a_gpu_s_steps_are_timed_in_a_row_and_captured_before(monkeypatch):
    monkeypatch.setattr(its_module, "pick_device", torch.device)
    worker, asked = _Worker(PLAIN, "tiny", "cuda:1"), []

    def ask(what: str, times: int = 1) -> float:
        asked.append((what, times))
        return 0.002

    monkeypatch.setattr(worker, "ask", ask)
    worker.warm_up()
    worker.time("train")
    assert asked == [("train", 4), ("forward", 4), ("train", 1), ("train", 25)]
    assert worker.warm_up_seconds == 0.008
    assert worker.seconds["train"] == [0.002]
    assert [worker._burst(seconds) for seconds in (1e-5, 0.03, 1)] == [100, 2, 1]


@pytest.mark.parametrize("repeats", ["0", "1001", "many"])
def test_a_wrong_number_of_repeats_is_refused(repeats, capsys):
    assert main(["benchmark", "--size", "tiny", "--repeats", repeats]) == 2
    assert "repeats" in capsys.readouterr().err


@pytest.mark.parametrize("name", options.CASES)
def test_the_loop_that_options_are_timed_with_computes_what_the_layer_does(name):
    case = options.CASES[name]
    layer = case.layer(16, 16, [case.kernel_size], **case.options)
    loop, x = options.PlainLoop(case, layer.ndim), torch.rand(8, 9, 16, *[5] * layer.ndim)
    cell, kernels = layer.cells[0], [loop.both] if loop.is_together else [loop.of_x, loop.of_h]
    with torch.no_grad():
        cell.gates.weight.copy_(torch.cat([kernel.weight for kernel in kernels], 1))
        cell.gates.bias.copy_(sum(kernel.bias for kernel in kernels))
        if loop.is_gru:
            cell.gates.bias[32:] = loop.of_x.bias[32:]
            cell.reset_bias.copy_(loop.of_h.bias[32:])
    torch.testing.assert_close(layer(x, lengths=case.lengths)[0], loop(x, case.lengths)[0])


def test_options_are_timed_in_two_sizes(capsys, monkeypatch):
    monkeypatch.setattr(options, "_SIDES", {"large": {2: 4}, "small": {2: 2}})
    monkeypatch.setattr(options, "CASES", {"stride 2": options.CASES["stride 2"]})
    assert main(["benchmark", "--options"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[2] for row in rows[1:]] == ["large", "small"]
    assert main(["benchmark", "--options", "--json"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert all(row["layer_ms"] > 0 and row["loop_ms"] > 0 and row["ratio"] > 0 for row in rows)


def test_scaling_fits_and_draws(tmp_path, capsys, monkeypatch):
    from convlstm.benchmarks import scaling

    sweeps = {"frames": (2, 4), "side": (8, 16), "batch": (1, 2), "hidden_channels": (2, 4)}
    monkeypatch.setattr(scaling, "_SWEEPS", sweeps)
    monkeypatch.setattr(scaling, "_BASE", SIZES["tiny"])
    monkeypatch.setattr(scaling, "_REPEATS", 2)
    file = tmp_path / "scaling.png"
    assert main(["benchmark", "--scaling", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("\n") == 5


def test_freed_memory_is_kept_where_glibc_is(capfd):
    """In a process of its own: it concerns all of its memory."""
    code = (
        "import platform, resource, torch; from convlstm.devices import keep_freed_memory;"
        "kept = keep_freed_memory(); assert kept == (platform.libc_ver()[0] == 'glibc');"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "use = lambda times: any(torch.ones(2**22) is None for _ in range(times));"
        "use(20); before = faults(); use(50);"
        "assert not kept or faults() - before < 4096"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=120)
    assert (done.returncode, capfd.readouterr().err) == (0, "")
