"""`export`: two files or none, and a line for each thing to know of them."""

import importlib.util
from pathlib import Path

import pytest
import torch

from convlstm.commands import export as command
from convlstm.commands.main import main
from convlstm.files.checkpoint import load_network
from convlstm.files.export import ExportError
from convlstm.files.reading import read_checkpoint
from tests.commands.conftest import NETWORK, parse
from tests.networks.test_parts import context_of


def test_both_parts_are_written_and_described(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained["storm"] / NETWORK
    flags = ["--format", "pt2", "--horizon", "2", "--out", str(tmp_path / "new")]
    assert main(["export", str(path), *flags]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    written = [tmp_path / "new" / f"network-{part}.pt2" for part in ("forecast", "step")]
    assert sorted((tmp_path / "new").iterdir()) == written
    for each in (*written, "in   context     (batch, 6, 1, height, width)", "next_c0"):
        assert str(each) in printed
    assert "Any batch, any canvas, float32. Trained with 6 frames of 33 x 36 px" in printed
    assert "a frame is pressure of 960 to 1070 hPa, from 0 to 1." in printed
    network = load_network(read_checkpoint(path))
    context = context_of(network, 2, 6, 9, 12)
    forecast = torch.export.load(written[0]).module()(context)
    torch.testing.assert_close(forecast, network.predict(context, 2), rtol=0, atol=1e-4)


def test_a_record_a_file_says_the_same_to_programs(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--format", "pt2", "--part", "step", "--out", str(tmp_path), "--json"]
    assert main(["export", str(trained["digits"] / NETWORK), *flags]) == 0
    (about,) = parse(capsys.readouterr().out)
    assert about["file"] == str(tmp_path / "network-step.pt2")
    assert about["bytes"] == (tmp_path / "network-step.pt2").stat().st_size
    assert (about["scene"], about["canvas"], about["canvas_multiple"]) == ("digits", [32, 32], 8)
    assert about["inputs"][1]["shape"] == ["batch", 2, "height/8", "width/8"]


@pytest.mark.parametrize("before", [None, b"an earlier file"])
def test_where_one_part_cannot_be_written_none_is(
    before: bytes | None,
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def export(checkpoint: object, form: str, part: str, horizon: int) -> bytes:
        if part == "step":
            raise ExportError("ONNX cannot say what this network does: too\nmuch.")
        return b"a forecast"

    monkeypatch.setattr(command, "export", export)
    earlier = tmp_path / "network-forecast.onnx"
    if before:
        earlier.write_bytes(before)
    flags = ["--format", "onnx", "--out", str(tmp_path)]
    assert main(["export", str(trained["squares"] / NETWORK), *flags]) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors == "convlstm: ONNX cannot say what this network does: too much.\n"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_without_the_extra_the_refusal_says_how_to_install_it(
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name)
    )
    flags = ["--format", "onnx", "--out", str(tmp_path / "new")]
    assert main(["export", str(trained["squares"] / NETWORK), *flags]) == 2
    how = 'pip install "convlstm-playground[export]"'
    expected = f"convlstm: format is 'onnx': needs onnxscript: {how}.\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "new").exists()
