"""The head that moves frames, against arithmetic pixel by pixel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convlstm.networks.transport import FLOWS, REACH, Transport

HIDDEN, SIDE = 3, 16
SHAPES = [(1, 1), (1, 2), (1, 4), (3, 4), (2, 8)]  # channels, patch size
AS_DRAWN = {"rtol": 0, "atol": 1e-4}


def made(channels: int, patch_size: int) -> Transport:
    head = Transport(HIDDEN, channels, patch_size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in head.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    return head


def given(channels: int, patch_size: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A state and whole frames."""
    generator = torch.Generator().manual_seed(seed)
    cells = SIDE // patch_size
    hidden = torch.randn(2, HIDDEN, cells, cells, generator=generator)
    return hidden, torch.rand(2, channels, SIDE, SIDE, generator=generator)


def drawn(head: Transport, hidden: Tensor, frames: Tensor) -> Tensor:
    """What the head makes of whole frames, in [0, 1]."""
    logits = head(hidden, F.pixel_unshuffle(frames, head.patch_size))
    return F.pixel_shuffle(logits, head.patch_size).sigmoid()


def pixel_by_pixel(head: Transport, hidden: Tensor, frames: Tensor) -> Tensor:
    """The same, as its docstring has it: every displacement of every pixel."""
    p, taps = head.patch_size, 2 * REACH + 1
    flows = head.flows(hidden).view(len(frames), 2, taps, FLOWS, *hidden.shape[2:]).softmax(2)
    masks = head.masks(hidden).sigmoid().chunk(FLOWS, 1)
    value, share = (F.pixel_shuffle(part, p).sigmoid() for part in head.paint(hidden).chunk(2, 1))
    seen = F.pad(frames, (REACH,) * 4)
    moved = []
    for flow, mask in enumerate(masks):
        total = torch.zeros_like(frames)
        for down in range(taps):
            for across in range(taps):
                weight = flows[:, 0, across, flow] * flows[:, 1, down, flow]
                weight = weight.repeat_interleave(p, 1).repeat_interleave(p, 2)[:, None]
                total += weight * seen[:, :, down : down + SIDE, across : across + SIDE]
        moved.append(total * F.pixel_shuffle(mask, p))
    return (1 - share) * torch.stack(moved).amax(0) + share * value


@pytest.mark.parametrize(("channels", "patch_size"), SHAPES)
def test_it_draws_what_every_displacement_of_every_pixel_comes_to(channels, patch_size):
    head = made(channels, patch_size)
    hidden, frames = given(channels, patch_size)
    expected = pixel_by_pixel(head, hidden, frames)
    torch.testing.assert_close(drawn(head, hidden, frames), expected, **AS_DRAWN)


@pytest.mark.parametrize(("channels", "patch_size"), SHAPES)
def test_its_gradients_are_theirs(channels, patch_size):
    head = made(channels, patch_size)
    found = []
    for draw in (drawn, pixel_by_pixel):
        tensors = [each.requires_grad_() for each in given(channels, patch_size)]
        total = (draw(head, *tensors) * given(channels, patch_size, seed=2)[1]).sum()
        found.append(torch.autograd.grad(total, [*tensors, *head.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("patch_size", [1, 2, 4, 8])
@pytest.mark.parametrize(("across", "down"), [(0, 0), (3, -2), (-4, 4)])
def test_a_sure_head_moves_a_thing_by_whole_pixels_and_nothing_else(patch_size, across, down):
    head = Transport(HIDDEN, 1, patch_size)
    with torch.no_grad():
        for weights in head.parameters():
            weights.zero_()
        head.masks.bias.fill_(100)
        head.paint.bias.fill_(-100)
        likely = head.flows.bias.view(2, -1, FLOWS)
        likely[0, REACH - across] = likely[1, REACH - down] = 100
    hidden, frames = given(1, patch_size)
    thing = torch.zeros_like(frames)
    thing[:, :, 5:10, 6:11] = frames[:, :, 5:10, 6:11]
    moved = thing.roll((down, across), (2, 3))
    torch.testing.assert_close(drawn(head, hidden, thing), moved, **AS_DRAWN)


def test_what_leaves_the_frame_is_gone_and_black_comes_in():
    head = Transport(HIDDEN, 1, 4)
    with torch.no_grad():
        for weights in head.parameters():
            weights.zero_()
        head.masks.bias.fill_(100)
        head.paint.bias.fill_(-100)
        head.flows.bias.view(2, -1, FLOWS)[:, 8] = 100  # all comes from 4 px to the right and below
    hidden, _ = given(1, 4)
    result = drawn(head, hidden, torch.ones(2, 1, SIDE, SIDE))
    torch.testing.assert_close(result[..., :-4, :-4], torch.ones(2, 1, 12, 12), **AS_DRAWN)
    assert result[..., -4:, :].max() < 1e-4 and result[..., -4:].max() < 1e-4


def test_a_pixel_that_is_as_good_as_black_still_learns():
    """A value cut off at the least that counts would have no gradient, for ever."""
    head = made(1, 4)
    hidden, frames = given(1, 4)
    with torch.no_grad():
        head.paint.weight.zero_()
        value, share = head.paint.bias.chunk(2)
        value.fill_(-3)
        share.fill_(-10)
    values = head(hidden, torch.zeros_like(F.pixel_unshuffle(frames, 4)))
    assert values.sigmoid().max() < 2e-5
    loss = F.binary_cross_entropy_with_logits(values, torch.ones_like(values))
    assert (torch.autograd.grad(loss, head.paint.bias)[0] < -1e-6).all()
