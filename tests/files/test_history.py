"""A run's history as tables: every record comes back, and no number that cannot be."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from convlstm.files.checkpoint import CheckpointError, checkpoint_bytes, resume
from convlstm.files.history import TABLES, history_tables, read_history
from convlstm.files.reading import read_checkpoint
from convlstm.files.versions import STEP_COLUMNS
from convlstm.settings import configure
from convlstm.training.metrics import METRICS, Evaluation, Scores, UnseenScores
from convlstm.training.records import StepRecord
from tests.files.forging import put, with_array, with_tensor
from tests.files.runs import RUNS, pull, saved, trained

every_run = pytest.mark.parametrize("name", RUNS)


def records_of(name: str, steps: int = 4) -> list[StepRecord]:
    """A history in which every number is another one; each second step is evaluated."""
    baselines = RUNS[name].scene.baselines
    horizon = RUNS[name].horizon

    def scores(number: float) -> Scores:
        return Scores(*(number + place / 7 for place in range(len(METRICS))))

    def evaluation(step: int) -> Evaluation:
        others = {other: scores(step + place) for place, other in enumerate(baselines, start=1)}
        return Evaluation(scores(step), others, step / 9)

    return [
        StepRecord(
            step,
            (step - 1) / 6,
            min(step, horizon),
            1 / step,
            step / 11,
            step / 13,
            step / 3,
            *((step / 17, evaluation(step)) if step % 2 == 0 else ()),
        )
        for step in range(1, steps + 1)
    ]


@every_run
def test_every_number_of_a_record_comes_back(name):
    records = records_of(name)
    tables = history_tables(records, RUNS[name].scene)
    assert set(tables) == set(TABLES)
    steps, evaluations = (tables[table] for table in TABLES)
    assert steps.dtype == evaluations.dtype == torch.float64
    assert steps.shape == (4, len(STEP_COLUMNS))
    assert evaluations.shape == (2, 3 + 5 * (1 + len(RUNS[name].scene.baselines)))
    assert read_history(tables, None, RUNS[name]) == records


@every_run
def test_a_history_of_nothing_comes_back(name):
    tables = history_tables([], RUNS[name].scene)
    assert [len(table) for table in tables.values()] == [0, 0]
    assert read_history(tables, None, RUNS[name]) == []


@pytest.mark.parametrize("ended", ["goal", "finished", "patience", "diverged"])
def test_the_last_record_says_how_the_run_ended(ended):
    records = records_of("squares")
    tables = history_tables(records, RUNS["squares"].scene)
    *others, last = read_history(tables, ended, RUNS["squares"])
    assert last == replace(records[-1], ended=ended)
    assert {record.ended for record in others} == {None}


@pytest.mark.parametrize("ended", ["goal", "finished", "patience", "diverged"])
def test_no_run_ends_before_its_first_step(ended):
    tables = history_tables([], RUNS["squares"].scene)
    with pytest.raises(CheckpointError, match=f"damaged: {ended} before its first step"):
        read_history(tables, ended, RUNS["squares"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e7])
@every_run
def test_what_spoilt_weights_score_is_kept_as_no_number(name, value):
    records = records_of(name)
    evaluation = records[-1].evaluation
    spoilt = replace(evaluation, model=replace(evaluation.model, psnr=value), brightest=value)
    records[-1] = replace(records[-1], validation_loss=value, evaluation=spoilt)
    tables = history_tables(records, RUNS[name].scene)
    last = read_history(tables, None, RUNS[name])[-1]
    assert math.isnan(last.validation_loss)
    assert math.isnan(last.evaluation.model.psnr)
    assert math.isnan(last.evaluation.brightest)
    assert last.evaluation.model.mse == evaluation.model.mse
    assert last.evaluation.baselines == evaluation.baselines


@pytest.mark.parametrize("dropped_frames", [0, 0.2])
def test_scores_of_sequences_that_show_nothing_come_back_too(dropped_frames):
    # In a scene that hides things; whether it is by a bar or by dropped frames.
    hiding = {"dropped_frames": dropped_frames} if dropped_frames else {"bar_width": 4}
    config = configure(hiding, RUNS["squares"])
    records = records_of("squares")
    model, baselines = records[1].evaluation.model, records[1].evaluation.baselines
    unseen = UnseenScores(
        replace(model, mse=0.3), {name: replace(each, mae=0.4) for name, each in baselines.items()}
    )
    evaluation = replace(records[-1].evaluation, unseen=unseen)
    records[-1] = replace(records[-1], evaluation=evaluation)
    tables = history_tables(records, config.scene)
    assert tables[TABLES[1]].shape == (2, 3 + 2 * 5 * 3)
    assert read_history(tables, None, config) == records
    assert records[1].evaluation.unseen is None  # where every sequence shows something
    records[1] = replace(records[1], evaluation=None)
    assert read_history(history_tables(records, config.scene), None, config) == records


def test_a_run_behind_a_bar_is_kept_with_its_scores():
    trainer = trained("squares", 4, bar_width=6, bar_left=5, bar_grows=0.5, directions="right")
    assert trainer.last.evaluation.unseen
    again = resume(read_checkpoint(checkpoint_bytes(trainer)))
    assert again.records == trainer.records
    assert again.config == trainer.config
    pull(trainer, None)
    assert [r.loss for r in pull(again, None).records] == [r.loss for r in trainer.records]


@every_run
def test_an_evaluation_without_scores_leaves_its_loss(name):
    records = records_of(name)
    records[-1] = replace(records[-1], evaluation=None)
    tables = history_tables(records, RUNS[name].scene)
    assert read_history(tables, None, RUNS[name]) == records


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_a_diverged_run_s_last_loss_may_be_no_number(value):
    config, records = RUNS["squares"], records_of("squares")
    records[-1] = replace(records[-1], loss=value, mse=abs(value), ended="diverged")
    tables = history_tables(records, config.scene)
    assert repr(read_history(tables, "diverged", config)[-1].loss) == repr(value)
    with pytest.raises(CheckpointError, match="in its history loss is .*: must be from"):
        read_history(tables, None, config)
    records[1] = replace(records[1], loss=value)
    with pytest.raises(CheckpointError, match="in its history loss is .*: must be from"):
        read_history(history_tables(records, config.scene), "diverged", config)


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "message"),
    [
        ("steps", 0, 0, 2, "history progress is 2: must be from 0 to 1"),
        ("steps", 0, 0, -0.1, "history progress is -0.1: must be from 0 to 1"),
        ("steps", 0, 0, math.nan, "history progress is nan"),
        ("steps", 0, 1, 0, "history horizon is 0: must be whole and from 1 to {horizon}"),
        ("steps", 0, 1, 11, "history horizon is 11: must be whole and from 1 to {horizon}"),
        ("steps", 0, 1, 1.5, "history horizon is 1.5: must be whole"),
        ("steps", 1, 2, math.nan, "history loss is nan: must be"),
        ("steps", 3, 2, math.nan, "history loss is nan: must be"),
        ("steps", 1, 2, 1e31, r"history loss is 1e\+31: must be"),
        ("steps", 1, 3, -1, "history mse is -1: must be from 0"),
        ("steps", 1, 3, math.inf, "history mse is inf: must be from 0"),
        ("steps", 1, 4, -1, "history learning_rate is -1: must be from 0 to 1"),
        ("steps", 1, 5, 1e10, r"history seconds is 1e\+10: must be from 0 to 1e\+09"),
        ("evaluations", 0, 0, 0, "its evaluations belong to no step"),
        ("evaluations", 0, 0, 1.5, "its evaluations belong to no step"),
        ("evaluations", 0, 0, 4, "its evaluations belong to no step"),  # in disorder
        ("evaluations", 1, 0, 5, "its evaluations belong to no step"),
        ("evaluations", 0, 0, math.nan, "its evaluations belong to no step"),
        ("evaluations", 0, 5, math.inf, "a score is inf: must be at most"),
        ("evaluations", 0, 12, 1e9, r"a score is 1e\+09: must be at most 1e\+06"),
        ("evaluations", 1, 1, -1e9, r"a score is 1e\+09: must be at most 1e\+06"),
    ],
)
@every_run
def test_a_number_that_cannot_be_is_refused(name, table, row, column, value, message):
    damage = with_tensor(f"history.{table}", put((row, column), value))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(damage(saved(name)))
    assert "\n" not in str(caught.value)
    horizon = RUNS[name].horizon
    with pytest.raises(CheckpointError, match=message.format(horizon=horizon)):
        raise caught.value


@every_run
def test_two_evaluations_of_one_step_are_refused(name):
    columns = 3 + 5 * (1 + len(RUNS[name].scene.baselines))
    twice = with_array("history.evaluations", np.ones((2, columns)))
    with pytest.raises(CheckpointError, match="its evaluations belong to no step"):
        read_checkpoint(twice(saved(name)))


@every_run
def test_a_score_that_nobody_knows_does_no_harm(name):
    unknown = with_tensor("history.evaluations", put((slice(None), slice(1, None)), math.nan))
    trainer = resume(read_checkpoint(unknown(saved(name))))
    assert [record.evaluation for record in trainer.records] == [None] * 4
