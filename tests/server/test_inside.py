"""What viewers ask of the inside of a run, over a real scheduler."""

import asyncio
import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from convlstm.networks.inside import look_inside
from convlstm.server.inside import MOST_CHANNELS
from convlstm.server.limits import Limits
from convlstm.server.scheduler import Scheduler
from convlstm.server.service import Service
from convlstm.settings import settings_of
from convlstm.training.trainer import Trainer
from tests.server.helpers import DEADLINE, SCENES, small_of

PARTS = ("i", "f", "g", "o", "c", "h")


@pytest.fixture(scope="module")
def service():
    scheduler = Scheduler(limits=Limits())
    yield Service(scheduler)
    scheduler.close()


def opened(service: Service, scene: str = "squares", **settings: object):
    config = small_of(scene, **settings)
    return service.scheduler.open(lambda: Trainer(config)).result(DEADLINE)


def ask(service: Service, run, **asked: object) -> dict:
    return asyncio.run(service.look_inside(run.id, asked))


def frames_of(answer: dict) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["maps"]))))
    return image.reshape(len(PARTS), len(answer["channels"]), answer["height"], answer["width"])


@pytest.mark.parametrize("scene", SCENES)
def test_maps_are_what_the_network_has_at_that_moment(service, scene):
    run = opened(service, scene)
    answer = ask(service, run, channel=1, channels=2, moment=1)
    context = run.view.clip(0).split(run.view.context_frames)[0]
    inside = look_inside(run.trainer.judged, context, run.view.horizon)
    parts = inside.cells[0].at(inside.time(0, 1))
    maps = frames_of(answer)
    for n, part in enumerate(PARTS):
        values = parts[part][0, 1:3]
        if part == "c":
            values = values.tanh()
        low, high = (-1, 1) if part in "gch" else (0, 1)
        expected = 255 * (values.numpy() - low) / (high - low)
        assert np.abs(maps[n] - expected).max() <= 0.51
    assert answer["largest"] == pytest.approx(parts["c"].abs().max().item())


def test_maps_are_drawn_of_no_more_channels_than_there_are(service):
    run = opened(service)
    assert ask(service, run, channels=MOST_CHANNELS)["channels"] == [0, 1, 2]
    assert ask(service, run, channel=2, channels=4)["channels"] == [2]


def test_the_cells_of_a_network_are_named(service):
    run = opened(service, num_layers=2)
    answer = ask(service, run, cell=1, channel=1)
    roles = [(cell["role"], cell["number"], cell["channels"]) for cell in answer["cells"]]
    assert roles == [("layer", 0, 3), ("layer", 1, 3)]
    assert [answer[name] for name in ("side", "reach", "hop", "travels")] == [1, 2, 1, 2]


def test_a_pixel_is_told_with_its_sums(service):
    run = opened(service)
    pixel = {"channel": 1, "row": 3, "column": 4}
    told = ask(service, run, moment=0, pixel=pixel)["pixel"]
    gates = told["gates"]
    value = {name: gate["value"] for name, gate in gates.items()}
    assert told["c"] == pytest.approx(value["f"] * told["before"] + value["i"] * value["g"])
    assert told["h"] == pytest.approx(value["o"] * math.tanh(told["c"]))
    for name, gate in gates.items():
        total = sum(gate[term] for term in ("frame", "h", "bias", "peephole"))
        made = math.tanh(total) if name == "g" else 1 / (1 + math.exp(-total))
        assert gate["value"] == pytest.approx(made, abs=1e-6)


def test_an_experiment_stands_beside_the_prediction_without_it(service):
    run = opened(service)
    off = {"part": "f", "cell": 0, "channel": None, "how": "off"}
    answer = ask(service, run, experiment=[off], pixel={"channel": 0, "row": 0, "column": 0})
    compared = answer["experiment"]
    assert len(compared["without"]) == len(compared["with"]) == run.view.horizon
    assert compared["without"] != compared["with"] and compared["donor"] is None
    assert frames_of(answer)[PARTS.index("f")].max() == 0
    assert answer["pixel"]["gates"]["f"]["value"] == 0
    plain = ask(service, run)
    assert plain["experiment"] is None and frames_of(plain)[PARTS.index("f")].max() > 0


def test_the_memory_of_another_sequence_is_judged_by_both(service):
    run = opened(service)
    context_frames = run.view.context_frames
    donated = ask(service, run, experiment=[{"transplant": 1, "moment": 0}])
    donor = donated["experiment"]["donor"]
    assert set(donor) == {"own", "other", "nothing"}
    # After the newest frame all that a stack knows is in its states: what follows is the other's.
    other = look_inside(run.trainer.judged, run.view.clip(1).observed[:, :context_frames], 1)
    truth = run.view.clip(1).clean[:, context_frames]
    error = (other.predicted[:, 0] - truth).square().mean().item()
    assert donor["other"] == pytest.approx(error, rel=1e-4)
    itself = ask(service, run, experiment=[{"transplant": 0, "moment": -1}])["experiment"]
    assert itself["with"] == pytest.approx(itself["without"])


def test_what_was_looked_at_is_kept_and_told_anew_after_a_step(service):
    run = opened(service)
    before = ask(service, run)
    service.scheduler.step(run, settings_of(run.config)).result(DEADLINE)
    while run.steps_wanted or not run.steps_done:
        service.scheduler.call(lambda: None).result(DEADLINE)
    after = ask(service, run)
    assert (before["step"], after["step"]) == (0, 1)
    assert before["maps"] != after["maps"]


def test_looking_changes_nothing_in_a_training(service):
    looked, plain = (opened(service, seed=4) for _ in range(2))
    for run in (looked, plain):
        service.scheduler.train(run, settings_of(run.config)).result(DEADLINE)
    while looked.wants_work or plain.wants_work:
        ask(service, looked, experiment=[{"part": "c", "how": "hold", "start": 0}])
    assert [r.loss for r in looked.trainer.records] == [r.loss for r in plain.trainer.records]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"cell": 1}, "cell"),
        ({"channels": 0}, "channels"),
        ({"channels": MOST_CHANNELS + 1}, "channels"),
        ({"channel": 3}, "channel"),
        ({"channel": [0]}, "channel"),
        ({"moment": -99}, "moment"),
        ({"moment": 11.5}, "moment"),
        ({"pixel": {"channel": 0, "row": 16, "column": 0}}, "row"),
        ({"pixel": {"channel": 0, "row": 0}}, "column"),
        ({"pixel": [0, 0, 0]}, "settings"),
        ({"colour": 1}, "colour"),
        ({"experiment": {"part": "f"}}, "experiment"),
        ({"experiment": [{}] * 33}, "experiment"),
        ({"experiment": ["f"]}, "settings"),
        ({"experiment": [{"part": "x", "how": "off"}]}, "part"),
        ({"experiment": [{"part": "f", "how": "explode"}]}, "how"),
        ({"experiment": [{"part": "f", "how": "off", "channel": 3}]}, "channel"),
        ({"experiment": [{"part": "f", "how": "swap", "channel": 0}]}, "other"),
        ({"experiment": [{"part": "f", "how": "off", "start": 99}]}, "start"),
        ({"experiment": [{"part": "f", "how": "off", "start": 2, "stop": 2}]}, "stop"),
        ({"experiment": [{"part": "f", "how": "off", "value": 3}]}, "value"),
        ({"experiment": [{"transplant": 8}]}, "transplant"),
        ({"experiment": [{"transplant": 0, "part": "f"}]}, "part"),
        ({"experiment": [{"transplant": 0}, {"transplant": 1}]}, "transplant"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(service, asked, name):
    notice = ask(service, opened(service), **asked)["notice"]
    assert (notice["key"], notice["name"]) == ("refused", name)
