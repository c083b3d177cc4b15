"""How sharp frames are."""

import torch
import torch.nn.functional as F

from convlstm.training.sharpness import contrast


def test_a_blurred_frame_has_less_contrast_and_a_plain_one_none():
    frame = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(frame, 3, 1, 1)
    assert contrast(blurred).item() < 0.5 * contrast(frame).item()
    assert contrast(torch.full((16, 16), 0.5)).item() == 0
