"""The checks of a GPU's report: they hold, and they see what they are there for."""

import itertools

import pytest
import torch

from convlstm.benchmarks import gpu_checks, gpu_scans
from convlstm.benchmarks.gpu_checks import CHECKS, CheckFailed
from convlstm.server.run import Run
from convlstm.server.snapshot import Viewer
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.trainer import Trainer

CPU = torch.device("cpu")
PLACES = [
    pytest.param(CPU, "tiny", id="cpu"),
    pytest.param(
        torch.device("cuda"),
        "full",
        id="cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
        ],
    ),
]


@pytest.mark.parametrize(("device", "size"), PLACES)
@pytest.mark.parametrize("name", CHECKS)
def test_it_holds(name, device, size):
    said = CHECKS[name](device, size)
    assert said
    assert "\n" not in said


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", ["output", "gradient", "not a number"])
@pytest.mark.parametrize(
    ("name", "check", "who"),
    [("_layer", gpu_scans.scan, "the layer"), ("_gpu_scan", gpu_scans.gpu_scan, "the GPU scan")],
)
def test_a_layer_that_computes_something_else_is_seen(monkeypatch, dtype, wrong, name, check, who):
    read = getattr(gpu_scans, name)

    def read_wrongly(layer, x, state):
        outputs, last = read(layer, x, state)
        if wrong == "output":  # of one pixel
            outputs = outputs + torch.eye(outputs.shape[-1])[0] * 0.1
        elif wrong == "gradient":  # the result is right
            h, c = last
            last = h, c.detach() + (c - c.detach()) * 1.1
        else:
            outputs = outputs / outputs.bool()[..., :1, :1].logical_not()
        return outputs, last

    monkeypatch.setattr(gpu_scans, name, read_wrongly)
    with pytest.raises(CheckFailed, match=f"{who} is off by"):
        check(CPU, "tiny", dtype)


def test_a_reference_that_is_off_is_seen(monkeypatch):
    monkeypatch.setitem(gpu_scans._MOST_OF_REFERENCE, "bfloat16", 1e-4)
    with pytest.raises(CheckFailed, match="the reference is off by"):
        gpu_scans.scan(CPU, "tiny", "bfloat16")


class Bursting(Trainer):
    """Yields only some of its records, as a training that a GPU repeats by itself."""

    def pieces(self):
        for record in super().pieces():
            if record is not None and (record.step % 3 == 0 or record.ended):
                yield record


@pytest.mark.parametrize("name", ["determinism", "Stop", "two runs in company"])
def test_it_holds_of_a_training_that_takes_several_steps_at_once(monkeypatch, name):
    monkeypatch.setattr(gpu_checks, "Trainer", Bursting)
    assert CHECKS[name](CPU, "tiny")


def test_a_training_that_diverges_is_seen(monkeypatch):
    class Lost(Trainer):
        def _update(self, loss, rate):
            return False

    monkeypatch.setattr(gpu_checks, "Trainer", Lost)
    with pytest.raises(CheckFailed, match="A training ended at step 1: diverged"):
        gpu_checks.determinism(CPU, "tiny")


def test_trainings_that_differ_are_seen(monkeypatch):
    numbers = itertools.count()

    class Moody(Trainer):
        """Draws other sequences in every process of drawing."""

        def __init__(self, *given):
            super().__init__(*given)
            self.generator.manual_seed(next(numbers))

    monkeypatch.setattr(gpu_checks, "Trainer", Moody)
    with pytest.raises(CheckFailed, match="squares: two equal trainings differ at step 1: "):
        gpu_checks.determinism(CPU, "tiny")


def test_captured_steps_that_draw_the_same_again_and_again_are_seen(monkeypatch):
    class Forgetful(CapturedTrainer):
        """As a graph that does not know of its generator."""

        def _whole_step(self, *how):
            before = self.generator.get_state()
            super()._whole_step(*how)
            self.generator.set_state(before)

    monkeypatch.setattr(gpu_checks, "CapturedTrainer", Forgetful)
    with pytest.raises(CheckFailed, match="digits: captured and not differ at step 2: "):
        gpu_checks.captured(CPU, "tiny")


@pytest.mark.parametrize("forgotten", ["the generator", "weights", "gradients"])
def test_a_step_that_is_left_and_leaves_something_behind_is_seen(monkeypatch, forgotten):
    class Careless(Trainer):
        def pieces(self):
            try:
                yield from super().pieces()
            except GeneratorExit:
                first = next(self.network.parameters())
                if forgotten == "the generator":
                    torch.rand(1, generator=self.generator)
                elif forgotten == "weights":
                    first.data += 1e-3
                else:
                    first.grad = torch.ones_like(first)
                raise

    monkeypatch.setattr(gpu_checks, "Trainer", Careless)
    with pytest.raises(CheckFailed, match="squares: closed in mid-step, "):
        gpu_checks.stop(CPU, "tiny")


def test_a_run_that_does_not_end_for_want_of_memory_is_seen():
    with pytest.raises(CheckFailed, match="ended as failed, RuntimeError: another fault"):
        gpu_checks.out_of_memory(CPU, "tiny", RuntimeError("another fault"))


@pytest.mark.parametrize(("free", "taken"), [(3 * 2**30, 2 * 2**30), (2**20, 0)])
def test_a_gpu_s_memory_is_taken_but_for_a_little(monkeypatch, free, taken):
    given = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given.append("given back"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2**40))
    made = torch.empty

    def empty(size, **how):
        given.append(size)
        return made(size, **how)

    monkeypatch.setattr(torch, "empty", empty)
    with gpu_checks._little_memory(torch.device("meta")):
        assert given == ["given back", taken]
    assert given[-1] == "given back"


def test_what_stands_in_for_a_lack_of_memory_does_so_where_there_is_no_gpu():
    assert isinstance(gpu_checks.no_memory(CPU), torch.OutOfMemoryError)
    assert gpu_checks.no_memory(torch.device("cuda")) is None


def test_runs_that_disturb_each_other_are_seen(monkeypatch):
    shared = torch.Generator().manual_seed(0)

    class Disturbing(Trainer):
        def __init__(self, *given):
            super().__init__(*given)
            shared.manual_seed(0)
            self.generator = shared

    monkeypatch.setattr(gpu_checks, "Trainer", Disturbing)
    with pytest.raises(CheckFailed, match="in company differ at step"):
        gpu_checks.company(CPU, "tiny")


def test_a_check_draws_nothing_since_pictures_need_more_libraries_than_the_layer(monkeypatch):
    made = []
    monkeypatch.setattr(Run, "draw_picture", lambda run: made.append("a picture"))
    monkeypatch.setattr(Viewer, "snapshot", lambda viewer, working: made.append("a snapshot"))
    gpu_checks.company(CPU, "tiny")
    assert not made
