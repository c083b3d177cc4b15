"""Moving squares: bright squares over black, made a whole batch at once on the run's device.

Axes: B batch, N squares, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch

from convlstm.checks import SettingError
from convlstm.networks.config import FrameFormat
from convlstm.scenes.occluder import (
    BAR_VALUE,
    columns_of_bar,
    drop_frames,
    hidden_at_the_end,
)
from convlstm.scenes.scene import Clip, Look, Scene, Split
from convlstm.settings import Choice, Flag, Integer, Number, setting

Directions = Literal["down-right", "all", "right"]
Walls = Literal["wrap", "bounce"]
BarHides = Literal["input", "both"]

# Near the validation set's, where no training sequences are drawn; of those the one whose first
# four samples stay clear of the walls at the default speed, and show what a prediction looks like.
_SHOWN_SEED = 2**31 - 8


@dataclass(frozen=True)
class Squares(Scene):
    """Bright squares that move over black. The defaults are the article's.

    The article's rule: start x, y uniform integers in [0, canvas - square_size - 1); speed dx, dy
    uniform in {1, ..., speed}; before every further frame x = (x + dx) mod (canvas - square_size),
    y likewise. Bouncing squares turn at 0 and at canvas - square_size instead. Squares overlap by
    the maximum.
    """

    name: ClassVar[str] = "squares"
    # 0.007; a 5 px square lights 0.006 of a 64 px frame
    frames: ClassVar[FrameFormat] = FrameFormat(start_logit=-5.0)
    look: ClassVar[Look] = Look(close_up=True)
    validation_sequences: ClassVar[int] = 32
    samples: ClassVar[int] = 8

    speed: int = setting(
        2,
        Integer(0, 8, "px/frame"),
        "largest speed on each axis in px/frame; each square draws from 1 up to it, or stands "
        "still at 0",
        first=True,
    )
    walls: Walls = setting(
        "wrap",
        Choice(get_args(Walls)),
        "wrap (to the other side, as in the squares tutorial) or bounce",
        first=True,
    )
    num_squares: int = setting(1, Integer(1, 3), "squares in a sequence")
    square_size: int = setting(
        5, Integer(2, 16, "px"), "side of a square in px, at most a third of the canvas"
    )
    canvas: int = setting(
        64, Integer(16, 128, "px", choices=(16, 32, 48, 64, 96, 128)), "side of the frame in px"
    )
    directions: Directions = setting(
        "down-right",
        Choice(get_args(Directions)),
        "down-right as in the squares tutorial, all, for both signs on each axis, or right, "
        "straight across",
    )
    exact_speed: bool = setting(
        False, Flag(), "whether every square moves at exactly the speed, instead of 1 up to it"
    )
    bar_width: int = setting(
        0,
        Integer(0, 64, "px", shown_high=24),
        "width of an upright bar that hides what is behind it, in px, at most half of the canvas; "
        "0 for none",
    )
    bar_left: int = setting(
        12, Integer(0, 127, "px", shown_high=64), "from the frame's left side to the bar's, in px"
    )
    bar_hides: BarHides = setting(
        "input",
        Choice(get_args(BarHides)),
        "where the bar hides the squares: in the input alone, so that the truth shows them, or in "
        "both",
    )
    bar_grows: float = setting(
        0.0,
        Number(0, 1, step=0.05),
        "share of the run over which, in training, the bar grows from 1 px to its width",
    )
    dropped_frames: float = setting(
        0.0,
        Number(0, 0.9, step=0.05),
        "share of the frames the network sees that are black instead, at random; never the first",
    )
    noise: float = setting(
        0.0,
        Number(0, 0.5, step=0.05),
        "standard deviation of the noise on the frames the network sees",
    )
    small_frames: float = setting(
        0.0,
        Number(0, 1, step=0.05),
        "share of the run in which training sees frames of three quarters of the canvas's side",
    )

    def check_together(self) -> None:
        """Refuse a square or a bar that is too large, and a bar that is not in the frame."""
        if 3 * self.square_size > self.canvas:
            limit = self.canvas // 3
            raise SettingError("square_size", self.square_size, "third of canvas", high=limit)
        if 2 * self.bar_width > self.canvas:
            limit = self.canvas // 2
            raise SettingError("bar_width", self.bar_width, "half of canvas", high=limit)
        if self.bar_width and self.bar_left + self.bar_width > self.canvas:
            limit = self.canvas - self.bar_width
            raise SettingError("bar_left", self.bar_left, "bar in frame", high=limit)

    @property
    def size(self) -> tuple[int, int]:
        """H and W of a frame, px."""
        return self.canvas, self.canvas

    @property
    def pace(self) -> float:
        """The fastest that a square moves on an axis, px a frame."""
        return self.speed

    @property
    def hides(self) -> bool:
        """Whether there is a bar, or frames are dropped."""
        return self.bar_width > 0 or self.dropped_frames > 0

    def at(self, progress: float) -> "Squares":
        """Begin with smaller frames, which take little more than half of the time, and a thin bar.

        From behind a wide bar training would see nothing come out that it could learn from.
        """
        canvas = self.small_canvas if progress < self.small_frames else self.canvas
        width = min(self.bar_width, canvas // 2)
        if progress < self.bar_grows and width:
            width = 1 + int(width * progress / self.bar_grows)
        if (canvas, width) == (self.canvas, self.bar_width):
            return self
        left = min(self.bar_left, canvas - width)
        return replace(
            self, canvas=canvas, small_frames=0.0, bar_width=width, bar_left=left, bar_grows=0.0
        )

    @property
    def small_canvas(self) -> int:
        """The side of the smaller frames, px."""
        return max(16, 3 * self.square_size, 3 * self.canvas // 4)

    def shown(self, sample: int, context_frames: int, horizon: int) -> Clip:
        """Return one sequence for the page's stage."""
        generator = torch.Generator().manual_seed(_SHOWN_SEED)

        def draw() -> Clip:
            return self.sample(self.samples, context_frames + horizon, generator)

        if self.bar_width:
            return hidden_at_the_end(draw, sample, context_frames)
        return draw().part(slice(sample, sample + 1))

    def sample(
        self, batch_size: int, num_frames: int, generator: torch.Generator, split: Split = "train"
    ) -> Clip:
        """Draw sequences on the generator's device; all splits are drawn alike, by other seeds."""
        device = generator.device
        # Two axes at once: the last dimension of these is (y, x).
        shape = (batch_size, self.num_squares, 1, 2)
        room = self.canvas - self.square_size
        start = torch.randint(room - 1, shape, generator=generator, device=device)
        time = torch.arange(num_frames, device=device)[:, None]  # (T, 1)
        travelled = start + self._velocity(shape, generator) * time  # (B, N, T, 2)
        if self.walls == "wrap":
            corner = travelled % room
        else:
            corner = room - (travelled % (2 * room) - room).abs()  # a triangle wave over [0, room]

        pixel = torch.arange(self.canvas, device=device)
        offset = pixel - corner[..., None]  # (B, N, T, 2, canvas)
        covered = (offset >= 0) & (offset < self.square_size)
        rows, columns = covered.unbind(-2)
        squares = rows[..., :, None] & columns[..., None, :]  # (B, N, T, H, W)
        return self._seen(squares.any(1)[:, :, None], generator)

    def _velocity(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw px a frame, (B, N, 1, 2); what is fixed is not drawn."""
        device = generator.device
        if self.exact_speed or self.speed == 0:
            velocity = torch.full(shape, self.speed, device=device)
        else:
            velocity = torch.randint(1, self.speed + 1, shape, generator=generator, device=device)
        if self.directions == "all":
            velocity *= 2 * torch.randint(2, shape, generator=generator, device=device) - 1
        elif self.directions == "right":
            velocity[..., 0] = 0
        return velocity

    def _seen(self, squares: torch.Tensor, generator: torch.Generator) -> Clip:
        """Put squares, (B, T, 1, H, W) of bool, behind the bar, and spoil what is seen of them."""
        clean = squares.float()
        observed, hidden = clean, None
        if self.bar_width:
            bar = self._bar(squares.device)
            observed = clean.masked_fill(bar, BAR_VALUE)
            hidden = ~(squares & ~bar).flatten(2).any(2)  # (B, T)
            # The bar itself is no part of the truth: grey is much to learn, and nothing to predict.
            clean = clean.masked_fill(bar, 0) if self.bar_hides == "both" else clean
        if self.noise:
            noise = torch.randn(clean.shape, generator=generator, device=clean.device)
            observed = (observed + self.noise * noise).clamp_(0, 1)
        if self.dropped_frames:
            observed, dropped = drop_frames(observed, self.dropped_frames, generator)
            hidden = dropped if hidden is None else hidden | dropped
        return Clip(observed, clean, hidden=hidden)

    def _bar(self, device: torch.device) -> torch.Tensor:
        return columns_of_bar(self.bar_left, self.bar_width, self.canvas, device)

    def baseline(self, name: str, context: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Return what a predictor makes of a context that learnt nothing but where the bar is."""
        predicted = super().baseline(name, context, truth)
        return predicted.masked_fill(self._bar(truth.device), 0) if self.bar_width else predicted


PRESETS: dict[str, dict[str, object]] = {
    "quick": {"small_frames": 0.6},
    "article": {
        "hidden_channels": 16,
        "kernel_size": 3,
        "output": "linear",
        "forget_bias": 0.0,
        "epochs": 100,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "loss": "mse",
        "targets": "future",
        "gradient_clip": 0.0,
        "precision": "float32",
        "stop_below": 0.001,
        "evaluate_every": 10,
    },
    "too-fast": {"speed": 4, "kernel_size": 3, "small_frames": 0.6},
    "behind-the-bar": {
        "canvas": 32,
        "square_size": 4,
        "speed": 1,
        "exact_speed": True,
        "directions": "right",
        "bar_width": 8,
        "bar_grows": 0.6,
        "forget_bias": 3.0,  # with less, some networks remember by h alone
        "context_frames": 10,
        "epochs": 400,
        "evaluate_every": 20,
    },
    "deep": {
        "num_squares": 2,
        "directions": "all",
        "walls": "bounce",
        "hidden_channels": 24,
        "kernel_size": 3,
        "num_layers": 3,
        "residual": True,
        "epochs": 400,
        "batch_size": 8,
        "learning_rate": 0.01,
    },
}
