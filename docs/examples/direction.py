"""Which way does a square move? A classifier that looks at nothing but the last state."""

import torch
import torch.nn.functional as F
from torch import nn

from convlstm import ConvLSTM


class Classifier(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convlstm = ConvLSTM(in_channels=1, hidden_channels=8, forget_bias=1.0)
        self.head = nn.Linear(8, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # (B, T, 1, H, W) -> (B, classes)
        _, [(h, _)] = self.convlstm(frames)
        return self.head(h.amax((2, 3)))  # wherever it is


def moving_squares(count: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw sequences of six frames, (B, 6, 1, H, W), and 0 to 3: right, down, left, up."""
    direction = torch.randint(4, (count,))
    velocity = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0]])[direction]
    corner = torch.randint(size, (count, 1, 2)) + velocity[:, None] * torch.arange(6)[:, None]
    rows, columns = ((torch.arange(size) - corner[..., None]) % size < 3).unbind(2)
    return (rows[..., :, None] & columns[..., None, :])[:, :, None].float(), direction


torch.manual_seed(0)
model = Classifier(classes=4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(150):
    frames, truth = moving_squares(32)
    optimizer.zero_grad()
    F.cross_entropy(model(frames), truth).backward()
    optimizer.step()
frames, truth = moving_squares(500)  # new ones
print("accuracy", (model(frames).argmax(1) == truth).float().mean().item(), "by chance 0.25")
