"""What `--ray` says when it cannot be done; Ray itself is needed for none of it."""

import socket
import sys

import pytest

import playground
from convlstm.server.cluster import Cluster


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ray", "auto"], "--ray needs --keep FOLDER, a folder that all machines share."),
        (
            ["--ray", "auto", "--keep", "folder", "--device", "cuda:1"],
            "--device is cuda:1: with --ray must be auto, cpu or cuda.",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        playground.main(flags)
    assert capsys.readouterr().err.endswith(f"error: {said}\n")


def test_without_ray_it_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert playground.main(["--ray", "auto", "--keep", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        'playground.py: --ray needs Ray: pip install "convlstm-playground[cluster]".\n'
    )


@pytest.mark.parametrize(
    "address", ["", "here", "host:", ":6379", "host:0", "host:66666", "ray://"]
)
def test_what_is_no_address_is_refused(address, tmp_path):
    with pytest.raises(ValueError, match="must be auto, local, host:port or ray://host:port"):
        Cluster(address, "auto", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_nobody_answers_at_is_one_line(scheme, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"--ray is {address}: nothing answers there"):
            Cluster(address, "auto", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="nothing can be written to .*file/below"):
        Cluster("auto", "auto", tmp_path / "file" / "below")
