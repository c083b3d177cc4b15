"""Inside the cell: what its gates and its memory do, frame by frame, and what changes without them.

Axes: T frames read, B batch, C the cell's hidden channels, H height (px), W width (px).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from convlstm.layer.cell import ConvLSTMCell
from convlstm.layer.gru_cell import ConvGRUCell
from convlstm.layer.recurrence import Geometry, State, Weights, in_one_type, pad, step
from convlstm.pieces import leave_if_unwanted

Part = Literal["i", "f", "g", "o", "c", "h"]
How = Literal["set", "hold", "swap"]
PARTS: tuple[Part, ...] = get_args(Part)
GATES: tuple[Part, ...] = PARTS[:4]
Output = TypeVar("Output")


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of what a cell computes, at some of the frames that it reads.

    Gates are changed behind their sigmoid or tanh, so that 0 switches one off; whatever is computed
    from a changed part sees the change: c from i, f and g, h from o and c.

    Attributes:
        part: the input gate i, the forget gate f, the candidate g, the output gate o, the memory c
            or the output h.
        cell: which of the traced module's cells, from 0.
        channel: which of its channels, from 0; None for all.
        how: "set" to `value`, "hold" as it is at frame `start`, or "swap" with channel `other`.
        value: what it is set to: a number, or what broadcasts to (B, C, H, W), or to (B, H, W) of a
            single channel.
        other: the channel to swap with.
        start: the first frame at which it acts, from 0.
        stop: the first at which it no longer does; None for never.

    Raises:
        ValueError: an attribute is none of these, or they do not go together.
    """

    part: Part
    cell: int = 0
    channel: int | None = None
    how: How = "set"
    value: float | Tensor = 0.0
    other: int | None = None
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("part", PARTS), ("how", get_args(How))):
            if getattr(self, name) not in allowed:
                names = ", ".join(allowed)
                raise ValueError(f"{name} is {getattr(self, name)!r}: must be one of {names}.")
        if self.how == "swap" and (self.channel is None or self.other is None):
            raise ValueError(f"how is 'swap' of {self.part}: needs channel and other.")
        if self.start < 0:
            raise ValueError(f"start is {self.start}: must be at least 0.")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop is {self.stop}: must be more than start, {self.start}.")

    def acts_at(self, time: int) -> bool:
        """Whether it acts at a frame."""
        return self.start <= time and (self.stop is None or time < self.stop)


@dataclass
class CellTrace:
    """What one cell read and remembered, frame by frame.

    Attributes:
        name: of the cell in the traced module.
        weights: with which it computed; a copy, whatever becomes of the module.
        geometry: where its kernels look.
        interventions: those of this cell.
        x: the frames that it read, each (B, in, H, W).
        states: the state (h, c) before the first frame, None for zeros, and after each, each
            (B, C, H, W).
    """

    name: str
    weights: Weights
    geometry: Geometry
    interventions: list[Intervention] = field(default_factory=list)
    x: list[Tensor] = field(default_factory=list)
    states: list[State | None] = field(default_factory=list)
    _held: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return how many frames were read."""
        return len(self.x)

    def at(self, time: int) -> dict[Part, Tensor]:
        """Return i, f, g, o, c and h of a frame, each (B, C, H, W).

        Args:
            time: which frame, from 0; a negative one counts from the end.

        Raises:
            IndexError: it was not read.
        """
        time = range(len(self))[time]
        found: dict[Part, Tensor] = {}

        def note(part: Part, values: Tensor) -> Tensor:
            found[part] = values = self._changed(part, values, time)
            return values

        given = in_one_type(self.x[time], self.states[time], self.weights)
        step(*given, self.geometry, note)
        return {part: found[part] for part in PARTS}

    def all(self, part: Part) -> Tensor:
        """Return i, f, g, o, c or h of every frame, (T, B, C, H, W)."""
        return torch.stack([self.at(time)[part] for time in range(len(self))])

    def terms(
        self, time: int, channel: int, row: int, column: int, *, sequence: int = 0
    ) -> dict[Part, dict[str, float]]:
        """Say what the gates of one pixel are made of.

        Args:
            time: which frame, from 0; a negative one counts from the end.
            channel: of the cell.
            row: of the pixel, from the top.
            column: from the left.
            sequence: of the batch.

        Returns:
            For each of i, f, g and o: what came from the "frame", from "h", from the "bias" and
            through the "peephole", which are added up, and the "value" that sigmoid, or of g tanh,
            makes of them, with the interventions.

        Raises:
            IndexError: there is no such frame, channel or pixel.
            ValueError: the cell's frames have other axes than H and W.
        """
        if len(self.geometry.stride) != 2:
            raise ValueError(f"{self.name} reads no pixels: terms are those of a 2-D cell.")
        time = range(len(self))[time]
        x, state, weights = in_one_type(self.x[time], self.states[time], self.weights)
        parts = self.at(time)
        _, width, H, W = parts["c"].shape
        channel, place = range(width)[channel], (range(H)[row], range(W)[column])
        kernels = weights.gates[channel::width].double()  # (4, in + C, k, k)
        of_x, of_h = kernels.split([x.shape[1], width], 1)
        frame, hidden = _weighed(of_x, x[sequence], place, self.geometry), [0.0] * len(GATES)
        if state:
            of_state = self.geometry._replace(stride=(1, 1))
            hidden = _weighed(of_h, state[0][sequence], place, of_state)
        bias = [0.0] * len(GATES) if weights.bias is None else weights.bias[channel::width].tolist()
        here = sequence, channel, *place
        before = state[1][here].item() if state else 0.0
        seen = {"i": (0, before), "f": (1, before), "o": (2, parts["c"][here].item())}

        def through_peephole(gate: Part) -> float:
            if weights.peephole is None or gate not in seen:
                return 0.0
            n, memory = seen[gate]
            return weights.peephole[n, channel].item() * memory

        return {
            gate: {
                "frame": frame[n],
                "h": hidden[n],
                "bias": bias[n],
                "peephole": through_peephole(gate),
                "value": parts[gate][here].item(),
            }
            for n, gate in enumerate(GATES)
        }

    def keep(self, x: Tensor, state: State | None, after: State) -> None:
        """Take in a frame that the cell has read, and the states before and after it."""
        # The state that it was given, where that is another than it had found: with `lengths` the
        # state of a sequence that has ended, or not begun, stays as it is.
        self.states[-1:] = [state]
        self.x.append(x)
        self.states.append(after)

    def changed(self, x: Tensor, state: State | None, time: int) -> State | None:
        """Return the state after a frame with the interventions; None where there are none."""
        if not self.interventions:
            return None
        given = in_one_type(x, state, self.weights)
        return step(*given, self.geometry, partial(self._changed, time=time))

    def _changed(self, part: Part, values: Tensor, time: int) -> Tensor:
        for n, each in enumerate(self.interventions):
            if each.part != part or not each.acts_at(time):
                continue
            which = slice(None) if each.channel is None else each.channel
            if each.how == "hold" and time == each.start:
                self._held[n] = values[:, which]
                continue
            before, values = values, values.clone()
            if each.how == "swap":
                values[:, each.channel] = before[:, each.other]
                values[:, each.other] = before[:, each.channel]
            else:
                values[:, which] = self._held[n] if each.how == "hold" else each.value
        return values


def trace(
    module: nn.Module,
    run: Callable[[], Output],
    interventions: Sequence[Intervention] = (),
    *,
    keep: bool = True,
) -> tuple[Output, list[CellTrace]]:
    """Watch, and change, what the cells of a module compute.

    Args:
        module: what holds the cells: a `ConvLSTM`, a network of this package, a model of your own.
        run: calls the module once, as it pleases; no gradients are kept.
        interventions: what is changed meanwhile; of the same part, in this order.
        keep: whether frames and states are kept; without them a trace has nothing to show, and
            takes no memory.

    Returns:
        What `run` returns, and a trace of each cell, in the order of `module.modules()`. A cell
        that reads backwards has read the last frame first.

    Raises:
        ValueError: an intervention is of a cell or a channel that is not there, or a cell is a
            `ConvGRUCell`.

    Example:
        >>> layer = ConvLSTM(in_channels=1, hidden_channels=8)
        >>> frames = torch.rand(1, 9, 1, 32, 32)
        >>> (output, states), [cell] = trace(layer, lambda: layer(frames))
        >>> cell.at(-1)["f"].shape  # the forget gate at the last frame
        torch.Size([1, 8, 32, 32])
        >>> without_memory, _ = trace(layer, lambda: layer(frames), [Intervention("f")])
    """
    cells = {name: each for name, each in module.named_modules() if isinstance(each, ConvLSTMCell)}
    for name, each in module.named_modules():
        if isinstance(each, ConvGRUCell):
            raise ValueError(
                f"{name or 'module'} is a ConvGRUCell: trace knows a ConvLSTM's gates."
            )
    traces = [CellTrace(name, _copied(cell.weights), cell.geometry) for name, cell in cells.items()]
    for each in interventions:
        _check_number("cell", each.cell, len(cells))
        width = list(cells.values())[each.cell].hidden_channels
        for name in ("channel", "other"):
            if getattr(each, name) is not None:
                _check_number(name, getattr(each, name), width)
        traces[each.cell].interventions.append(each)
    with torch.no_grad(), contextlib.ExitStack() as hooks:
        for cell, traced in zip(cells.values(), traces, strict=True):
            hooks.enter_context(_watched(cell, traced, keep))
        return run(), traces


@contextlib.contextmanager
def _watched(cell: ConvLSTMCell, traced: CellTrace, keep: bool) -> Iterator[None]:
    times = itertools.count()

    def read(cell: nn.Module, given: tuple, after: State) -> State | None:
        leave_if_unwanted()
        x, state = given[0], given[1] if len(given) > 1 else None
        changed = traced.changed(x, state, next(times))
        if keep:
            traced.keep(x, state, changed or after)
        return changed

    hook = cell.register_forward_hook(read)
    try:
        yield
    finally:
        hook.remove()


def _copied(weights: Weights) -> Weights:
    return Weights(*(None if each is None else each.detach().clone() for each in weights))


def _check_number(name: str, value: int, count: int) -> None:
    if not 0 <= value < count:
        raise ValueError(f"{name} is {value}: must be from 0 to {count - 1}.")


def _weighed(
    kernels: Tensor, frames: Tensor, place: tuple[int, int], geometry: Geometry
) -> list[float]:
    """Return what kernels, (n, C, k, k), make of (C, H, W) at a pixel of the state."""
    sides = kernels.shape[2:]
    seen = pad(frames.double()[None], geometry.padding(sides), geometry.padding_mode)[0]
    axes = zip(place, sides, geometry.stride, geometry.dilation, strict=True)
    for axis, (at, side, stride, dilation) in enumerate(axes, 1):
        places = at * stride + dilation * torch.arange(side, device=seen.device)
        seen = seen.index_select(axis, places)
    return (kernels * seen).sum((1, 2, 3)).tolist()
