"""A head that moves the last frame to where it will be, and paints only what appears.

Most of a frame was in the one before, somewhere near. A head that paints must remember all of it
in the state; this one tells from the state where things go, and takes them from the frame itself.

Axes: n frames, P channels of a patch (C p p), H and W patches, D displacements, K flows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOWS = 2  # what may cross in one patch
_REACH = 4  # px a frame, where a patch is no larger
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
        patch_size: side of a patch, px; it may come from as far as 4 px away, or its own side
            where that is more.

    Source: displacements as kernels after Jia et al. 2016 (arXiv:1605.09673), masks after Finn et
    al. 2016 (arXiv:1605.07157).
    """

    def __init__(self, hidden_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.channels, self.patch_size = channels, patch_size
        self.neighbours = max(1, _REACH // patch_size)  # patches each way
        self.patch_channels = channels * patch_size**2
        displacements = 2 * self.neighbours * patch_size + 1
        self.flows = nn.Conv2d(hidden_channels, 2 * displacements * FLOWS, 1)
        self.masks = nn.Conv2d(hidden_channels, FLOWS * self.patch_channels, 1)
        self.paint = nn.Conv2d(hidden_channels, 2 * self.patch_channels, 1)

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
        """Return each patch with its neighbours, black outside: (side, side, 1, C, n, H, W)."""
        p, m = self.patch_size, self.neighbours
        H, W = frames.shape[-2:]
        patches = frames.unflatten(1, (self.channels, p, p)).permute(2, 3, 1, 0, 4, 5)
        patches = F.pad(patches, (m, m, m, m))
        rows = torch.cat([patches[..., k : k + H, :] for k in range(2 * m + 1)])
        return torch.cat([rows[..., k : k + W] for k in range(2 * m + 1)], 1)[:, :, None]
