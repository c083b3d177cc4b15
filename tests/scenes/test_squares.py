"""Moving squares, against the article's rule written out as loops."""

import math
from dataclasses import replace

import pytest
import torch

from convlstm.checks import SettingError
from convlstm.scenes.squares import Squares


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def starts_and_velocities(config: Squares, batch_size: int, generator: torch.Generator):
    """Draw as the sampler does: lists [sequence][square] of (y, x)."""
    shape = (batch_size, config.num_squares, 1, 2)
    start = torch.randint(config.canvas - config.square_size - 1, shape, generator=generator)
    velocity = torch.randint(1, config.speed + 1, shape, generator=generator)
    if config.directions == "all":
        velocity = velocity * (2 * torch.randint(2, shape, generator=generator) - 1)
    return start[:, :, 0].tolist(), velocity[:, :, 0].tolist()


def moved(position: int, velocity: int, room: int, walls: str) -> tuple[int, int]:
    """One step of one square on one axis."""
    position += velocity
    if walls == "wrap":
        return position % room, velocity
    if position > room:
        return 2 * room - position, -velocity
    if position < 0:
        return -position, -velocity
    return position, velocity


def drawn_by_hand(config: Squares, num_frames: int, starts, velocities) -> torch.Tensor:
    size, room = config.square_size, config.canvas - config.square_size
    frames = torch.zeros(len(starts), num_frames, 1, config.canvas, config.canvas)
    for sequence, squares in enumerate(zip(starts, velocities, strict=True)):
        for (y, x), (dy, dx) in zip(*squares, strict=True):
            for frame in range(num_frames):
                frames[sequence, frame, 0, y : y + size, x : x + size] = 1
                (y, dy), (x, dx) = (
                    moved(y, dy, room, config.walls),
                    moved(x, dx, room, config.walls),
                )
    return frames


def corners(frames: torch.Tensor) -> torch.Tensor:
    """Find the one square of each frame: (B, T, 1, H, W) -> (B, T, 2), as (y, x)."""
    rows, columns = frames[:, :, 0].any(-1), frames[:, :, 0].any(-2)
    return torch.stack([rows.int().argmax(-1), columns.int().argmax(-1)], -1)


@pytest.mark.parametrize("walls", ["wrap", "bounce"])
@pytest.mark.parametrize("directions", ["down-right", "all"])
@pytest.mark.parametrize("num_squares", [1, 3])
def test_frames_are_those_of_the_article_s_rule_drawn_by_hand(walls, directions, num_squares):
    config = Squares(
        canvas=18,
        square_size=4,
        num_squares=num_squares,
        speed=5,
        directions=directions,
        walls=walls,
    )
    frames = config.sample(24, 30, seeded(3)).clean
    starts, velocities = starts_and_velocities(config, 24, seeded(3))
    assert torch.equal(frames, drawn_by_hand(config, 30, starts, velocities))


def test_the_defaults_are_the_article_s_scene():
    # Seen from the frames alone: nothing here knows how they were drawn.
    frames = Squares().sample(200, 10, seeded()).clean
    assert frames.shape == (200, 10, 1, 64, 64)
    assert frames.dtype == torch.float32
    assert (frames.sum((-1, -2)) == 25).all()
    assert frames.unique().tolist() == [0, 1]
    at = corners(frames)
    assert (at[:, 0].min(), at[:, 0].max()) == (0, 64 - 6 - 1)
    speeds = (at[:, 1:] - at[:, :-1]) % (64 - 5)
    assert speeds.unique().tolist() == [1, 2]
    assert (speeds == speeds[:, :1]).all()
    assert at.max() == 64 - 5 - 1


def test_every_start_and_every_speed_is_drawn_about_equally_often():
    frames = Squares(canvas=16, square_size=4, speed=3).sample(3000, 2, seeded())
    at = corners(frames.clean)
    for axis in (0, 1):
        starts = at[:, 0, axis].bincount()
        speeds = ((at[:, 1, axis] - at[:, 0, axis]) % 12).bincount()
        assert len(starts) == 11
        assert len(speeds) == 4
        assert (starts / 3000 - 1 / 11).abs().max() < 0.03
        assert (speeds[1:] / 3000 - 1 / 3).abs().max() < 0.04
        assert speeds[0] == 0


def test_squares_that_go_in_all_directions_take_all_four_diagonals():
    config = Squares(canvas=32, speed=2, directions="all", walls="bounce")
    at = corners(config.sample(400, 3, seeded()).clean)
    inside = ((at > 3) & (at < 24)).all((1, 2))
    signs = (at[inside, 1] - at[inside, 0]).sign()
    assert {tuple(sign) for sign in signs.tolist()} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_a_bouncing_square_touches_both_walls_and_stays_whole():
    config = Squares(canvas=16, square_size=4, speed=8, directions="all", walls="bounce")
    frames = config.sample(50, 60, seeded()).clean
    assert (frames.sum((-1, -2)) == 16).all()
    at = corners(frames)
    assert (at.min(), at.max()) == (0, 12)


def test_squares_overlap_by_the_maximum():
    config = Squares(canvas=16, square_size=5, num_squares=3)
    frames = config.sample(200, 10, seeded()).clean
    areas = frames.sum((-1, -2))
    assert frames.unique().tolist() == [0, 1]
    assert (areas.min(), areas.max()) == (pytest.approx(32, abs=8), 75)


def test_noise_is_on_what_a_model_sees_and_not_on_the_truth():
    config = Squares(canvas=32, noise=0.1)
    noisy = config.sample(8, 10, seeded(1))
    without = replace(config, noise=0).sample(8, 10, seeded(1))
    assert torch.equal(noisy.clean, without.clean)
    assert noisy.observed.min() == 0
    assert noisy.observed.max() == 1
    # Half of the noise on black is clipped away; the other half has this mean.
    on_black = noisy.observed[noisy.clean == 0]
    assert on_black.mean().item() == pytest.approx(0.1 / math.sqrt(2 * math.pi), rel=0.05)
    frames = noisy.observed - noisy.clean
    assert not torch.equal(frames[0, 0], frames[0, 1])


def test_without_noise_the_model_sees_the_truth():
    squares = Squares(canvas=32).sample(2, 3, seeded())
    assert squares.observed is squares.clean


def test_training_begins_on_smaller_frames_and_is_judged_on_whole_ones():
    scene = Squares(small_frames=0.6)
    assert [scene.at(progress).size for progress in (0, 0.59, 0.6, 1)] == [(48, 48)] * 2 + [
        (64, 64)
    ] * 2
    assert scene.at(0.6) is scene
    assert scene.at(0.5) == Squares(canvas=48)
    assert scene.validation(9, 1).clean.shape[-2:] == (64, 64)
    assert Squares().at(0.0) == Squares()


@pytest.mark.parametrize("canvas", [16, 17, 48, 128])
@pytest.mark.parametrize("share", [2 / 16, 1 / 3])
def test_smaller_frames_are_never_too_small_for_their_squares(canvas, share):
    scene = Squares(canvas=canvas, square_size=min(16, int(share * canvas)), small_frames=1)
    assert scene.at(0).size <= scene.size
    assert scene.at(0).sample(2, 3, seeded()).clean.max() == 1


def test_the_generator_is_the_only_source_of_randomness():
    config = Squares(canvas=32, num_squares=2, directions="all", noise=0.2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = config.sample(4, 5, seeded(9))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = config.sample(4, 5, seeded(9))
    other = config.sample(4, 5, seeded(10))
    assert torch.equal(one.observed, two.observed)
    assert not torch.equal(one.clean, other.clean)


def test_a_longer_sequence_begins_like_the_shorter_one():
    config = Squares(canvas=32, walls="bounce")
    short = config.sample(4, 5, seeded(2)).clean
    assert torch.equal(config.sample(4, 12, seeded(2)).clean[:, :5], short)


@pytest.mark.parametrize(
    "changed",
    [
        {"canvas": 40},
        {"square_size": 6},
        {"num_squares": 2},
        {"speed": 8},
        {"directions": "all"},
        {"walls": "bounce"},
        {"noise": 0.1},
    ],
)
def test_every_setting_of_the_scene_changes_the_frames(changed):
    plain = Squares(canvas=32).sample(8, 10, seeded()).observed
    other = Squares(**{"canvas": 32, **changed}).sample(8, 10, seeded()).observed
    assert plain.shape != other.shape or not torch.equal(plain, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"canvas": 15}, "canvas is 15: must be a whole number from 16 to 128."),
        ({"canvas": 129}, "canvas is 129: must be a whole number from 16 to 128."),
        ({"square_size": 1}, "square_size is 1: must be a whole number from 2 to 16."),
        (
            {"canvas": 16, "square_size": 6},
            "square_size is 6: must be at most 5, a third of the canvas.",
        ),
        ({"num_squares": 4}, "num_squares is 4: must be a whole number from 1 to 3."),
        ({"speed": 0}, "speed is 0: must be a whole number from 1 to 8."),
        ({"speed": 1.5}, "speed is 1.5: must be a whole number from 1 to 8."),
        ({"directions": "up"}, "directions is 'up': must be one of down-right, all."),
        ({"walls": None}, "walls is None: must be one of wrap, bounce."),
        ({"noise": 0.51}, "noise is 0.51: must be a number from 0 to 0.5."),
        ({"noise": math.nan}, "noise is nan: must be a number from 0 to 0.5."),
    ],
)
def test_a_scene_out_of_range_is_refused_with_name_value_and_rule(settings, message):
    with pytest.raises(SettingError) as caught:
        Squares(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("square_size", [2, 5])
@pytest.mark.parametrize("walls", ["wrap", "bounce"])
def test_the_ends_of_every_range_can_be_drawn(walls, square_size):
    config = Squares(
        canvas=16,
        square_size=square_size,
        num_squares=3,
        speed=8,
        directions="all",
        walls=walls,
        noise=0.5,
    )
    observed = config.sample(2, 20, seeded()).observed
    assert observed.shape == (2, 20, 1, 16, 16)
    assert 0 <= observed.min() <= observed.max() <= 1
