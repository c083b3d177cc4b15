"""A network tested at exact speeds, the ones that it was trained at among them.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from convlstm.checks import SettingError
from convlstm.networks import Network
from convlstm.pieces import mapped
from convlstm.scenes.scene import MAX_TEST_SEED, Clip, Scene
from convlstm.settings import Integer, Settings, configure, setting, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.costs import evaluation_chunk
from convlstm.training.evaluation import LeadTimeScores, score_network
from convlstm.training.records import Change

SPEEDS = range(9)  # px a frame
SEQUENCES = 8  # of each speed
SPEED_SEED = MAX_TEST_SEED  # a test's, and so neither training's nor validation's


@dataclass(frozen=True)
class SpeedTestOptions(Settings):
    """How much a speed test asks."""

    sequences: int = setting(SEQUENCES, Integer(1, 50), "sequences of each speed")


@dataclass(frozen=True)
class SpeedTest:
    """What a speed test found.

    Attributes:
        sequences: of each speed.
        horizon: frames predicted.
        reach: how far information travels, px a frame.
        trained: the slowest and the fastest speed of the training.
        scores: by speed, by lead time, beside the scene's baselines.
    """

    sequences: int
    horizon: int
    reach: int
    trained: tuple[float, float]
    scores: dict[int, LeadTimeScores]


def has_speeds(scene: Scene) -> bool:
    """Whether a scene can be had at an exact speed."""
    return "speed" in settings_of(scene)


def at_speed(scene: Scene, speed: int) -> Scene:
    """Return a scene in which everything moves at exactly that speed, px a frame.

    Raises:
        SettingError: nothing in the scene has a speed to set, or not that one.
    """
    if not has_speeds(scene):
        raise SettingError("speed", speed, "needs speed")
    exact = {"exact_speed": True} if "exact_speed" in settings_of(scene) else {}
    return configure({"speed": speed, **exact}, scene)


def speed_sequences(
    scene: Scene, speed: int, context_frames: int, horizon: int, count: int
) -> Clip:
    """Return the first sequences, of at most 50, that a network is tested with at a speed."""
    return next(at_speed(scene, speed).test(context_frames, horizon, count, SPEED_SEED))


def speed_test(
    network: Network,
    config: TrainConfig,
    options: SpeedTestOptions | None = None,
    changes: Iterable[Change] = (),
) -> Generator[float, None, SpeedTest]:
    """Test a network at every speed of `SPEEDS`, as `score_network` scores.

    Args:
        network: it predicts where it is.
        config: of its training.
        options: how much is asked; None for the usual.
        changes: of settings during its training.

    Yields:
        The share that is done, in [0, 1], after each small piece of the work.

    Returns:
        What was found.

    Raises:
        SettingError: nothing in the scene has a speed.
    """
    options, scene, seen = options or SpeedTestOptions(), config.scene, config.context_frames
    horizon = max(config.horizon, scene.look_ahead)
    device = next(network.parameters()).device
    # Half of an evaluation's piece: these are scored by themselves, and beside the baselines.
    at_once = max(1, evaluation_chunk(replace(config, horizon=horizon), device) // 2)
    count, scores = options.sequences, {}
    for speed in SPEEDS:
        exact = at_speed(scene, speed)
        pieces = score_network(
            network,
            exact,
            _cut(speed_sequences(scene, speed, seen, horizon, count), at_once),
            seen,
            horizon,
            augmented=config.augmented,
        )
        before = len(scores) * count
        scores[speed] = yield from mapped(
            lambda done, before=before: (before + done) / (count * len(SPEEDS)), pieces
        )
    return SpeedTest(count, horizon, config.network.reach, trained_speeds(scene, changes), scores)


def trained_speeds(scene: Scene, changes: Iterable[Change]) -> tuple[float, float]:
    """Return the slowest and the fastest speed of a training, px a frame on an axis."""
    settings = settings_of(scene)
    speeds = [settings["speed"], *(change.old for change in changes if change.name == "speed")]
    slowest = min(speeds)
    if not settings.get("exact_speed", True):  # drawn from 1 up
        slowest = min(1, slowest)
    return slowest, max(speeds)


def _cut(clip: Clip, size: int) -> Iterator[Clip]:
    """Yield so many sequences at a time."""
    for start in range(0, len(clip.clean), size):
        yield clip.part(slice(start, start + size))
