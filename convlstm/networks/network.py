"""Networks: what reads the frames of a context and gives the frames that follow.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1]; what a
network computes are its head's values, of which `intensities` makes frames.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlstm.layer.cell import ConvLSTMCell
from convlstm.layer.cell_base import check_positive
from convlstm.layer.recurrence import State
from convlstm.networks.config import FrameFormat, NetworkConfig
from convlstm.networks.transport import Transport

# Chooses what is read next: (values of the newest frames, lead time) to the next input.
Feed = Callable[[Tensor, int], Tensor]


class Reader(NamedTuple):
    """One of a network's cells: where it stands, and how far it sees.

    Attributes:
        role: in a "stack" all are layers.
        number: among those of its role, from 0; of scales the finest.
        late: whether it reads from the newest frame of the context on, and not from the first.
        side: of one of its pixels, in px of a frame.
        reach: how far from a pixel the newest frame that it read may lie and still reach it, px;
            None for any distance, or where nobody knows.
        hop: how much further every older frame may lie, px a frame.
    """

    role: Literal["layer", "encoder", "forecaster"]
    number: int
    late: bool
    side: int
    reach: int | None
    hop: int


class Network(nn.Module):
    """What all networks share: patches in, values out, and the rollout in between.

    Args:
        config: the sizes and options.
        frames: what the frames are like.
    """

    def __init__(self, config: NetworkConfig, frames: FrameFormat) -> None:
        super().__init__()
        self.config, self.frames = config, frames
        self.head: nn.Conv2d | Transport

    @property
    def patch_channels(self) -> int:
        """Channels of what the layers read and the head gives."""
        return self.frames.channels * self.config.patch_size**2

    def forward(
        self,
        context: Tensor,
        horizon: int,
        truth: Tensor | None = None,
        use_truth: Tensor | None = None,
    ) -> Tensor:
        """Predict the frames that follow.

        Args:
            context: frames seen, (B, T, C, H, W), in [0, 1].
            horizon: number of frames to predict, 1 or more.
            truth: the frames that follow, (B, horizon, C, H, W); only where use_truth is given.
            use_truth: which of them the network reads instead of its own, (B, horizon) of bool.

        Returns:
            The head's values of the last frames up to the horizon's end, (B, n, C, H, W): logits
            for "sigmoid" and "transport", frames that nothing has clipped for "linear" and
            "change". n is horizon,
            and in "stack" T - 1 + horizon, since it predicts each next frame of the context, too.

        Raises:
            ValueError: context has another shape, or horizon is not a positive whole number.
        """
        check_positive("horizon", horizon)
        channels = self.frames.channels
        if context.ndim != 5 or context.shape[2] != channels or not context.shape[1]:
            raise ValueError(
                f"context has shape {tuple(context.shape)}: must be (B, T, {channels}, H, W)."
            )
        x = self._read(context)
        followers = None if truth is None else self._read(truth)

        def feed(values: Tensor, lead_time: int) -> Tensor:
            frame = self._as_input(values)
            if use_truth is None or followers is None:
                return frame
            chosen = use_truth[:, lead_time - 1, None, None, None]
            return torch.where(chosen, followers[lead_time - 1], frame)

        return self._drawn(self.roll_out(x, horizon, feed).transpose(0, 1), context)

    def step(
        self,
        frame: Tensor,
        states: list[State],
        seen: Tensor | None = None,
        last: Tensor | None = None,
    ) -> tuple[Tensor, list[State], Tensor]:
        """Read one frame and predict the next, for who keeps the states.

        A context read so and then the predictions give what `predict` gives, where H and W are
        multiples of the configuration's `divisor`: of others `predict` keeps the edge it adds.

        Args:
            frame: (B, C, H, W), in [0, 1].
            states: one (h, c) for each of `readers()`, zeros before the first frame.
            seen: whether the frame is of the context, one bool; if not, it is the last prediction.
                Only where `tells_seen`.
            last: what an earlier call returned last; only where `carries_last`.

        Returns:
            The next frame, (B, C, H, W) in [0, 1], the next states, and the head's values that the
            frame is made of.
        """
        x = self._read(frame[:, None])[0]
        hidden, states = self.advance(x, states, seen)
        before = torch.where(seen, x, last) if self.carries_last else x
        values = self._values(hidden[None], before[None])[0]
        return self.intensities(self._drawn(values, frame)).clamp(0, 1), states, values

    def roll_out(self, x: Tensor, horizon: int, feed: Feed) -> Tensor:
        """Read x, (T, B, C, H, W), and return the head's values (n, B, C, H, W)."""
        raise NotImplementedError

    def advance(
        self, x: Tensor, states: list[State], seen: Tensor | None
    ) -> tuple[Tensor, list[State]]:
        """Read one frame, as `roll_out` reads it after those before.

        Args:
            x: the frame, (B, C, H, W).
            states: one for each of `readers()`, as an earlier call returned them; zeros at first.
            seen: whether the frame is of the context, one bool; if not, it is the network's own
                prediction. Only where `tells_seen` is it looked at.

        Returns:
            What the head is given, (B, hidden_channels, H, W), and the next states.
        """
        raise NotImplementedError

    @property
    def tells_seen(self) -> bool:
        """Whether the frames of a context are read in another way than those predicted."""
        return self.config.rollout == "states" or any(reader.late for reader in self.readers())

    @property
    def carries_last(self) -> bool:
        """Whether a prediction is added to the one before as it was, not as it was clipped."""
        return self.config.rollout == "states" and self.config.output == "change"

    def readers(self) -> list[Reader]:
        """Describe the cells, in the order of `modules()`, which is that of `trace`."""
        raise NotImplementedError

    def cells(self) -> list[ConvLSTMCell]:
        """Return the cells, in the same order."""
        return [module for module in self.modules() if isinstance(module, ConvLSTMCell)]

    def intensities(self, values: Tensor) -> Tensor:
        """Turn the head's values into frames: logits into (0, 1), others as they are."""
        return values.sigmoid() if self.config.gives_logits else values

    @torch.no_grad()
    def predict(self, context: Tensor, horizon: int, *, augmented: bool = False) -> Tensor:
        """Continue sequences, on the network's own output after the first new frame.

        Args:
            context: frames seen, (B, T, C, H, W), in [0, 1].
            horizon: number of frames to predict, 1 or more.
            augmented: whether to average the predictions of the sequences as they are and mirrored
                left to right, top to bottom, and both; four times the work.

        Returns:
            (B, horizon, C, H, W), in [0, 1], float32.

        Raises:
            ValueError: context has another shape, or horizon is not a positive whole number.
        """
        mirrors = [(), (-1,), (-2,), (-1, -2)] if augmented else [()]
        predictions = []
        for axes in mirrors:
            values = self(context.flip(axes), horizon)[:, -horizon:].float()
            predictions.append(self.intensities(values).clamp(0, 1).flip(axes))
        return torch.stack(predictions).mean(0) if augmented else predictions[0]

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, from the generator where one is given."""
        cells = self.cells()
        for cell in cells:
            cell.reset_parameters(generator)
        gates = {id(cell.gates) for cell in cells}
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and id(module) not in gates:
                bound = module.weight[0].numel() ** -0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.GroupNorm):
                module.reset_parameters()
        self._start_head(generator)

    def _made_head(self) -> nn.Conv2d | Transport:
        config = self.config
        if config.output == "transport":
            return Transport(config.hidden_channels, self.frames.channels, config.patch_size)
        return nn.Conv2d(config.hidden_channels, self.patch_channels, 1)

    def _start_head(self, generator: torch.Generator | None) -> None:
        # From grey, training first learns that the answer is black everywhere, and can stay there.
        if isinstance(self.head, Transport):
            self.head.start(self.frames.start_logit)
        elif self.config.output == "sigmoid":
            self.head.bias.fill_(self.frames.start_logit)
        elif self.config.output == "linear":
            bound = self.head.weight[0].numel() ** -0.5
            self.head.bias.uniform_(-bound, bound, generator=generator)
        else:
            self.head.weight.zero_()  # begin with the last frame

    def _read(self, frames: Tensor) -> Tensor:
        """Turn whole frames into what layers read: time first, patches as channels, normalised."""
        below, beside = (-side % self.config.divisor for side in frames.shape[-2:])
        if below or beside:  # the edges go on; what is predicted there is cut off again
            frames = F.pad(frames, (0, beside, 0, below, 0, 0), mode="replicate")
        frames = frames.transpose(0, 1)
        if self.config.patch_size > 1:  # a patch of 1 px would copy everything for nothing
            frames = F.pixel_unshuffle(frames, self.config.patch_size)
        return self._normalised(frames)

    def _drawn(self, values: Tensor, like: Tensor) -> Tensor:
        """Turn what the head gives, (..., C, H, W), into values of whole frames of a size."""
        if not self.config.gives_logits:
            values = self._denormalised(values)
        if self.config.patch_size > 1:
            values = F.pixel_shuffle(values, self.config.patch_size)
        H, W = like.shape[-2:]
        return values[..., :H, :W]

    def _as_input(self, values: Tensor) -> Tensor:
        values = values.float()
        if self.config.gives_logits:
            return self._normalised(values.sigmoid())
        return self._normalised(self._denormalised(values).clamp(0, 1))

    def _continued(self, values: Tensor) -> Tensor:
        """Turn values into the frames that the next ones are made of, where none are read."""
        return values if self.config.output == "change" else self._as_input(values)

    def _normalised(self, frames: Tensor) -> Tensor:
        if self.frames.is_plain:
            return frames
        mean, spread = self._mean_and_spread(frames)
        return (frames - mean) / spread

    def _denormalised(self, frames: Tensor) -> Tensor:
        if self.frames.is_plain:
            return frames
        mean, spread = self._mean_and_spread(frames)
        return frames * spread + mean

    def _mean_and_spread(self, like: Tensor) -> Tensor:
        """Return both for each channel of patches, (2, C, 1, 1)."""
        # Made where they are: a copy from here would wait for a GPU.
        shape = self.config.patch_size**2, 1, 1
        both = (
            torch.cat([torch.full(shape, value, device=like.device) for value in values])
            for values in (self.frames.mean, self.frames.spread)
        )
        return torch.stack(tuple(both))

    def _read_anyway(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Return what the states go on with: x, or nothing where they go on alone."""
        alone = self.config.rollout == "states" and seen is not None
        return torch.where(seen, x, 0.0) if alone else x

    def _values(self, hidden: Tensor, last_frames: Tensor) -> Tensor:
        """Turn hidden frames (T, B, C, H, W) into values, given the frames before those asked for.

        What is flattened lies together in memory: nothing is copied.
        """
        given = hidden.flatten(0, 1)
        if isinstance(self.head, Transport):
            frames = self._denormalised(last_frames.flatten(0, 1))
            return self.head(given, frames).unflatten(0, hidden.shape[:2])
        values = self.head(given).unflatten(0, hidden.shape[:2])
        return last_frames + values if self.config.output == "change" else values
