"""What the layer's options cost: a training step of each, in turns with a loop as people write it.

Axes: B batch, T time (frames), C channels, H height (px), W width (px); in one dimension the last
two are one, L, and in three D, H, W.
"""

import statistics
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from convlstm.devices import wait_for
from convlstm.layer import ConvGRU, ConvGRU1d, ConvGRU3d, ConvLSTM, ConvLSTM1d, ConvLSTM3d

_BATCH, _FRAMES, _REPEATS = 8, 9, 9
_LENGTHS = torch.tensor([9, 3, 7, 5, 9, 1, 4, 8])
# Sides of a frame, by its axes: as large as the article's, and so small that calls cost most.
_SIDES = {"large": {1: 1024, 2: 64, 3: 16}, "small": {1: 32, 2: 8, 3: 4}}
_CHANNELS = 16  # read and hidden
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Case:
    """A layer with some options."""

    layer: type[nn.Module] = ConvLSTM
    kernel_size: tuple[int, ...] | int = 3
    options: dict[str, object] = field(default_factory=dict)
    lengths: Tensor | None = None


CASES = {
    "none of them": Case(),
    "padding_mode circular": Case(options={"padding_mode": "circular"}),
    "padding_mode reflect": Case(options={"padding_mode": "reflect"}),
    "padding_mode replicate": Case(options={"padding_mode": "replicate"}),
    "dilation 2": Case(options={"dilation": 2}),
    "stride 2": Case(options={"stride": 2}),
    "kernel_size (3, 5)": Case(kernel_size=(3, 5)),
    "lengths": Case(lengths=_LENGTHS),
    "ConvLSTM1d": Case(ConvLSTM1d),
    "ConvLSTM3d": Case(ConvLSTM3d),
    "ConvGRU": Case(ConvGRU),
    "ConvGRU1d": Case(ConvGRU1d),
    "ConvGRU3d": Case(ConvGRU3d),
}


@dataclass(frozen=True)
class Row:
    """How long a training step takes."""

    name: str
    size: str
    layer_ms: float
    loop_ms: float
    ratio: float  # the layer's time over the loop's, turn by turn; the median


def time_options(device: torch.device) -> list[Row]:
    """Time the layer with each option, in float32, in turns with the loop."""
    rows = []
    for name, case in CASES.items():
        for size, sides in _SIDES.items():
            layer = case.layer(_CHANNELS, _CHANNELS, [case.kernel_size], **case.options).to(device)
            loop = PlainLoop(case, layer.ndim).to(device)
            x = torch.rand(
                (_BATCH, _FRAMES, _CHANNELS, *[sides[layer.ndim]] * layer.ndim),
                generator=torch.Generator().manual_seed(0),
            ).to(device)
            lengths = None if case.lengths is None else case.lengths.to(device)
            turns = []
            for repeat in range(-1, _REPEATS):  # the first is to warm up
                turn = _step(layer, x, lengths), _step(loop, x, lengths)
                if repeat >= 0:
                    turns.append(turn)
            ratio = statistics.median(ours / theirs for ours, theirs in turns)
            medians = [1e3 * statistics.median(times) for times in zip(*turns, strict=True)]
            rows.append(Row(name, size, *medians, ratio))
    return rows


def describe(rows: list[Row]) -> str:
    """Lay the times out for a terminal."""
    lines = [f"{'with':<24}{'frames':<8}{'layer, ms':>10}{'loop, ms':>10}{'layer / loop':>14}"]
    for row in rows:
        times = f"{row.layer_ms:10.1f}{row.loop_ms:10.1f}{row.ratio:14.2f}"
        lines.append(f"{row.name:<24}{row.size:<8}{times}")
    return "\n".join(lines)


def _step(model: nn.Module, x: Tensor, lengths: Tensor | None) -> float:
    """Do a training step but for the optimiser's; return its seconds."""
    started = time.perf_counter()
    output, _ = model(x, lengths=lengths)
    output.square().mean().backward()
    wait_for(x.device)
    model.zero_grad()
    return time.perf_counter() - started


class PlainLoop(nn.Module):
    """The textbook, with modules of torch: concatenate frame and state, convolve, chunk.

    A stride needs a convolution of its own for the frame, and so does a GRU, whose reset gate
    stands behind the state's.
    """

    def __init__(self, case: Case, ndim: int) -> None:
        super().__init__()
        self.is_gru = "GRU" in case.layer.__name__
        self.stride = case.options.get("stride", 1)
        dilation, sides = case.options.get("dilation", 1), case.kernel_size
        if not isinstance(sides, tuple):
            sides = (sides,) * ndim
        how = {
            "padding": tuple(dilation * (side // 2) for side in sides),
            "dilation": dilation,
            "padding_mode": case.options.get("padding_mode", "zeros"),
        }
        convolution, wide = _CONVOLUTIONS[ndim], (3 if self.is_gru else 4) * _CHANNELS
        self.is_together = not self.is_gru and self.stride == 1
        if self.is_together:
            self.both = convolution(2 * _CHANNELS, wide, sides, **how)
        else:
            self.of_x = convolution(_CHANNELS, wide, sides, stride=self.stride, **how)
            self.of_h = convolution(_CHANNELS, wide, sides, **how)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read frames (B, T, C, H, W); return every output, and the last."""
        sides = [-(-side // self.stride) for side in x.shape[3:]]
        h = c = x.new_zeros(len(x), _CHANNELS, *sides)
        outputs = []
        for t, frame in enumerate(x.unbind(1)):
            new_h, new_c = self._advance(frame, h, c)
            if lengths is not None:
                runs = (t < lengths).to(x.dtype).view(-1, *[1] * (frame.ndim - 1))
                outputs.append(new_h * runs)
                new_h, new_c = runs * new_h + (1 - runs) * h, runs * new_c + (1 - runs) * c
            else:
                outputs.append(new_h)
            h, c = new_h, new_c
        return torch.stack(outputs, 1), h

    def _advance(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_gru:
            (xr, xz, xn), (hr, hz, hn) = self.of_x(x).chunk(3, 1), self.of_h(h).chunk(3, 1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            return (1 - z) * torch.tanh(xn + r * hn) + z * h, c
        gates = self.both(torch.cat([x, h], 1)) if self.is_together else self.of_x(x) + self.of_h(h)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
