import math

import numpy as np
import pytest
import torch

from convlstm.checks import SettingError
from convlstm.scenes.digits import Digits, read_digits


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def transcription(pictures, xs, ys, angles, num_frames):
    """The protocol of Srivastava et al. 2015 for one sequence, word for word."""
    frames = np.zeros((num_frames, 64, 64), dtype=np.uint8)
    for picture, x, y, angle in zip(pictures, xs, ys, angles, strict=True):
        vx, vy = math.cos(angle), math.sin(angle)
        for t in range(num_frames):
            x += 0.1 * vx
            y += 0.1 * vy
            if x <= 0:
                x = 0
                vx = -vx
            if x >= 1:
                x = 1
                vx = -vx
            if y <= 0:
                y = 0
                vy = -vy
            if y >= 1:
                y = 1
                vy = -vy
            top, left = int(36 * y), int(36 * x)
            for row in range(28):
                for column in range(28):
                    seen = frames[t, top + row, left + column]
                    frames[t, top + row, left + column] = max(seen, picture[row, column])
    return frames


def test_sequences_equal_a_literal_transcription_of_the_protocol():
    digits = read_digits("test")
    sequences = Digits().sample(8, 20, generator(3), "test").clean
    draws = generator(3)
    chosen = torch.randint(len(digits), (8, 2), generator=draws)
    x, y, turn = torch.rand(3, 8, 2, generator=draws, dtype=torch.float64)
    for b in range(8):
        expected = transcription(
            digits[chosen[b]].numpy(),
            x[b].tolist(),
            y[b].tolist(),
            (2 * math.pi * turn[b]).tolist(),
            20,
        )
        assert np.array_equal(sequences[b, :, 0].numpy(), expected.astype(np.float32) / 255)


def test_a_batch_has_the_stated_shape_type_and_range():
    clip = Digits(canvas=40, num_digits=3).sample(5, 7, generator(), "test")
    sequences = clip.clean
    assert clip.observed is sequences
    assert clip.valid is None
    assert sequences.shape == (5, 7, 1, 40, 40)
    assert sequences.dtype == torch.float32
    assert sequences.min() == 0
    assert 0.9 < sequences.max() <= 1


def test_splits_have_their_sizes_and_share_no_digit():
    splits = {name: read_digits(name) for name in ("train", "validation", "test")}
    assert {name: tuple(s.shape) for name, s in splits.items()} == {
        "train": (55_000, 28, 28),
        "validation": (5_000, 28, 28),
        "test": (10_000, 28, 28),
    }
    seen = set()
    for digits in splits.values():
        pictures = {picture.numpy().tobytes() for picture in digits}
        assert not pictures & seen
        seen |= pictures


def test_the_digits_are_those_of_mnist():
    # The mean and standard deviation by which everybody normalises MNIST's training digits.
    pixels = torch.cat([read_digits("train"), read_digits("validation")]).double() / 255
    assert round(pixels.mean().item(), 4) == 0.1307
    assert round(pixels.std().item(), 4) == 0.3081


def test_an_unknown_split_is_refused():
    with pytest.raises(SettingError, match="split is 'all': must be one of train, validation, tes"):
        read_digits("all")


def test_the_same_seed_draws_the_same_and_another_seed_other_sequences():
    def draw(seed):
        return Digits().sample(2, 3, generator(seed), "test").clean

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    Digits(flips=True).sample(2, 3, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_flips_mirror_whole_sequences_and_change_nothing_else():
    plain = Digits().sample(64, 4, generator()).clean
    flipped = Digits(flips=True).sample(64, 4, generator()).clean
    kinds = [plain, plain.flip(-1), plain.flip(-2), plain.flip(-1, -2)]
    matches = torch.stack([(kind == flipped).flatten(1).all(1) for kind in kinds])  # (4, 64)
    assert (matches.sum(0) >= 1).all()
    assert (matches.sum(1) >= 4).all()  # a quarter of the 64 each, about


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_judged_is_never_mirrored(split):
    plain, flips = (Digits(flips=f).sample(16, 3, generator(), split) for f in (False, True))
    assert torch.equal(plain.clean, flips.clean)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_s_sequences_show_its_own_digits(split):
    clip = Digits(canvas=32, num_digits=1, speed=0).sample(8, 1, generator(), split)
    draws, digits = generator(), read_digits(split)
    chosen = digits[torch.randint(len(digits), (8, 1), generator=draws)[:, 0]]
    start = torch.rand(3, 8, 1, generator=draws, dtype=torch.float64)[:2, :, 0]
    x, y = (4 * start).int()
    for b in range(8):
        at = clip.clean[b, 0, 0, y[b] : y[b] + 28, x[b] : x[b] + 28]
        assert torch.equal((255 * at).round().byte(), chosen[b])


def test_a_resting_digit_stays_and_a_fast_one_stays_on_the_canvas():
    resting = Digits(speed=0).sample(4, 5, generator(), "test").clean
    assert torch.equal(resting[:, :1].expand_as(resting), resting)
    fast = Digits(canvas=32, num_digits=1, speed=8).sample(16, 9, generator(), "test").clean
    assert torch.allclose(fast.sum((2, 3, 4)), fast[:, :1].sum((2, 3, 4)), rtol=1e-5)


def test_a_large_batch_is_what_its_parts_would_be():
    # 500 are drawn at once; the seam must not show.
    digits = read_digits("test")
    sequences = Digits().sample(502, 2, generator(), "test").clean
    draws = generator()
    chosen = torch.randint(len(digits), (502, 2), generator=draws)
    x, y, turn = torch.rand(3, 502, 2, generator=draws, dtype=torch.float64)
    for b in (499, 500, 501):
        angles = (2 * math.pi * turn[b]).tolist()
        expected = transcription(digits[chosen[b]].numpy(), x[b].tolist(), y[b].tolist(), angles, 2)
        assert np.array_equal(sequences[b, :, 0].numpy(), expected.astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"canvas": 31}, "canvas is 31: must be a whole number from 32 to 128."),
        ({"num_digits": 0}, "num_digits is 0: must be a whole number from 1 to 3."),
        ({"speed": -1}, "speed is -1: must be a number from 0 to 8."),
        ({"speed": math.nan}, "speed is nan: must be a number from 0 to 8."),
        ({"flips": 1}, "flips is 1: must be true or false."),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        Digits(**settings)
    assert str(caught.value) == message
