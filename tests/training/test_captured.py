"""Captured training on a CPU, which has no graphs: the same class, run as it stands."""

import contextlib
import math
from itertools import islice

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from convlstm.files import read_checkpoint
from convlstm.files.checkpoint import checkpoint_bytes
from convlstm.pieces import Cancelled, cancellable
from convlstm.training import Trainer, captured, captured_trainer, train
from convlstm.training.captured import Captured
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.optimizers import Optimizer
from tests.devices import DEVICES
from tests.training.runs import run_of, same, small, weights

CASES = {
    "squares": ("squares", {}),
    "smaller frames, an average": ("squares", {"small_frames": 0.5, "ema": 0.9}),
    "a growing bar": ("squares", {"bar_width": 4, "bar_grows": 0.6, "dropped_frames": 0.3}),
    "digits by Muon, a growing horizon": ("digits", {"flips": True, "epochs": 6}),
    "truth now and then": ("digits", {"scheduled_sampling": 0.6, "curriculum": 0.0}),
    "a storm, not known everywhere": ("storm", {}),
    "several scales": (
        "digits",
        {"architecture": "multiscale", "attention": True, "targets": "future", "epochs": 3},
    ),
    "in bfloat16": ("squares", {"precision": "bfloat16"}),
}
# What waits for a GPU: numbers that the host asks for, sizes that depend on them, and copies.
_WAITS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::lift_fresh",
}


class Refuses(TorchDispatchMode):
    """Refuses what waits for a GPU, and so cannot be captured."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        assert name not in _WAITS, name
        if name in ("aten::index", "aten::index_put_"):
            assert all(i is None or i.dtype == torch.long for i in args[1]), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_a_trainer(case, device):
    base, settings = CASES[case]
    config = run_of(base, **{"epochs": 10, **settings})
    plain, ours = Trainer(config, device), CapturedTrainer(config, device)
    expected, found = list(train(config, trainer=plain)), list(train(config, trainer=ours))
    assert found[-1] is ours.records[-1]
    assert len(ours.records) == len(expected) == config.total_steps
    rel = 1e-5 if (plain.precision, device) == ("float32", "cpu") else 1e-2
    for mine, theirs in zip(ours.records, plain.records, strict=True):
        for name in ("loss", "mse", "validation_loss"):
            value = getattr(theirs, name)
            close = value if value is None else pytest.approx(value, rel=rel, abs=1e-7)
            assert getattr(mine, name) == close, (name, mine.step)
        for name in ("step", "progress", "horizon", "learning_rate", "ended"):
            assert getattr(mine, name) == getattr(theirs, name), (name, mine.step)
    seconds = [record.seconds for record in ours.records]
    assert seconds == sorted(seconds)
    assert torch.equal(ours.generator.get_state(), plain.generator.get_state())
    assert bool(ours._step._graphs) == (device == "cuda" and config.total_steps > captured.WARM_UPS)


@pytest.mark.parametrize("case", CASES)
def test_a_step_asks_the_device_for_nothing(case):
    base, settings = CASES[case]
    trainer = CapturedTrainer(run_of(base, **settings))
    next(trainer.pieces())  # what is read once, and kept

    config = trainer.config
    with Refuses():
        trainer._whole_step(
            config.scene.at(trainer.progress), config.horizon, bool(config.scheduled_sampling)
        )
    with pytest.raises(AssertionError, match="_local_scalar_dense"), Refuses():
        torch.ones(()).item()


def test_steps_are_looked_at_together(monkeypatch):
    monkeypatch.setattr(captured_trainer, "_LOOK_SECONDS", 1000.0)
    config = small(epochs=10, evaluate_every=4)
    trainer, looks = CapturedTrainer(config), []
    look = trainer.look
    monkeypatch.setattr(trainer, "look", lambda: looks.append(trainer.step) or look())
    shown = [record.step for record in train(config, trainer=trainer)]
    assert looks == shown == [1, 4, 8, 10]  # the first alone, then up to each evaluation
    assert [record.step for record in trainer.records] == list(range(1, 11))
    assert all(math.isfinite(record.loss) for record in trainer.records)


def test_more_steps_than_there_is_room_for_are_looked_at_in_between(monkeypatch):
    monkeypatch.setattr(captured_trainer, "_MOST_ORDERED", 3)
    config = small(epochs=7)
    trainer = CapturedTrainer(config)
    for _ in range(7):
        trainer.order()
    assert [math.isnan(record.loss) for record in trainer.records] == [False] * 6 + [True]
    trainer.look()
    trainer.look()
    plain = Trainer(config)
    list(train(config, trainer=plain))
    losses = [record.loss for record in trainer.records]
    assert losses == pytest.approx([record.loss for record in plain.records], rel=1e-5)


@pytest.mark.parametrize("lost", ["loss", "gradient", "loss far too large"])
def test_a_run_that_is_lost_ends_where_a_trainer_s_does_with_its_best_weights(monkeypatch, lost):
    monkeypatch.setattr(captured_trainer, "_LOOK_SECONDS", 1000.0)
    backward = Trainer._backward

    def broken(self, *given):
        sums = backward(self, *given)
        if self.step == 4 and lost == "gradient":
            next(self.network.parameters()).grad[0, 0, 0, 0] = math.inf
        elif self.step == 4:
            sums = torch.full_like(sums, math.nan if lost == "loss" else 1e6)
        return sums

    monkeypatch.setattr(Trainer, "_backward", broken)
    config = small(epochs=12, evaluate_every=3, ema=0.5)
    plain, ours = Trainer(config), CapturedTrainer(config)
    for trainer in (plain, ours):
        list(train(config, trainer=trainer))
        assert trainer.ended == trainer.records[-1].ended == "diverged"
        assert trainer.step == 5
        assert same(weights(trainer), trainer.best_weights)
        assert same(trainer.judged.state_dict(), trainer.best_weights)
        assert len(read_checkpoint(checkpoint_bytes(trainer)).records) == 5
    for name, value in weights(ours).items():
        torch.testing.assert_close(value, plain.best_weights[name])


def test_a_step_that_is_broken_off_comes_again():
    config = small(epochs=3)
    trainer, calm = CapturedTrainer(config), CapturedTrainer(config)
    before = weights(trainer)
    with pytest.raises(Cancelled), cancellable(lambda: False):
        trainer.order()
    assert same(weights(trainer), before)
    assert trainer.step == 0
    for each in (trainer, calm):
        list(train(config, trainer=each))
    assert [r.loss for r in trainer.records] == [r.loss for r in calm.records]


@pytest.mark.parametrize(
    ("change", "says"), [({"precision": "float16"}, "float16"), ({}, "draws on the device")]
)
def test_what_cannot_be_captured_is_refused(change, says, monkeypatch):
    config = small(**change)
    monkeypatch.setattr(type(config.scene), "draws_on_device", "precision" in change)
    with pytest.raises(ValueError, match=says):
        CapturedTrainer(config)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_rate_that_is_a_tensor_makes_the_same_step(name):
    networks = [Trainer(small(hidden_channels=3)).network for _ in range(2)]
    optimizers = [Optimizer(name, network, 0.1) for network in networks]
    rates = (0.02, 0.003, 0.01)
    for rate in rates:
        for network, optimizer, given in zip(
            networks, optimizers, (rate, torch.tensor(rate)), strict=True
        ):
            generator = torch.Generator().manual_seed(0)
            for parameter in network.parameters():
                parameter.grad = torch.rand(parameter.shape, generator=generator) - 0.5
            optimizer.take_gradients()
            optimizer.step(given)
    for one, two in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


class FakeCuda:
    """Graphs that note what is asked for while they are captured, and do it when replayed."""

    def __init__(self, monkeypatch) -> None:
        self.asked: list | None = None  # of the graph under way
        self.done: list[tuple] = []
        self.registered: list = []
        self.pools: list = []
        owner = self

        class Graph:
            def __init__(self) -> None:
                self.asked = []

            def register_generator_state(self, generator) -> None:
                owner.registered.append(generator)

            def pool(self) -> str:
                return "the first one's"

            def replay(self) -> None:
                owner.done.extend(self.asked)

        @contextlib.contextmanager
        def capturing(graph, pool, capture_error_mode):
            self.pools.append(pool)
            self.asked = graph.asked
            yield
            self.asked = None

        class Stream:
            def wait_stream(self, other) -> None:
                pass

        here = contextlib.nullcontext
        for name, value in {
            "CUDAGraph": Graph,
            "graph": capturing,
            "Stream": Stream,
            "current_stream": Stream,
            "stream": lambda stream: here(),
            "device": lambda device: here(),
        }.items():
            monkeypatch.setattr(captured.torch.cuda, name, value)

    def work(self, *how) -> None:
        (self.done if self.asked is None else self.asked).append(how)


def test_every_call_does_the_work_once_captured_or_not(monkeypatch):
    cuda, generator = FakeCuda(monkeypatch), torch.Generator()
    repeat = Captured(cuda.work, torch.device("cuda"), [generator])
    asked = [("one",)] * 6 + [("other", 2)] * 5 + [("one",), ("other", 2)]
    for how in asked:
        repeat(*how)
    assert cuda.done == asked
    assert cuda.registered == [generator] * 2  # one graph for each way
    assert cuda.pools == [None, "the first one's"]


def test_a_capture_that_fails_says_why_the_work_did(monkeypatch):
    FakeCuda(monkeypatch)

    @contextlib.contextmanager
    def capturing(*_, **__):
        try:
            yield
        finally:
            raise RuntimeError("the capture was invalidated")

    def work() -> None:
        if repeat._calls[()] == captured.WARM_UPS:
            raise ValueError("not while capturing")

    monkeypatch.setattr(captured.torch.cuda, "graph", capturing)
    repeat = Captured(work, torch.device("cuda"))
    for _ in range(captured.WARM_UPS):
        repeat()
    with pytest.raises(ValueError, match="not while capturing"):
        repeat()
    repeat._work = lambda: None
    with pytest.raises(RuntimeError, match="invalidated"):
        repeat()


def test_without_graphs_every_call_does_the_work():
    done = []
    repeat = Captured(lambda *how: done.append(how), torch.device("cpu"))
    for _ in islice(iter(int, 1), 5):
        repeat("so")
    assert done == [("so",)] * 5
