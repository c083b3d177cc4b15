"""When does something unexpected happen? Where a trained network's prediction is wrong."""

import torch

from convlstm import load_checkpoint
from convlstm.files.shipped import shipped_file


def moving_squares(count: int, jump_at: torch.Tensor) -> torch.Tensor:
    """Draw 16 frames of a square that moves evenly, but once jumps aside: (B, 16, 1, 64, 64)."""
    start, velocity = torch.randint(3, 12, (count, 1, 2)), torch.randint(1, 3, (count, 1, 2))
    has_jumped = torch.arange(16) >= jump_at[:, None]
    corner = start + velocity * torch.arange(16)[:, None] + 14 * has_jumped[..., None]
    offset = torch.arange(64) - corner[..., None]
    rows, columns = ((offset >= 0) & (offset < 5)).unbind(2)
    return (rows[..., :, None] & columns[..., None, :])[:, :, None].float()


torch.manual_seed(0)
network = load_checkpoint(shipped_file("quick-start.safetensors"))  # knows squares that move so
jump_at = torch.randint(5, 15, (40,))
frames = moving_squares(40, jump_at)
with torch.no_grad():
    predicted = network.intensities(network(frames[:, :-1], horizon=1))  # of each next frame
score = (predicted - frames[:, 1:]).square().mean((2, 3, 4))  # of frames 1 to 15, (B, 15)
score[:, :3] = 0  # speed is not known yet
found = score.argmax(1) + 1
ordinary = score[score > 0].median().item()
print("found", (found == jump_at).float().mean().item(), "by chance", round(1 / 12, 3))
print("error at the jump", score.amax(1).mean().item(), "of an ordinary frame", ordinary)
