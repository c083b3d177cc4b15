"""Moving squares: a configuration, and whole batches made at once on the run's device.

Axes: B batch, N squares, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from convlstm.checks import SettingError, check_choice, check_integer, check_number, normalise

CONTEXT_FRAMES = 9  # frames seen before the first prediction; the article's number

Directions = Literal["down-right", "all"]
Walls = Literal["wrap", "bounce"]


@dataclass(frozen=True)
class SquaresConfig:
    """A scene of bright squares that move over black. The defaults are the article's.

    Attributes:
        canvas: side of the frame in px, 16 to 128.
        square_size: side of a square in px, 2 to 16, at most a third of the canvas.
        num_squares: squares in a sequence, 1 to 3.
        speed: largest speed on each axis in px/frame, 1 to 8; each square draws from 1..speed.
        directions: "down-right" as in the article, or "all" for both signs on each axis.
        walls: "wrap" (to the other side, as in the article) or "bounce".
        noise: standard deviation of the noise on the frames the model sees, 0 to 0.5.
    """

    canvas: int = 64
    square_size: int = 5
    num_squares: int = 1
    speed: int = 2
    directions: Directions = "down-right"
    walls: Walls = "wrap"
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingError: a field is outside its range.
        """
        normalise(
            self,
            canvas=check_integer("canvas", self.canvas, 16, 128),
            square_size=check_integer("square_size", self.square_size, 2, 16),
            num_squares=check_integer("num_squares", self.num_squares, 1, 3),
            speed=check_integer("speed", self.speed, 1, 8),
            directions=check_choice("directions", self.directions, get_args(Directions)),
            walls=check_choice("walls", self.walls, get_args(Walls)),
            noise=check_number("noise", self.noise, 0, 0.5),
        )
        if 3 * self.square_size > self.canvas:
            limit = self.canvas // 3
            raise SettingError("square_size", self.square_size, "third of canvas", high=limit)


class Squares(NamedTuple):
    """A batch of sequences, each (B, T, 1, H, W) in [0, 1].

    Attributes:
        observed: what a model sees, with the scene's noise.
        clean: the truth that it is asked for; the same tensor where there is no noise.
    """

    observed: Tensor
    clean: Tensor


def sample_squares(
    config: SquaresConfig, batch_size: int, num_frames: int, generator: torch.Generator
) -> Squares:
    """Draw sequences of moving squares on the generator's device.

    The article's rule, which the defaults reproduce: start x, y uniform integers in
    [0, canvas - square_size - 1); speed dx, dy uniform in {1, ..., speed}; before every further
    frame x = (x + dx) mod (canvas - square_size), y likewise. Bouncing squares turn at
    0 and at canvas - square_size instead. Squares overlap by the maximum.

    Args:
        config: the scene.
        batch_size: B, number of sequences.
        num_frames: T, frames of each.
        generator: the only source of randomness.
    """
    device = generator.device
    # Two axes at once: the last dimension of these is (y, x).
    shape = (batch_size, config.num_squares, 1, 2)
    room = config.canvas - config.square_size
    start = torch.randint(room - 1, shape, generator=generator, device=device)
    velocity = torch.randint(1, config.speed + 1, shape, generator=generator, device=device)
    if config.directions == "all":
        velocity *= 2 * torch.randint(2, shape, generator=generator, device=device) - 1
    time = torch.arange(num_frames, device=device)[:, None]  # (T, 1)
    travelled = start + velocity * time  # (B, N, T, 2)
    if config.walls == "wrap":
        corner = travelled % room
    else:
        corner = room - (travelled % (2 * room) - room).abs()  # a triangle wave over [0, room]

    offset = torch.arange(config.canvas, device=device) - corner[..., None]  # (B, N, T, 2, canvas)
    covered = (offset >= 0) & (offset < config.square_size)
    rows, columns = covered.unbind(-2)
    clean = (rows[..., :, None] & columns[..., None, :]).any(1)  # (B, N, T, H, W) -> (B, T, H, W)
    clean = clean[:, :, None].float()
    if config.noise == 0:
        return Squares(clean, clean)
    noise = torch.randn(clean.shape, generator=generator, device=device)
    return Squares((clean + config.noise * noise).clamp_(0, 1), clean)
