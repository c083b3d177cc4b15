import pytest

from convlstm import forecast_validation, study
from convlstm.safe_files import CheckpointError
from convlstm.study import STUDIES, markdown_table, read_results, run_study

CHANGES = {
    "canvas": 32,
    "hidden_channels": 2,
    "num_layers": 2,
    "steps": 2,
    "batch_size": 1,
    "evaluate_every": 2,
}


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 2)
    monkeypatch.setattr(study, "_TEST_SEQUENCES", {"small": 2, "full": 2})
    monkeypatch.setattr(study, "_SAVE_EVERY", 1)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_trains_every_variant_from_every_seed(name, tmp_path):
    steps = list(run_study(name, tmp_path, changes=CHANGES))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == 1
    results = read_results(name, tmp_path)
    assert {(r.variant, r.seed) for r in results} == {
        (variant, seed) for variant in STUDIES[name] for seed in (0, 1, 2)
    }
    table = markdown_table(name, results).splitlines()
    assert len(table) == 2 + len(STUDIES[name])
    assert all(line.startswith("| ") and line.endswith(" 3 |") for line in table[2:])
    assert not (tmp_path / "run.safetensors").exists()


def test_variants_that_differ_in_their_evaluation_alone_share_a_training(tmp_path):
    steps = list(run_study("techniques", tmp_path, changes=CHANGES))
    assert len(steps) == 5 * 3 * 2
    results = {(r.variant, r.seed): r for r in read_results("techniques", tmp_path)}
    base, augmented = results["base", 0], results["+ test-time augmentation", 0]
    assert base.seconds == augmented.seconds
    assert base.scores != augmented.scores


def test_an_interrupted_study_goes_on_where_it_was(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    list(run_study("losses", whole, changes=CHANGES))
    steps = run_study("losses", tmp_path, changes=CHANGES)
    for _ in range(2 * 4 + 1):  # four trainings, and a step of the fifth
        next(steps)
    steps.close()
    assert len(read_results("losses", tmp_path)) == 4
    rest = list(run_study("losses", tmp_path, changes=CHANGES))
    assert len(rest) == 2 * 5 - 1
    expected = {(r.variant, r.seed): r.scores for r in read_results("losses", whole)}
    assert {(r.variant, r.seed): r.scores for r in read_results("losses", tmp_path)} == expected
    assert list(run_study("losses", tmp_path, changes=CHANGES)) == []


def test_a_table_of_a_study_under_way_has_the_rows_that_are_there(tmp_path):
    steps = run_study("losses", tmp_path, changes=CHANGES)
    for _ in range(3):
        next(steps)
    steps.close()
    table = markdown_table("losses", read_results("losses", tmp_path)).splitlines()
    assert len(table) == 3
    assert table[2].startswith("| MSE |")
    assert " 1.00 " in table[2]  # its time over its own


def test_a_damaged_file_of_results_is_refused_and_scales_stay_apart(tmp_path):
    (tmp_path / "losses-small.jsonl").write_text('{"variant": 1}\n')
    with pytest.raises(CheckpointError, match="is damaged: remove it to begin the study anew"):
        read_results("losses", tmp_path)
    assert read_results("losses", tmp_path, "full") == []
