import io
import sys

import pytest

from convlstm.commands.main import main
from convlstm.commands.terminal import ProgressBar, print_json
from tests.commands.conftest import TINY


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_numbers_that_json_does_not_have_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": float("nan"), "more": [1.5, float("inf"), {"x": -float("inf")}]})
    assert capsys.readouterr().out == '{"loss": null, "more": [1.5, null, {"x": null}]}\n'


def test_the_bar_stays_on_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    bar = ProgressBar(200)
    bar.draw(50, "x" * 100)
    bar.draw(51, "too soon to be drawn")
    bar.close()
    _, line, blank, end = sys.stderr.getvalue().split("\r")
    assert line.startswith("[######------------------] 50/200 xxx")
    assert len(line) == 59
    assert (blank, end) == (" " * 59, "")
    assert "\n" not in sys.stderr.getvalue()


def test_a_line_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = ProgressBar(200)
    bar.draw(50, "as yet")
    bar.say("something else")
    bar.close()
    _, line, blank, said = sys.stderr.getvalue().split("\r")
    assert (blank, said) == (" " * len(line), "something else\n")


@pytest.mark.parametrize("scene", ["squares", "digits"])
def test_training_draws_a_bar_only_where_it_stands_alone(
    scene: str,
    few_sequences: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["train", *TINY[scene], "--epochs", "2"]
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(flags) == 0
    assert "500/1000 loss 0." in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main([*flags, "--json"]) == 0
    assert sys.stderr.getvalue() == ""
