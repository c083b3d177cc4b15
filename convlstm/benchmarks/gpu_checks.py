"""What must hold on a device before a speed there means anything; each check is a function.

A check returns a line that says what it saw, or raises `CheckFailed`. The same functions are tests,
on the CPU always and on a GPU where there is one. Axes: T time (frames), B batch, C channels, H
height (px), W width (px).
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from convlstm.benchmarks.gpu_scans import CheckFailed, Size, gpu_scan, scan
from convlstm.server.limits import Limits
from convlstm.server.run import ACTIVE, Run
from convlstm.server.scheduler import Scheduler
from convlstm.settings import configure, settings_of
from convlstm.training.captured_trainer import CapturedTrainer
from convlstm.training.config import TrainConfig
from convlstm.training.presets import preset
from convlstm.training.records import StepRecord
from convlstm.training.trainer import Trainer

_STEPS = {"tiny": 4, "full": 12}  # of each training that is compared with another
_ENDLESS = 1_000_000  # epochs, or steps to an evaluation, that no check comes to
# How far the losses of two equal trainings may lie apart, of themselves: a GPU's kernels may add up
# in any order.
_NEARLY = {"cpu": 0.0}
_NEARLY_ON_GPU = 0.01
_ROUNDED = 1e-5  # of float32 on a CPU, where learning rates are tensors or not
_LEFT_BYTES = 2**30  # of a GPU, for the small run that follows the large one

_TINY_SQUARES = {"canvas": 16, "square_size": 4, "hidden_channels": 2, "batch_size": 2}
_TINY_DIGITS = {"canvas": 32, "hidden_channels": 2, "num_layers": 2, "batch_size": 1}
_FEW_DIGITS = {"batch_size": 4}


def determinism(device: torch.device, size: Size) -> str:
    """The same settings give the same losses, bit for bit."""
    for name, config in _trainings(size).items():
        one, two = (_losses(Trainer(config, device), _STEPS[size]) for _ in range(2))
        _compare(f"{name}: two equal trainings", one, two, 0.0)
    return f"{_STEPS[size]} losses each of {' and '.join(_trainings(size))} twice the same"


def captured(device: torch.device, size: Size) -> str:
    """A training whose steps the device repeats by itself has the losses of one that is told."""
    farthest = 0.0
    for name, config in _trainings(size).items():
        plain, ours = Trainer(config, device), CapturedTrainer(config, device)
        is_exact = (ours.precision, device.type) == ("float32", "cpu")
        expected, found = (_losses(each, _STEPS[size]) for each in (plain, ours))
        _compare(
            f"{name}: captured and not", found, expected, _ROUNDED if is_exact else _NEARLY_ON_GPU
        )
        farthest = max(farthest, *(abs(a / b - 1) for a, b in zip(found, expected, strict=True)))
    steps, names = _STEPS[size], " and ".join(_trainings(size))
    return f"{steps} losses each of {names}, captured and not, at most {farthest:.1e} apart"


def stop(device: torch.device, size: Size) -> str:
    """A training that is closed in mid-step is as it was before the step, and goes on."""
    count = 0
    for name, config in _trainings(size).items():
        whole = _losses(Trainer(config, device), _STEPS[size])
        trainer = Trainer(config, device)
        while trainer.step < _STEPS[size]:
            before, pieces = _state(trainer), trainer.pieces()
            piece = next(pieces)  # of the step that follows
            pieces.close()
            if piece is None:
                count += 1
                if changed := _changed(before, _state(trainer)):
                    raise CheckFailed(f"{name}: closed in mid-step, {changed} changed.")
                _losses(trainer, trainer.step + 1)
        found = _losses(trainer, _STEPS[size])
        _compare(f"{name}: stopped in every step", found, whole, _nearly(device))
    return f"closed in mid-step {count} times, and went on as if nothing had been"


def _state(trainer: Trainer) -> dict[str, Tensor]:
    """Copy whatever a step changes."""
    gradients = [p.grad for p in trainer.network.parameters() if p.grad is not None]
    return {
        **{name: each.clone() for name, each in trainer.network.state_dict().items()},
        **{name: each.clone() for name, each in trainer.optimizer.state().items()},
        "the generator": trainer.generator_state.clone(),
        "the step": torch.tensor(trainer.step),
        "a gradient": torch.tensor([bool(each.any()) for each in gradients]).any(),
    }


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> str:
    """Name what differs; empty if nothing does."""
    odd = before.keys() ^ after.keys()
    odd |= {name for name in before.keys() & after.keys() if not before[name].equal(after[name])}
    return ", ".join(sorted(odd)[:3])


def out_of_memory(device: torch.device, size: Size, fault: Exception | None = None) -> str:
    """A run that finds no memory ends with a sentence, and the next one works.

    Args:
        device: where they compute.
        size: of the next one.
        fault: what the large run meets in its first step; None where the device's memory is what
            it does meet.
    """
    large = configure({"batch_size": 64, "epochs": _ENDLESS}, preset("moving-mnist-openstl"))
    next_one = _trainings(size)["squares"]
    with _served(device) as scheduler:
        with _little_memory(device) if fault is None else contextlib.nullcontext():
            make = (
                partial(Trainer, large, device)
                if fault is None
                else partial(_Faulty, next_one, device, fault)
            )
            run = _begun(scheduler, make)
            _wait(scheduler, lambda: run.state not in ACTIVE)
            if run.state != "failed" or "OutOfMemoryError" not in run.reason:
                raise CheckFailed(f"The large run ended as {_said(run)}.")
            found = _in_company(scheduler, [next_one], device, size)[0]
    alone = _losses(Trainer(next_one, device), _STEPS[size])
    _compare("The run after it", found, alone, _nearly(device))
    return f"the large run ended as {_said(run)}; the next one trained"


class _Faulty(Trainer):
    """A training that meets a fault in its first step."""

    def __init__(self, config: TrainConfig, device: torch.device, fault: Exception) -> None:
        super().__init__(config, device)
        self._fault = fault

    def pieces(self) -> Iterator[StepRecord | None]:
        yield None
        raise self._fault


@contextlib.contextmanager
def _little_memory(device: torch.device) -> Iterator[None]:
    """Take a GPU's memory, but for what a small run needs."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    block = torch.empty(max(0, free - _LEFT_BYTES), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del block
        torch.cuda.empty_cache()


def company(device: torch.device, size: Size) -> str:
    """Two runs that share the device have the losses that each has alone."""
    configs = _trainings(size)
    turns: list[str] = []

    def changes() -> int:
        return sum(bool(one and two) and one != two for one, two in itertools.pairwise(turns))

    with _served(device, turns.append) as scheduler:
        together = _in_company(
            scheduler, list(configs.values()), device, size, lambda: changes() > 2
        )
    for (name, config), found in zip(configs.items(), together, strict=True):
        alone = _losses(Trainer(config, device), len(found))
        _compare(f"{name}, in company", found, alone, _nearly(device))
    return f"{' and '.join(configs)} took {changes()} turns; their losses are those they have alone"


def _in_company(
    scheduler: Scheduler,
    configs: list[TrainConfig],
    device: torch.device,
    size: Size,
    have_turned: Callable[[], bool] = lambda: True,
) -> list[list[float]]:
    """Train runs side by side until they have turned; return the losses that are compared."""
    runs = [_begun(scheduler, partial(Trainer, config, device)) for config in configs]

    def is_enough() -> bool:
        for run in runs:
            if run.state not in ACTIVE:
                raise CheckFailed(f"A run ended as {_said(run)}.")
        return have_turned() and all(run.steps_done >= _STEPS[size] for run in runs)

    _wait(scheduler, is_enough)
    for run in runs:
        scheduler.stop(run).result()
    return [[record.loss for record in run.trainer.records[: _STEPS[size]]] for run in runs]


def _begun(scheduler: Scheduler, make_trainer: Callable[[], Trainer]) -> Run:
    # Nobody looks: pictures need libraries that whoever has the layer alone does not have.
    run = scheduler.open(make_trainer, watched=False).result()
    scheduler.train(run, settings_of(run.config)).result()
    return run


def _said(run: Run) -> str:
    return f"{run.state}, {run.reason.rstrip('.') or 'without a word'}"


def _wait(scheduler: Scheduler, is_there: Callable[[], bool]) -> None:
    """Wait until something is so, looking between the pieces of what is computed."""
    while not scheduler.call(is_there).result():
        pass


@contextlib.contextmanager
def _served(
    device: torch.device, computes: Callable[[str], None] = lambda run_id: None
) -> Iterator[Scheduler]:
    """Have what computes the runs of a server, without its limits."""
    limits = dict.fromkeys(
        (
            "run_seconds",
            "unwatched_seconds",
            "kept_seconds",
            "budget_seconds",
            "memory_mib",
            "kept_memory_mib",
        ),
        math.inf,
    )
    scheduler = Scheduler(device, Limits(**limits), computes=computes)
    try:
        yield scheduler
    finally:
        scheduler.close()


def _trainings(size: Size) -> dict[str, TrainConfig]:
    """Return a training of squares and one of digits, neither of which ends by itself."""
    squares, digits = (_TINY_SQUARES, _TINY_DIGITS) if size == "tiny" else ({}, _FEW_DIGITS)
    endless = {"epochs": _ENDLESS, "evaluate_every": _ENDLESS, "seed": 1}
    return {
        "squares": configure({**endless, **squares}, preset("quick")),
        "digits": configure({**endless, **digits}, preset("moving-mnist-openstl")),
    }


def _losses(trainer: Trainer, count: int) -> list[float]:
    """Train for so many steps, or a few more; return their losses."""
    with contextlib.closing(trainer.pieces()) as pieces:
        while trainer.step < count and not trainer.ended:
            next(pieces)
    if trainer.step < count:
        raise CheckFailed(f"A training ended at step {trainer.step}: {trainer.ended}.")
    return [record.loss for record in trainer.records[:count]]


def _nearly(device: torch.device) -> float:
    return _NEARLY.get(device.type, _NEARLY_ON_GPU)


def _compare(what: str, found: list[float], expected: list[float], most: float) -> None:
    """Refuse losses that differ by more than a share of themselves."""
    for step, (one, two) in enumerate(zip(found, expected, strict=True), start=1):
        if not abs(one - two) <= most * abs(two):
            raise CheckFailed(f"{what} differ at step {step}: {one:.8g} and {two:.8g}.")


def no_memory(device: torch.device) -> Exception | None:
    """Return what stands in for a lack of memory where the memory is not a GPU's."""
    if device.type == "cuda":
        return None
    return torch.OutOfMemoryError("Tried to allocate more than there is, as a check asked to.")


def _without_memory(device: torch.device, size: Size) -> str:
    return out_of_memory(device, size, no_memory(device))


CHECKS: dict[str, Callable[[torch.device, Size], str]] = {
    **{
        f"scan against reference, {dtype}": partial(scan, dtype=dtype)
        for dtype in ("float32", "bfloat16", "float16")
    },
    **{
        f"GPU scan against reference, {dtype}": partial(gpu_scan, dtype=dtype)
        for dtype in ("float32", "bfloat16", "float16")
    },
    "determinism": determinism,
    "captured against plain training": captured,
    "Stop": stop,
    "out of memory": _without_memory,
    "two runs in company": company,
}
