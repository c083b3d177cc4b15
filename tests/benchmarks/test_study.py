import signal

import pytest

from convlstm.benchmarks import study
from convlstm.benchmarks.study import STUDIES, markdown_table, read_results, run_study
from convlstm.commands.main import main
from convlstm.files.safe_files import CheckpointError
from convlstm.scenes.digits import Digits

CHANGES = {
    "canvas": 32,
    "hidden_channels": 2,
    "num_layers": 2,
    "epochs": 2,
    "batch_size": 1,
    "evaluate_every": 2,
}


@pytest.fixture(autouse=True, scope="module")
def few_sequences():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "validation_sequences", 2)
        patch.setattr(study, "_TEST_SEQUENCES", {"small": 2, "full": 2})
        patch.setattr(study, "_SAVE_EVERY", 1)
        yield


@pytest.fixture(scope="module")
def whole(few_sequences, tmp_path_factory):
    """The folder of each study, done in one go, and how far it was at each step."""
    found = {}
    for name in STUDIES:
        folder = tmp_path_factory.mktemp(name)
        found[name] = folder, list(run_study(name, folder, changes=CHANGES))
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_trains_every_variant_from_every_seed(name, whole):
    folder, steps = whole[name]
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == 1
    results = read_results(name, folder)
    assert {(r.variant, r.seed) for r in results} == {
        (variant, seed) for variant in STUDIES[name] for seed in (0, 1, 2)
    }
    table = markdown_table(name, results).splitlines()
    assert len(table) == 2 + len(STUDIES[name])
    assert all(line.startswith("| ") and line.endswith(" 3 |") for line in table[2:])
    assert not (folder / "run.safetensors").exists()


def test_variants_that_differ_in_their_evaluation_alone_share_a_training(whole):
    folder, steps = whole["techniques"]
    assert len(steps) == 5 * 3 * 2
    results = {(r.variant, r.seed): r for r in read_results("techniques", folder)}
    base, augmented = results["base", 0], results["+ test-time augmentation", 0]
    assert base.seconds == augmented.seconds
    assert base.scores != augmented.scores


def test_an_interrupted_study_goes_on_where_it_was(tmp_path, whole):
    steps = run_study("losses", tmp_path, changes=CHANGES)
    for _ in range(2 * 4 + 1):  # four trainings, and a step of the fifth
        next(steps)
    steps.close()
    assert len(read_results("losses", tmp_path)) == 4
    rest = list(run_study("losses", tmp_path, changes=CHANGES))
    assert len(rest) == 2 * 5 - 1
    expected = {(r.variant, r.seed): r.scores for r in read_results("losses", whole["losses"][0])}
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


def test_the_command_writes_the_table_and_its_picture(tmp_path, capsys, monkeypatch):
    small = {**study._SCALES["small"], **CHANGES, "epochs": 1}
    monkeypatch.setitem(study._SCALES, "small", small)
    assert main(["study", "losses", "--out", str(tmp_path), "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert "| 0.7 MSE + 0.3 (1 - SSIM) |" in table
    assert (tmp_path / "table.md").read_text() == table
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_leaves_a_study_that_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(study._SCALES, "small", {**study._SCALES["small"], **CHANGES})
    with pytest.MonkeyPatch.context() as patch:
        score = study._score

        def interrupt(*arguments, **named):
            signal.raise_signal(signal.SIGINT)
            return score(*arguments, **named)

        patch.setattr(study, "_score", interrupt)
        assert main(["study", "losses", "--out", str(tmp_path), "--device", "cpu"]) == 130
    assert capsys.readouterr() == ("", "Interrupted; the same command goes on with it.\n")
    assert len(read_results("losses", tmp_path)) == 1
