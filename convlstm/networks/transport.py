"""A head that moves the last frame to where it will be, and paints only what appears.

Most of a frame was in the one before, somewhere near. A head that paints must remember all of it
in the state; this one tells from the state where things go, and takes them from the frame itself.

Axes: n frames, P channels of a patch (C p p), H and W patches, D displacements, K flows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOWS = 2  # what may cross in one patch
REACH = 4  # px that a thing may move in a frame
_SURE = 1e-5  # how near to 0 and 1 a value may come


class Transport(nn.Module):
    """Moves each patch of a frame by a kernel of its own, and paints over it.

    For each patch and each of `FLOWS` flows the state says how likely each displacement is, across
    and down, which together make a kernel; the frame before, seen through it, is moved. The moved
    frames lie over each other by their maximum, as bright things over black do, each as far as its
    mask lets it. Then a share of every pixel is painted.

    Args:
        hidden_channels: of the state.
        channels: of a frame.
        patch_size: side of a patch, px.

    Source: displacements as kernels after Jia et al. 2016 (arXiv:1605.09673), masks after Finn et
    al. 2016 (arXiv:1605.07157).
    """

    def __init__(self, hidden_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.channels, self.patch_size = channels, patch_size
        pixels = channels * patch_size**2
        self.flows = nn.Conv2d(hidden_channels, 2 * (2 * REACH + 1) * FLOWS, 1)
        self.masks = nn.Conv2d(hidden_channels, FLOWS * pixels, 1)
        self.paint = nn.Conv2d(hidden_channels, 2 * pixels, 1)

    @torch.no_grad()
    def start(self, logit: float) -> None:
        """Begin with masks that let most through, and little paint, dark as frames are.

        Args:
            logit: of the paint.
        """
        self.masks.bias.fill_(2.0)
        value, share = self.paint.bias.chunk(2)
        value.fill_(logit)
        share.fill_(-2.0)

    def forward(self, hidden: Tensor, frames: Tensor) -> Tensor:
        """Draw the frames that follow.

        Args:
            hidden: the state after each frame, (n, hidden_channels, H, W).
            frames: in patches, (n, P, H, W), in [0, 1].

        Returns:
            Logits of the next frames, (n, P, H, W), float32.
        """
        flows, masks, paint = (
            head(hidden).float() for head in (self.flows, self.masks, self.paint)
        )
        masks = masks.unflatten(1, (FLOWS, -1)).sigmoid()
        value, share = paint.sigmoid().chunk(2, 1)
        moved = (self._moved(frames.float(), flows) * masks).amax(1)
        drawn = torch.lerp(moved, value, share)
        return (drawn * (1 - 2 * _SURE) + _SURE).logit()

    def _moved(self, frames: Tensor, flows: Tensor) -> Tensor:
        """Move frames (n, P, H, W) by each of the flows, to (n, K, P, H, W)."""
        likely = flows.unflatten(1, (2, -1, FLOWS, 1)).softmax(2)  # (n, 2, D, K, 1, H, W)
        across, down = likely.movedim(0, -3).unbind()  # (D, K, 1, n, H, W) each
        p, windows = self.patch_size, self._windows(frames)
        # First down and then across: 2 D products for a pixel, and not D squared.
        rows = windows[:p] * down[0]
        for d in range(1, len(down)):
            rows = torch.addcmul(rows, windows[d : d + p], down[d])
        moved = rows[:, :p] * across[0]
        for d in range(1, len(across)):
            moved = torch.addcmul(moved, rows[:, d : d + p], across[d])
        # (p, p, K, C, n, H, W)
        return moved.permute(4, 2, 3, 0, 1, 5, 6).flatten(2, 4)

    def _windows(self, frames: Tensor) -> Tensor:
        """Return each patch and what is in reach of it, black outside: (S, S, 1, C, n, H, W)."""
        p = self.patch_size
        H, W = frames.shape[-2:]
        beside = -(-REACH // p)  # patches each way, of which the outer ones may be cut
        used = slice(beside * p - REACH, beside * p + p + REACH)
        patches = frames.unflatten(1, (self.channels, p, p)).permute(2, 3, 1, 0, 4, 5)
        patches = F.pad(patches, (beside,) * 4)
        shifts = range(2 * beside + 1)
        rows = torch.cat([patches[..., k : k + H, :] for k in shifts])[used]
        return torch.cat([rows[..., k : k + W] for k in shifts], 1)[:, used, None]
