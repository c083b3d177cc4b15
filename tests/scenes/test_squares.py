"""Moving squares, against the article's rule written out as loops."""

import math
from dataclasses import replace

import pytest
import torch

from convlstm.checks import SettingError
from convlstm.scenes.occluder import BAR_VALUE
from convlstm.scenes.squares import Squares


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def starts_and_velocities(config: Squares, batch_size: int, generator: torch.Generator):
    """Draw as the sampler does: lists [sequence][square] of (y, x)."""
    shape = (batch_size, config.num_squares, 1, 2)
    start = torch.randint(config.canvas - config.square_size - 1, shape, generator=generator)
    if config.exact_speed or config.speed == 0:
        velocity = torch.full(shape, config.speed)
    else:
        velocity = torch.randint(1, config.speed + 1, shape, generator=generator)
    if config.directions == "all":
        velocity = velocity * (2 * torch.randint(2, shape, generator=generator) - 1)
    if config.directions == "right":
        velocity = velocity * torch.tensor([0, 1])
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
@pytest.mark.parametrize("directions", ["down-right", "all", "right"])
@pytest.mark.parametrize("num_squares", [1, 3])
@pytest.mark.parametrize(("speed", "exact"), [(5, False), (5, True), (0, False)])
def test_frames_are_those_of_the_article_s_rule_drawn_by_hand(
    walls, directions, num_squares, speed, exact
):
    config = Squares(
        canvas=18,
        square_size=4,
        num_squares=num_squares,
        speed=speed,
        exact_speed=exact,
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
        {"speed": 0},
        {"directions": "all"},
        {"directions": "right"},
        {"exact_speed": True},
        {"walls": "bounce"},
        {"noise": 0.1},
        {"bar_width": 4},
        {"bar_width": 4, "bar_left": 13},
        {"dropped_frames": 0.5},
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
        ({"speed": -1}, "speed is -1: must be a whole number from 0 to 8."),
        ({"speed": 1.5}, "speed is 1.5: must be a whole number from 0 to 8."),
        ({"directions": "up"}, "directions is 'up': must be one of down-right, all, right."),
        ({"walls": None}, "walls is None: must be one of wrap, bounce."),
        ({"noise": 0.51}, "noise is 0.51: must be a number from 0 to 0.5."),
        ({"noise": math.nan}, "noise is nan: must be a number from 0 to 0.5."),
        (
            {"canvas": 20, "bar_width": 11},
            "bar_width is 11: must be at most 10, half of the canvas.",
        ),
        (
            {"canvas": 20, "bar_width": 9},
            "bar_left is 12: must be at most 11, so that the bar ends inside the frame.",
        ),
        ({"bar_hides": "truth"}, "bar_hides is 'truth': must be one of input, both."),
        ({"dropped_frames": 1}, "dropped_frames is 1: must be a number from 0 to 0.9."),
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
        bar_width=8,
        bar_left=8,
        dropped_frames=0.9,
    )
    observed = config.sample(2, 20, seeded()).observed
    assert observed.shape == (2, 20, 1, 16, 16)
    assert 0 <= observed.min() <= observed.max() <= 1


# A square of 4 px that moves 1 px a frame to the right, behind a bar over the columns 12 to 19.
BEHIND = Squares(
    canvas=32, square_size=4, speed=1, exact_speed=True, directions="right", bar_width=8
)


def test_a_bar_hides_what_is_behind_it_in_the_input_and_not_in_the_truth():
    clip, plain = (
        scene.sample(20, 30, seeded(4)) for scene in (BEHIND, replace(BEHIND, bar_width=0))
    )
    assert torch.equal(clip.clean, plain.clean)
    assert (clip.observed[..., 12:20] == BAR_VALUE).all()
    assert torch.equal(clip.observed[..., :12], plain.clean[..., :12])
    assert torch.equal(clip.observed[..., 20:], plain.clean[..., 20:])
    assert plain.hidden is None
    # Nothing of it is left where all four of its columns are among the bar's eight.
    left = corners(plain.clean)[..., 1]
    assert torch.equal(clip.hidden, (left >= 12) & (left <= 16))


def test_a_bar_may_hide_in_the_truth_as_well():
    clip, plain = (
        scene.sample(20, 30, seeded(4)) for scene in (replace(BEHIND, bar_hides="both"), BEHIND)
    )
    assert torch.equal(clip.observed, plain.observed)
    assert torch.equal(clip.hidden, plain.hidden)
    assert not clip.clean[..., 12:20].any()
    assert torch.equal(clip.clean[..., :12], plain.clean[..., :12])
    assert torch.equal(clip.clean[..., 20:], plain.clean[..., 20:])


def test_noise_lies_on_the_bar_too_and_not_on_the_truth():
    clean, noisy = (replace(BEHIND, noise=each).sample(9, 9, seeded(4)) for each in (0, 0.1))
    assert torch.equal(noisy.clean, clean.clean)
    assert torch.equal(noisy.hidden, clean.hidden)
    assert (noisy.observed - clean.observed)[..., 12:20].std() == pytest.approx(0.1, rel=0.05)


def test_dropped_frames_are_black_and_never_the_first():
    scene = Squares(canvas=16, square_size=4, dropped_frames=0.3)
    clip, plain = (
        each.sample(300, 12, seeded(5)) for each in (scene, replace(scene, dropped_frames=0))
    )
    assert torch.equal(clip.clean, plain.clean)
    is_black = ~clip.observed.flatten(2).any(2)
    assert torch.equal(clip.hidden, is_black)
    assert not is_black[:, 0].any()
    assert is_black[:, 1:].float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(clip.observed[~is_black], plain.clean[~is_black])
    with_bar = replace(scene, bar_width=4, bar_left=4).sample(300, 12, seeded(5))
    assert torch.equal(with_bar.hidden & is_black, is_black)
    assert (with_bar.hidden & ~is_black).any()


def test_in_training_the_bar_grows_and_judged_is_the_whole_one():
    scene = replace(BEHIND, bar_grows=0.5)
    widths = [scene.at(step / 16).bar_width for step in range(11)]
    assert widths == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert scene.at(0.5) is scene
    assert {scene.at(step / 16).size for step in range(11)} == {(32, 32)}
    assert (scene.validation(9, 1).observed[..., 12:20] == BAR_VALUE).all()
    assert Squares(bar_grows=0.5).at(0.1).bar_width == 0


@pytest.mark.parametrize("bar_width", [1, 11, 24])
@pytest.mark.parametrize("bar_left", [0, 12, 24])
def test_a_bar_stays_in_the_smaller_frames_of_training(bar_width, bar_left):
    scene = Squares(
        canvas=48, bar_width=bar_width, bar_left=bar_left, bar_grows=0.9, small_frames=0.5
    )
    seen = [scene.at(step / 20) for step in range(20)]
    assert [each.canvas for each in seen] == [36] * 10 + [48] * 10
    assert all(each.at(0) is each for each in seen[:10])
    bars = [(each.sample(1, 1, seeded()).observed[0, 0, 0] == BAR_VALUE).sum() for each in seen]
    assert [int(bar) for bar in bars] == [each.bar_width * each.canvas for each in seen]
    widths = [each.bar_width for each in seen[10:]]
    assert widths == sorted(widths)
    assert widths[-1] == bar_width


@pytest.mark.parametrize("hides", ["input", "both"])
def test_what_is_shown_of_a_bar_is_hidden_at_the_end_and_comes_out_again(hides):
    scene = replace(BEHIND, bar_hides=hides)
    shown = [scene.shown(sample, 12, 10) for sample in range(scene.samples)]
    for clip in shown:
        assert clip.clean.shape == (1, 22, 1, 32, 32)
        assert clip.hidden[0, 11]
        assert not clip.hidden[0, :12].all()
        assert not clip.hidden[0, 12:].all()
    assert len({clip.observed.numpy().tobytes() for clip in shown}) == scene.samples


def test_something_is_shown_where_nothing_ever_comes_out():
    scene = replace(BEHIND, speed=0)
    shown = [scene.shown(sample, 3, 2) for sample in range(scene.samples)]
    assert len({clip.observed.numpy().tobytes() for clip in shown}) > 1


def test_the_baselines_know_where_the_bar_is():
    context, truth, _ = BEHIND.sample(6, 8, seeded(1)).split(6)
    for name in BEHIND.baselines:
        assert not BEHIND.baseline(name, context, truth)[..., 12:20].any()
    copied = BEHIND.baseline("copy_last", context, truth)
    assert torch.equal(copied[:, 1, ..., 20:], context[:, -1, ..., 20:])
