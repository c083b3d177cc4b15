"""A GPU's report: whole on the CPU at its tiny size, and whatever may happen to a part of it."""

import itertools
import json
import signal
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from convlstm.benchmarks import gpu_digits, gpu_parts, gpu_quick
from convlstm.benchmarks import gpu_report as reports
from convlstm.benchmarks.apart import WorkFailed, one_line
from convlstm.benchmarks.benchmark import Row
from convlstm.benchmarks.contestants import PLAIN
from convlstm.benchmarks.gpu_digits import NETWORK_NAME, RUN_NAME, run_moving_mnist
from convlstm.benchmarks.gpu_found import (
    CheckResult,
    DigitsRun,
    ForecastRate,
    Goal,
    PartReport,
    QuickRun,
    QuickStart,
    QuickStarts,
    Report,
    SpeedTable,
    StepTimes,
)
from convlstm.benchmarks.gpu_goals import goals_of
from convlstm.benchmarks.gpu_markdown import markdown
from convlstm.benchmarks.gpu_parts import (
    SIZES,
    Order,
    Progress,
    machine,
    run_checks,
    run_speed,
    speed,
)
from convlstm.benchmarks.gpu_quick import run_quick_start
from convlstm.benchmarks.gpu_report import JSON_NAME, MARKDOWN_NAME, PARTS, make_report
from convlstm.commands import gpu_report as command
from convlstm.commands.main import main
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.pieces import finish
from convlstm.settings import configure
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.metrics import METRICS, Scores
from convlstm.training.presets import preset
from convlstm.training.trainer import Trainer
from tests.benchmarks.test_gpu_checks import Bursting

TINY = replace(SIZES["tiny"], rows=(PLAIN,))  # a process for each contestant takes seconds
LONG = 100.0  # minutes


class Here:
    """Does work in this process, and is not in a hurry."""

    def __init__(self, *_: object) -> None:
        self._is_closed = False

    def pieces(self, work, *arguments, seconds):
        self._is_closed = False
        pieces = work(*arguments)
        try:
            for piece in pieces:
                yield piece
                if self._is_closed:
                    pieces.close()
                    return False
        except Exception as error:
            raise WorkFailed(one_line(error)) from error
        return True

    def close_work(self):
        self._is_closed = True

    def end(self):
        pass


def strict(text: str) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read(folder) -> dict:
    return strict((folder / JSON_NAME).read_text("utf-8"))


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table of a Markdown text; all lines of a table have as many."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    found = [[line.replace("\\|", "").strip("|").split("|") for line in block] for block in blocks]
    for table in found:
        assert {len(line) for line in table} == {len(table[0])}
        assert all(cell.strip() == "---" for cell in table[1])
    return found


def report_of(folder, parts, minutes=LONG, size=TINY) -> Report:
    return finish(make_report(Order("cpu", size, folder), minutes, Here(), parts))


def test_of_a_gpu_is_said_which(monkeypatch):
    facts = SimpleNamespace(
        name="NVIDIA H100", total_memory=80 * 2**30, major=9, minor=0, multi_processor_count=132
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    (piece,) = machine("cuda")
    assert piece.found["device"] == "NVIDIA H100"
    assert (piece.found["memory_gib"], piece.found["precision"]) == (80.0, "bfloat16")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a report with all of its parts."""
    folder = tmp_path_factory.mktemp("report")
    report_of(folder, None)
    return folder


def test_every_part_passes_and_is_read_back_from_strict_json(whole):
    report = read(whole)
    assert report["passed"] is True
    assert list(report["parts"]) == list(PARTS)
    assert {part["state"] for part in report["parts"].values()} == {"passed"}
    assert set(report) == {field.name for field in fields(Report)} | {"passed"}
    assert (report["version"], report["size"], report["device"]) == (1, "tiny", "cpu")
    assert report["machine"]["device"] == "the CPU"
    for goal in report["goals"]:
        assert set(goal) == {field.name for field in fields(Goal)}
        assert goal["verdict"] == "not measured"  # of a GPU
    found = {name: part["found"] for name, part in report["parts"].items()}
    kinds = {
        "frames per second": ForecastRate,
        "Quick start": QuickStarts,
        "Moving MNIST": DigitsRun,
    }
    for name, kind in kinds.items():
        assert set(found[name]) == {field.name for field in fields(kind)}
    for check in found["checks"]:
        assert set(check) == {field.name for field in fields(CheckResult)}
        assert check["passed"] is True
    (table,) = found["speed"]
    assert table["size"] == "tiny"
    assert [row["name"] for row in table["rows"]] == [PLAIN]
    assert set(table["rows"][0]) == {field.name for field in fields(Row)}
    assert table["rows"][0]["ratio"] == 1
    assert found["frames per second"]["frames_per_second"] > 0
    quick = found["Quick start"]
    assert [run["seed"] for run in quick["plain"]["runs"]] == list(TINY.seeds)
    assert all(run["step_ms"] > 0 for run in quick["plain"]["runs"])
    assert (quick["captured"], quick["not_captured"]) == (None, "")  # a CPU cannot
    digits = found["Moving MNIST"]
    assert digits["step_times"]["plain"] > 0
    assert digits["step_times"]["captured"] is None
    assert digits["ended"] == "finished"
    assert digits["scored"] == TINY.sequences
    assert set(digits["model"]) == set(METRICS)
    assert set(digits["baselines"]) == {"copy_last", "black"}


def test_the_training_is_kept_and_its_scores_and_arithmetic_are_those_of_its_file(whole, capsys):
    digits = read(whole)["parts"]["Moving MNIST"]["found"]
    assert read(whole)["files"] == [RUN_NAME, NETWORK_NAME]
    run = read_checkpoint(whole / RUN_NAME)
    assert len(run.records) == digits["steps"] == digits["sequences"]
    flop = sum(gpu_digits._step_flop(run.config, record.horizon) for record in run.records)
    assert digits["flop"] == pytest.approx(flop)
    assert 0.8 * TINY.most_flop < flop <= TINY.most_flop
    flags = ["--sequences", str(TINY.sequences), "--device", "cpu", "--json"]
    assert main(["evaluate", str(whole / NETWORK_NAME), *flags]) == 0
    scores = strict(capsys.readouterr().out)["mean"]["model"]
    assert digits["model"]["mse"] == pytest.approx(32**2 * scores["mse"])
    assert digits["model"]["ssim_openstl"] == pytest.approx(scores["ssim_openstl"])


def test_its_markdown_has_a_table_for_each_part(whole):
    text = (whole / MARKDOWN_NAME).read_text("utf-8")
    facts, goals, parts, checks, speed, quick, digits = tables(text)
    assert "No GPU took part" in text
    assert len(goals) == 2 + 5
    assert [line[0].strip() for line in parts[2:]] == list(PARTS)
    assert len(checks) == 2 + len(read(whole)["parts"]["checks"]["found"])
    assert speed[2][0].strip() == PLAIN
    assert len(quick) == 2 + 1 + len(TINY.seeds)
    assert [line[0].strip() for line in digits[2:5]] == [
        "this training",
        "repeat last frame",
        "black frame",
    ]


# What may happen to a part.


def failing(error):
    def run(place, order, seconds):
        yield Progress(0.5, "half of it", ())
        raise error

    return run


def done(place, order, seconds):
    yield Progress(1.0, "all of it", None)
    return True


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("size is 3:\nmust be 4."), "size is 3: must be 4."),
        (WorkFailed("its process was ended by SIGSEGV"), "its process was ended by SIGSEGV"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has",
        ),
    ],
)
def test_a_part_that_breaks_is_a_line_and_the_others_go_on(tmp_path, error, reason):
    seen = {}

    def look(place, order, seconds):  # while the report is under way
        seen.update(read(order.folder)["parts"])
        yield from done(place, order, seconds)
        return True

    parts = {"first": (0.1, failing(error)), "second": (0.1, look), "third": (1.0, done)}
    report = report_of(tmp_path, parts)
    states = {name: part.state for name, part in report.parts.items()}
    assert states == {"first": "failed", "second": "passed", "third": "passed"}
    assert not report.passed
    assert report.parts["first"].reason == reason
    assert seen["first"]["reason"] == reason
    assert seen["second"]["state"] == "not begun"
    lines = (tmp_path / MARKDOWN_NAME).read_text("utf-8").splitlines()
    assert any(line.startswith("| first | failed |") and reason in line for line in lines)


def test_a_check_that_fails_is_named_and_the_others_are_done(tmp_path, monkeypatch):
    def fails(device, size):
        raise WorkFailed("it does not hold")

    monkeypatch.setattr(
        gpu_parts, "CHECKS", {"one": lambda *_: "seen", "two": fails, "three": lambda *_: "seen"}
    )
    part = report_of(tmp_path, {"checks": (1.0, run_checks)}).parts["checks"]
    assert (part.state, part.reason) == ("failed", "1 of 3 checks failed: two: it does not hold")
    assert [(each.passed, each.said) for each in part.found] == [
        (True, "seen"),
        (False, "it does not hold"),
        (True, "seen"),
    ]


def test_a_contestant_that_fails_fails_its_part_and_the_table_stands(tmp_path):
    class Told(Here):
        def pieces(self, work, *arguments, seconds):
            if work is not speed:
                return (yield from super().pieces(work, *arguments, seconds=seconds))
            rows = (Row(PLAIN, train_ms=1.0, train_spread=0.0, forward_ms=1.0), *others)
            yield Progress(1.0, "tiny", (SpeedTable("tiny", rows),))
            return True

    def part_with():
        order = Order("cpu", TINY, tmp_path)
        return finish(make_report(order, LONG, Told(), {"speed": (1.0, run_speed)})).parts["speed"]

    others = [
        Row("plain loop, compiled, float32", error="no compiler"),
        Row("Keras on jax", error="x"),
    ]
    assert part_with().state == "passed"  # what others make is no fault of this program
    others = [Row("this project, float32", error="CUDA error: an illegal address")]
    part = part_with()
    assert part.state == "failed"
    assert part.reason == "this project, float32: CUDA error: an illegal address"
    assert "an illegal address" in (tmp_path / MARKDOWN_NAME).read_text("utf-8")


def test_contestants_are_timed_in_groups_each_with_what_it_is_compared_with():
    names = [f"loop {number}, float32" for number in range(9)]
    names += ["plain loop, compiled, float32", PLAIN, "convolutions alone, float32"]
    names += ["this project, float32", "this project, captured, bfloat16"]
    groups = gpu_parts._groups(names)
    compared = [PLAIN, "convolutions alone, float32"]
    assert all(group[:2] == compared for group in groups)
    first, *_, last = groups
    assert first[2:4] == ["this project, captured, bfloat16", "this project, float32"]
    assert last[2:] == ["plain loop, compiled, float32"]
    others = [name for group in groups for name in group[2:]]
    assert sorted(others + compared) == sorted(names)
    assert max(map(len, groups)) == 2 + gpu_parts._TOGETHER
    assert gpu_parts._groups([PLAIN]) == [[PLAIN]]


def test_a_goal_that_is_not_reached_from_every_seed_fails_quick_start(tmp_path):
    size = replace(TINY, quick={**TINY.quick, "epochs": 1}, quick_goal=1e-6)
    part = report_of(tmp_path, {"Quick start": (1.0, run_quick_start)}, size=size).parts[
        "Quick start"
    ]
    assert (part.state, part.reason) == ("failed", "The goal was not reached from seed 0, 1.")
    assert {run.ended for run in part.found.plain.runs} == {"finished"}


def test_a_part_whose_time_is_up_says_so_and_one_without_time_is_not_begun(tmp_path):
    def cut(place, order, seconds):
        yield Progress(0.5, "half of it", None)
        return False

    report = report_of(tmp_path, {"first": (1.0, cut)})
    assert report.parts["first"].state == "cut short"
    assert not report.passed
    report = report_of(tmp_path, {"first": (1.0, done)}, minutes=0.0)
    assert (report.parts["first"].state, report.parts["first"].reason) == (
        "not begun",
        "no time was left",
    )


def test_the_minutes_are_shared_out_and_what_is_left_over_is_the_last_one_s(tmp_path):
    given = []

    def run(place, order, seconds):
        given.append(seconds)
        yield from done(place, order, seconds)
        return True

    report_of(tmp_path, {name: (share, run) for name, (share, _) in PARTS.items()}, minutes=10.0)
    expected = [600 * share for share, _ in PARTS.values()]
    assert given[:-1] == pytest.approx(expected[:-1])
    assert 0.9 * 600 < given[-1] <= 600
    assert sum(expected[:-1]) < 0.6 * 600  # in the worst case the training has the larger part


def test_an_interrupted_report_says_how_far_it_is_and_keeps_the_training(tmp_path):
    size = replace(TINY, most_flop=1e15)
    parts = {"first": (0.1, done), "Moving MNIST": (1.0, run_moving_mnist), "last": (1.0, done)}
    pieces = make_report(Order("cpu", size, tmp_path), LONG, Here(), parts)
    for name, piece in pieces:
        if name == "Moving MNIST" and piece and piece.found and piece.found.steps == 3:
            break
    pieces.close()
    report = read(tmp_path)
    assert [part["state"] for part in report["parts"].values()] == [
        "passed",
        "interrupted",
        "not begun",
    ]
    digits = report["parts"]["Moving MNIST"]["found"]
    assert digits["steps"] >= 3
    assert digits["model"] is None
    assert len(read_checkpoint(tmp_path / RUN_NAME).records) == digits["steps"]
    assert report["files"] == [RUN_NAME, NETWORK_NAME]
    tables((tmp_path / MARKDOWN_NAME).read_text("utf-8"))


def test_a_part_under_way_is_written_now_and_then_should_all_be_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_WRITE_SECONDS", 0.0)
    seen = []

    def look(place, order, seconds):
        for number in range(3):
            yield Progress(0.5, "working", number)
            seen.append(read(order.folder)["parts"]["first"])
        return True

    report_of(tmp_path, {"first": (1.0, look)})
    assert [part["found"] for part in seen] == [0, 1, 2]
    assert {part["state"] for part in seen} == {"interrupted"}


def test_a_second_interruption_writes_what_is_known(tmp_path):
    parts = {"first": (0.1, done), "second": (1.0, failing(KeyboardInterrupt()))}
    with pytest.raises(KeyboardInterrupt):
        report_of(tmp_path, parts)
    states = [part["state"] for part in read(tmp_path)["parts"].values()]
    assert states == ["passed", "interrupted"]


def test_steps_of_which_nobody_was_told_one_by_one_count(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_digits, "Trainer", Bursting)
    size = replace(TINY, digits={**TINY.digits, "curriculum": 1.0})
    part = report_of(tmp_path, {"Moving MNIST": (1.0, run_moving_mnist)}, size=size).parts[
        "Moving MNIST"
    ]
    records = read_checkpoint(tmp_path / RUN_NAME).records
    assert part.found.steps == len(records)
    config = configure(size.digits, preset("moving-mnist-openstl"))
    flop = sum(gpu_digits._step_flop(config, record.horizon) for record in records)
    assert len({record.horizon for record in records}) > 1
    assert part.found.flop == pytest.approx(flop)


def test_a_training_that_diverges_fails_its_part_with_its_last_good_weights(tmp_path, monkeypatch):
    class Lost(Trainer):
        def _update(self, loss, rate):
            return (
                self.step < 2 if self.config.evaluate_every < 1000 else super()._update(loss, rate)
            )

    monkeypatch.setattr(gpu_digits, "Trainer", Lost)
    report = report_of(tmp_path, {"Moving MNIST": (1.0, run_moving_mnist)})
    part = report.parts["Moving MNIST"]
    assert (part.state, part.reason) == ("failed", "The training diverged.")
    assert (part.found.ended, part.found.scored) == ("diverged", TINY.sequences)


def test_a_training_slower_than_thought_is_scored_as_it_is(tmp_path, monkeypatch):
    def fast(device, size, captured):
        yield Progress(0.0, "timing", 1e-6)

    monkeypatch.setattr(gpu_digits, "time_steps", fast)
    size = replace(TINY, most_flop=1e12)
    report = report_of(tmp_path, {"Moving MNIST": (1.0, run_moving_mnist)}, 0.04, size)
    part = report.parts["Moving MNIST"]
    assert part.state == "cut short"
    assert part.found.ended is None
    assert part.found.scored >= size.first_sequences


def test_a_report_that_cannot_be_written_is_an_error_at_its_end_alone(tmp_path):
    (tmp_path / JSON_NAME).mkdir()
    told = []
    with pytest.raises(CheckpointError, match="Could not write"):
        pieces = make_report(Order("cpu", TINY, tmp_path), LONG, Here(), {"first": (1.0, done)})
        told.extend(finish(pieces, told.append))
    assert told[-1][1].state == "passed"


# Trainings that a GPU repeats by itself; here each step of them is told as it stands.


@pytest.fixture
def captures(monkeypatch):
    """Have this machine's trainings captured, too."""
    for module in (gpu_quick, gpu_digits):
        monkeypatch.setattr(module, "can_capture", lambda device: True)


class Uncapturable(CapturedTrainer):
    """Breaks as its steps are captured, from a step on."""

    begins_at = 2

    def _whole_step(self, *how):
        if self.step >= self.begins_at:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        super()._whole_step(*how)


WHY = "RuntimeError: CUDA error: operation not permitted when stream is capturing"
BOTH = {"Quick start": (0.5, run_quick_start), "Moving MNIST": (1.0, run_moving_mnist)}


def test_both_ways_of_training_are_timed_and_what_can_be_captured_is(tmp_path, captures):
    report = report_of(tmp_path, BOTH)
    assert {part.state for part in report.parts.values()} == {"passed"}
    found, digits = (report.parts[name].found for name in BOTH)
    for ours, theirs in zip(found.captured.runs, found.plain.runs, strict=True):
        assert (ours.seed, ours.steps, ours.ended) == (theirs.seed, theirs.steps, theirs.ended)
        assert ours.mse == pytest.approx(theirs.mse, rel=1e-2)
    assert digits.step_times.plain > 0
    assert digits.step_times.captured > 0
    assert (digits.ended, digits.scored) == ("finished", TINY.sequences)
    assert len(read_checkpoint(tmp_path / RUN_NAME).records) == digits.steps
    text = (tmp_path / MARKDOWN_NAME).read_text("utf-8")
    assert (
        f"{digits.step_times.plain:.2f} ms, and captured {digits.step_times.captured:.2f} ms"
        in text
    )
    assert "Not captured" not in text
    labels = [line[0].strip() for line in tables(text)[-2][2:]]
    assert labels == ["0, in a new process", "0", "1"] + [
        "0, captured, in a new process",
        "0, captured",
        "1, captured",
    ]


def test_what_cannot_be_captured_is_trained_without_and_said_in_a_line(
    tmp_path, monkeypatch, captures
):
    for module in (gpu_quick, gpu_digits):
        monkeypatch.setattr(module, "CapturedTrainer", Uncapturable)
    report = report_of(tmp_path, BOTH)
    assert {part.state for part in report.parts.values()} == {"passed"}
    found, digits = (report.parts[name].found for name in BOTH)
    assert (found.captured, found.not_captured) == (None, WHY)
    assert [run.ended for run in found.plain.runs] == ["goal", "goal"]
    assert (digits.step_times.captured, digits.step_times.not_captured) == (None, WHY)
    assert (digits.ended, digits.scored) == ("finished", TINY.sequences)
    lines = (tmp_path / MARKDOWN_NAME).read_text("utf-8").splitlines()
    assert lines.count(f"Not captured, and trained without: {WHY}") == 2


def test_a_captured_training_that_breaks_on_the_way_goes_on_without(
    tmp_path, monkeypatch, captures
):
    def told(device, size, captured):
        yield Progress(0.0, "timing", 100.0)

    monkeypatch.setattr(gpu_digits, "time_steps", told)
    monkeypatch.setattr(gpu_digits, "CapturedTrainer", Uncapturable)
    part = report_of(tmp_path, {"Moving MNIST": (1.0, run_moving_mnist)}).parts["Moving MNIST"]
    assert part.state == "passed"
    assert part.found.step_times == StepTimes(100.0, 100.0, WHY)
    run = read_checkpoint(tmp_path / RUN_NAME)
    assert len(run.records) == part.found.steps > Uncapturable.begins_at
    flop = sum(gpu_digits._step_flop(run.config, record.horizon) for record in run.records)
    assert part.found.flop == pytest.approx(flop)
    plain = Trainer(run.config)  # the same sequences, as if nothing had been
    finish(plain.pieces())
    losses = [record.loss for record in plain.records]
    assert [record.loss for record in run.records] == pytest.approx(losses, rel=1e-2)


def test_captured_steps_that_are_not_timed_in_time_are_not_taken(tmp_path, monkeypatch, captures):
    class Slow(Here):
        def pieces(self, work, *arguments, seconds):
            if work is gpu_digits.time_steps and arguments[-1]:
                assert seconds == pytest.approx(0.2 * 60 * LONG, rel=0.01)
                yield Progress(0.0, "timing")
                return False
            return (yield from super().pieces(work, *arguments, seconds=seconds))

    order, parts = Order("cpu", TINY, tmp_path), {"Moving MNIST": (1.0, run_moving_mnist)}
    part = finish(make_report(order, LONG, Slow(), parts)).parts["Moving MNIST"]
    assert part.state == "passed"
    assert part.found.step_times.not_captured == "its steps could not be timed in time"


def test_each_way_has_its_share_of_the_time_and_a_process_of_its_own(tmp_path, captures):
    told = []

    class Counting(Here):
        def pieces(self, work, *arguments, seconds):
            told.append((arguments[-1], round(seconds / (60 * LONG), 2)))
            yield None
            return True

        def end(self):
            told.append("end")

    order = Order("cpu", TINY, tmp_path)
    report = finish(make_report(order, LONG, Counting(), {"quick": (1.0, run_quick_start)}))
    assert report.parts["quick"].state == "passed"
    begun = told.index((True, 0.5))
    assert told[begun - 1 : begun + 4] == ["end", (True, 0.5), "end", (False, 1.0), "end"]


def test_a_report_that_is_left_while_captured_steps_are_timed_trains_nothing(tmp_path, captures):
    works = []

    class Noting(Here):
        def pieces(self, work, *arguments, seconds):
            works.append(work)
            return (yield from super().pieces(work, *arguments, seconds=seconds))

    order, parts = Order("cpu", TINY, tmp_path), {"Moving MNIST": (1.0, run_moving_mnist)}
    pieces = make_report(order, LONG, Noting(), parts)
    while works.count(gpu_digits.time_steps) < 2:
        next(pieces)
    pieces.close()
    assert read(tmp_path)["parts"]["Moving MNIST"]["state"] == "interrupted"
    assert not (tmp_path / RUN_NAME).exists()


def test_quick_start_that_is_left_does_not_begin_another_way(tmp_path, captures):
    pieces = make_report(
        Order("cpu", TINY, tmp_path), LONG, Here(), {"quick": (1.0, run_quick_start)}
    )
    for name, piece in pieces:
        if name == "quick" and piece and piece.found and piece.found.captured:
            break
    pieces.close()
    found = read(tmp_path)["parts"]["quick"]["found"]
    assert found["captured"] is not None
    assert found["plain"] is None


# How a training is fitted in.


@pytest.mark.parametrize("seconds", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("step_seconds", [0.001, 0.1])
def test_a_training_spends_neither_more_time_nor_more_arithmetic_than_it_may(seconds, step_seconds):
    base, most = preset("moving-mnist-openstl"), 1.7e17
    config, planned = gpu_digits._planned(base, seconds, step_seconds, most)
    whole_step = gpu_digits._step_flop(config, config.horizon)
    if config.max_minutes:  # at the whole horizon's pace of arithmetic
        assert 60 * config.max_minutes <= seconds
        assert 60 * config.max_minutes / step_seconds * whole_step <= 1.001 * most
        assert "minutes" in planned
    else:
        steps = config.total_steps
        horizons = [config.horizon_at(step / steps) for step in range(0, steps, 100)]
        flop = sum(gpu_digits._step_flop(config, each) for each in horizons) * 100
        assert flop == pytest.approx(most, rel=0.01)
        assert steps * step_seconds < seconds
        assert "FLOP" in planned
    assert configure({}, config) == config  # in range


# Goals.


def gpu_report(**found) -> Report:
    parts = {name: PartReport("passed", found=each) for name, each in found.items()}
    return Report(1, "full", 30, "cuda", "today", machine={"device": "A GPU"}, parts=parts)


def verdicts(report: Report) -> list[str]:
    return [goal.verdict for goal in goals_of(report)]


def speeds(ratio: float, size: str) -> SpeedTable:
    plain, ours = Row(PLAIN, train_ms=10.0, ratio=1.0), Row("this project, bfloat16")
    reference = Row("this project's reference, bfloat16", train_ms=0.1, ratio=100.0)
    return SpeedTable(size, (plain, reference, replace(ours, train_ms=10 / ratio, ratio=ratio)))


def runs(seconds: float, ended: str = "goal") -> QuickStart:
    each = [QuickRun(seed, seconds, seconds, 2.5, 60, 0.0009, ended) for seed in range(5)]
    return QuickStart(each[0], tuple(each))


def quick(*given) -> QuickStarts:
    return QuickStarts(runs(*given))


def digits(ssim=0.93, mse=29.0, flop=1e17, scored=10_000) -> DigitsRun:
    scores = Scores(mse, 90.0, 22.0, 0.9, ssim)
    return DigitsRun(1, "bfloat16", "x", flop=flop, scored=scored, model=scores, baselines={})


GOALS = [
    ({}, 0, "not measured"),
    ({"speed": (speeds(10.1, "article"),)}, 0, "met"),
    ({"speed": (speeds(9.9, "article"),)}, 0, "not met"),
    ({"speed": (speeds(10.1, "article"),)}, 1, "not measured"),
    ({"speed": (speeds(2.6, "moving-mnist"),)}, 1, "met"),
    (
        {"speed": (SpeedTable("article", (Row("this project, float32", error="x"),)),)},
        0,
        "not measured",
    ),
    ({"Quick start": quick(0.9)}, 2, "met"),
    ({"Quick start": quick(1.1)}, 2, "not met"),
    ({"Quick start": quick(0.9, "finished")}, 2, "not met"),
    ({"Quick start": QuickStarts(QuickStart(runs(0.9).first, ()))}, 2, "not measured"),
    ({"Quick start": QuickStarts()}, 2, "not measured"),
    ({"Quick start": QuickStarts(runs(1.1), runs(0.9))}, 2, "met"),  # the better way
    ({"Quick start": QuickStarts(runs(0.9), runs(1.1))}, 2, "met"),
    ({"Quick start": QuickStarts(runs(1.1), runs(0.9, "finished"))}, 2, "not met"),
    ({"Moving MNIST": digits()}, 3, "met"),
    ({"Moving MNIST": digits(ssim=0.92)}, 3, "not met"),
    ({"Moving MNIST": digits(mse=30.0)}, 3, "not met"),
    ({"Moving MNIST": digits(flop=1.8e17)}, 3, "not met"),
    ({"Moving MNIST": digits(scored=9_999)}, 3, "not measured"),
    ({"Moving MNIST": DigitsRun(1, "bfloat16", "x")}, 3, "not measured"),
    ({"frames per second": ForecastRate(4500.0, 64, 10, 10, 1, "bfloat16")}, 4, "met"),
    ({"frames per second": ForecastRate(4499.0, 64, 10, 10, 1, "bfloat16")}, 4, "not met"),
]


@pytest.mark.parametrize(("found", "number", "verdict"), GOALS)
def test_a_goal_is_met_or_not_or_not_measured(found, number, verdict):
    report = gpu_report(**found)
    assert verdicts(report)[number] == verdict
    others = [other for place, other in enumerate(verdicts(report)) if place != number]
    assert verdict == "not measured" or set(others) == {"not measured"}
    for less in (replace(report, device="cpu"), replace(report, size="tiny")):
        assert set(verdicts(less)) == {"not measured"}
    report = replace(report, goals=goals_of(report))
    tables(markdown(report))
    assert "No GPU took part" not in markdown(report)


# The command.


@pytest.fixture
def command_of(monkeypatch, tmp_path):
    """The command, with other parts, and its folder."""
    monkeypatch.setattr(command, "Apart", Here)

    def run(parts, *flags: str) -> int:
        def make(order, minutes, place):
            return make_report(order, minutes, place, parts)

        monkeypatch.setattr(command, "make_report", make)
        out = ["--out", str(tmp_path / "new"), "--size", "tiny", "--device", "cpu"]
        return main(["gpu-report", *out, *flags])

    return run


def test_the_command_says_how_each_part_went(command_of, tmp_path, capsys):
    assert command_of({"first": (0.1, done), "second": (1.0, done)}) == 0
    output, error = capsys.readouterr()
    assert error == ""
    lines = output.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["first", "passed"], ["second", "passed"]]
    assert all(line.startswith("not measured ") for line in lines[2:7])
    new = tmp_path / "new"
    assert lines[7] == f"Written to {new / JSON_NAME} and {new / MARKDOWN_NAME}."


def test_the_command_prints_its_json(command_of, tmp_path, capsys):
    assert command_of({"first": (1.0, done)}, "--json", "--minutes", "2.5") == 0
    printed = strict(capsys.readouterr().out)
    assert printed == read(tmp_path / "new")
    assert printed["minutes"] == 2.5


def test_the_exit_code_says_that_a_part_failed(command_of, capsys):
    assert command_of({"first": (0.1, failing(ValueError("so it is"))), "second": (1.0, done)}) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith(" s: so it is")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_report_after_the_piece_under_way(command_of, tmp_path, capsys, number):
    before = signal.getsignal(number)

    def interrupted(place, order, seconds):
        def work():
            for piece in itertools.count():
                if piece == 3:
                    signal.raise_signal(number)
                yield Progress(0.0, "working", piece)

        return (yield from place.pieces(work, seconds=seconds))

    assert command_of({"first": (0.1, interrupted), "second": (1.0, done)}) == 130
    output, error = capsys.readouterr()
    assert (output, error) == (
        "",
        f"Interrupted; what was found is in {tmp_path / 'new' / MARKDOWN_NAME}.\n",
    )
    parts = read(tmp_path / "new")["parts"]
    assert (parts["first"]["state"], parts["second"]["state"]) == ("interrupted", "not begun")
    assert parts["first"]["found"] >= 3
    assert signal.getsignal(number) is before
