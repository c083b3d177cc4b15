"""What a viewer is sent, for every scene."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from convlstm.files.checkpoint import checkpoint_bytes, resume
from convlstm.files.reading import read_checkpoint
from convlstm.server.run import Run
from convlstm.server.snapshot import Viewer
from convlstm.settings import configure
from convlstm.training import trainer as training
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer
from tests.server.helpers import SCENES, TINY, is_finished, seen_until, small_of

FIELDS = set(
    "run scene state reason place shipped step steps epoch epochs horizon horizonEnd stepMs "
    "left seconds device precision parameters sequences hasScript stage curve scores "
    "picture resumed settings study pins model lesson".split()
)
STAGE = set("error baselines colours low high unit closeUp drawable hasSpeeds hides brings".split())
PICTURE = set(
    "sample samples speed beyond width height context horizon sprites times scores "
    "baselines".split()
)
SCORES = {"error", "mae", "psnr", "ssim"}
ERRORS = {
    "squares": {"kind": "mse", "unit": "", "digits": None, "axis": "log"},
    "digits": {"kind": "mse", "unit": "frame", "digits": 1, "axis": "linear"},
    "storm": {"kind": "rmse", "unit": "hPa", "digits": 2, "axis": "linear"},
    "own": {"kind": "mse", "unit": "", "digits": None, "axis": "log"},
}
BASELINES = {
    "squares": ["copy_last", "black"],
    "digits": ["copy_last", "black"],
    "storm": ["copy_last", "climatology"],
    "own": ["copy_last", "mean_frame"],
}


def config_of(scene: str, **settings: object):
    return configure({**TINY[scene], **settings}, default_config(scene))


def run_to_the_end(scene: str, **settings: object) -> Run:
    run = Run(Trainer(config_of(scene, **settings)))
    run.state = "training"
    while not run.is_over:
        run.advance(60)
    run.draw_picture()
    return run


def points(text: str) -> dict[int, float]:
    return {int(step): float(value) for step, value in (p.split() for p in text.split(";")[:-1])}


def sheet_of(picture: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture["sprites"])))


@pytest.mark.parametrize("scene", SCENES)
def test_watching_streams_a_whole_run_with_the_fields_of_the_contract(service, scene):
    async def watch() -> tuple[dict, dict]:
        run = (await service.attach(scene=scene))["run"]
        first = await seen_until(service, run, lambda s: s["picture"])
        await service.act("train", run, TINY[scene])
        return first, await seen_until(service, run, is_finished)

    first, last = asyncio.run(watch())
    for snapshot in (first, last):
        assert set(snapshot) == FIELDS
        assert set(snapshot["stage"]) == STAGE
        assert set(snapshot["curve"]) == {"steps", "train", "validation", "marks"}
        picture, stage = snapshot["picture"], snapshot["stage"]
        assert set(picture) == PICTURE
        assert stage["error"] == ERRORS[scene]
        assert stage["baselines"] == list(picture["baselines"]) == BASELINES[scene]
        for row in (picture["scores"], *picture["baselines"].values()):
            assert len(row) == picture["horizon"]
            assert all(set(scores) == SCORES for scores in row)
        assert json.loads(json.dumps(snapshot, allow_nan=False)) == snapshot  # JSON as it is
    assert first["shipped"] and first["sequences"] > 0
    assert (
        first["model"]["hidden_channels"] > 0 and first["model"].keys() == first["settings"].keys()
    )
    assert last["model"] is None  # its settings are the page's
    assert not last["shipped"]
    assert (last["step"], last["steps"], last["epoch"], last["epochs"]) == (6, 6, 6, 6)
    assert (last["horizon"], last["horizonEnd"]) == (last["horizonEnd"],) * 2
    assert list(points(last["curve"]["train"])) == [1, 2, 3, 4, 5, 6]
    assert list(points(last["curve"]["validation"])) == [3, 6]
    scores = last["scores"]
    assert set(scores) == {"model", "baselines", "skill", "isBlack", "unseen"}
    assert scores["unseen"] is None
    assert list(scores["baselines"]) == BASELINES[scene]
    for each in (scores["model"], *scores["baselines"].values()):
        assert set(each) == SCORES


@pytest.mark.parametrize("scene", SCENES)
def test_values_come_in_the_unit_of_the_scene(scene):
    run = run_to_the_end(scene)
    snapshot = Viewer(run).snapshot(1)
    evaluation = run.trainer.last.evaluation
    of = {  # written out by hand, from the mean squared error of values in [0, 1]
        "squares": lambda mse: mse,
        "digits": lambda mse: 32 * 32 * mse,
        "storm": lambda mse: 110 * mse**0.5,  # 960 to 1070 hPa
        "own": lambda mse: mse,
    }[scene]
    assert snapshot["scores"]["model"]["error"] == pytest.approx(of(evaluation.model.mse))
    for name, scores in evaluation.baselines.items():
        told = snapshot["scores"]["baselines"][name]["error"]
        assert told == pytest.approx(of(scores.mse))
    skill = 1 - evaluation.model.mse / evaluation.baselines["copy_last"].mse
    assert snapshot["scores"]["skill"] == pytest.approx(skill)
    last = points(snapshot["curve"]["validation"])[6]
    assert last == pytest.approx(of(evaluation.model.mse), rel=1e-3)
    train = points(snapshot["curve"]["train"])
    assert train[2] == pytest.approx(of(run.trainer.records[1].mse), rel=1e-3)
    shown = [scores["error"] for scores in snapshot["picture"]["scores"]]
    assert shown == pytest.approx([of(scores.mse) for scores in run.picture.scores])


def test_a_scene_that_hides_tells_the_skill_while_nothing_is_seen():
    run = run_to_the_end("squares", bar_width=6, bar_left=5, directions="right", speed=1)
    snapshot, unseen = Viewer(run).snapshot(1), run.trainer.last.evaluation.unseen
    assert snapshot["stage"]["hides"]
    better = min(scores.mse for scores in unseen.baselines.values())
    told = snapshot["scores"]["unseen"]
    assert told["model"] == pytest.approx(1 - unseen.model.mse / better)
    assert list(told["baselines"]) == BASELINES["squares"]
    assert max(told["baselines"].values()) == 0
    assert not Viewer(run_to_the_end("squares")).snapshot(1)["stage"]["hides"]


def test_a_stage_follows_the_settings_of_its_scene():
    look = {v: Viewer(Run(Trainer(config_of("storm", variable=v)))).snapshot(1)["stage"]
            for v in ("all", "pressure", "temperature", "wind")}  # fmt: skip
    units = {name: stage["unit"] for name, stage in look.items()}
    assert units == {"all": "hPa", "pressure": "hPa", "temperature": "K", "wind": "m/s"}
    assert all(stage["error"]["unit"] == stage["unit"] for stage in look.values())
    # The ends of the colours, which need not be those of the values.
    assert (look["all"]["low"], look["all"]["high"]) == (970, 1045)
    assert {stage["colours"] for stage in look.values()} == {"map"}
    others = {s: Viewer(Run(Trainer(config_of(s)))).snapshot(1)["stage"] for s in SCENES[:2]}
    assert [others[s]["closeUp"] for s in others] == [True, False]
    assert [others[s]["drawable"] for s in others] == [False, True]
    assert {(s["colours"], s["low"], s["high"], s["unit"]) for s in others.values()} == {
        ("grey", 0, 1, "")
    }


@pytest.mark.parametrize("scene", SCENES)
def test_the_sprites_are_the_frames_one_below_the_other(scene):
    run = Run(Trainer(config_of(scene)))
    run.draw_picture()
    picture = Viewer(run).snapshot(1)["picture"]
    own, n, m = run.picture, picture["context"], picture["horizon"]
    sheet = sheet_of(picture)
    assert (picture["height"], picture["width"]) == run.config.scene.size
    assert sheet.size == (picture["width"], (n + m + m) * picture["height"])
    assert sheet.mode == ("LA" if scene == "storm" else "L")
    grey = np.asarray(sheet.convert("LA"))[..., 0].reshape(n + m + m, picture["height"], -1)
    for values, at in ((own.context, 0), (own.truth, n), (own.predicted, n + m)):
        # The storm's pressure is 960 hPa at 0 and 1070 at 1; its colours go from 970 to 1045.
        frames = (960 + 110 * values - 970) / 75 if scene == "storm" else values
        expected = 255 * frames.clip(0, 1)
        assert np.abs(grey[at : at + len(values)] - expected).max() < 0.501


def test_sprites_in_colour_are_the_frames_and_beyond_the_end_the_truth_alone_is_transparent():
    run = Run(Trainer(configure({"colours": "colour"}, small_of("own"))))
    run.draw_picture()
    picture = Viewer(run).snapshot(1)["picture"]
    sheet = sheet_of(picture)
    shown = np.concatenate([run.picture.context, run.picture.truth, run.picture.predicted])
    assert shown.shape[1:] == (32, 32, 3) and sheet.mode == "RGB"
    assert np.abs(np.asarray(sheet).reshape(shown.shape) - 255 * shown.clip(0, 1)).max() < 0.501

    run.show(run.view.choice("beyond"))
    run.draw_picture()
    picture = Viewer(run).snapshot(1)["picture"]
    assert (picture["beyond"], picture["sample"], picture["horizon"]) == (True, None, 50)
    assert all(row["error"] is None for row in picture["scores"])
    alpha = np.asarray(sheet_of(picture))[..., 3].reshape(-1, 32, 32)
    seen = picture["context"]
    assert alpha[:seen].all() and not alpha[seen : seen + 50].any() and alpha[seen + 50 :].all()


def test_the_storm_s_sprites_are_transparent_where_nothing_was_measured():
    run = Run(Trainer(config_of("storm")))
    run.draw_picture()
    picture = Viewer(run).snapshot(1)["picture"]
    n, m, known = picture["context"], picture["horizon"], run.picture.known
    alpha = np.asarray(sheet_of(picture))[..., 1].reshape(n + m + m, picture["height"], -1)
    assert set(np.unique(alpha)) == {0, 255}
    assert np.array_equal(alpha[: n + m] == 255, known)
    assert np.array_equal(alpha[n + m :], alpha[n : n + m])  # a prediction, as its truth
    assert len(picture["times"]) == n + m
    assert len(set(picture["times"])) == n + m


@pytest.mark.parametrize("scene", SCENES[:2])
def test_what_happened_nowhere_has_no_times(scene):
    run = Run(Trainer(config_of(scene)))
    run.draw_picture()
    assert Viewer(run).snapshot(1)["picture"]["times"] is None


def test_a_snapshot_names_the_sequence_of_its_picture_and_not_the_one_asked_for_since():
    run = Run(Trainer(config_of("squares")))
    run.sample = 2
    run.draw_picture()
    run.sample = 5
    assert Viewer(run).snapshot(1)["picture"]["sample"] == 2


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_left_within_an_evaluation_gets_the_rest_of_its_curve(scene, monkeypatch):
    monkeypatch.setattr(training, "evaluation_chunk", lambda config, device: 4)
    trainer = Trainer(config_of(scene))
    pieces = trainer.pieces()
    while next(pieces) is not None or trainer.step < 3 or not trainer.evaluation_is_due:
        pass
    pieces.close()
    run = Run(resume(read_checkpoint(checkpoint_bytes(trainer))))
    viewer = Viewer(run)
    assert run.steps_done == 2
    assert points(viewer.snapshot(1)["curve"]["validation"]) == {}
    run.state = "training"
    while not run.is_over:
        run.advance(0.1)
    assert list(points(viewer.snapshot(1)["curve"]["validation"])) == [3, 6]
