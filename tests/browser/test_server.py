import os
import signal
import socket
import subprocess
import sys

import pytest
from gradio_client import Client

from tests.browser.conftest import ROOT, free_port, running


def playground(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "playground.py", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_the_server_within_five_seconds_and_exit_code_0(number):
    with running() as server:
        client = Client(server.url, verbose=False, analytics_enabled=False)
        client.predict(api_name="/open_run")  # or it is still being started
        client.close()
        code, seconds, output = server.stop(number)
    assert code == 0, output
    assert seconds < 5
    assert "Traceback" not in output


def test_a_port_in_use_is_one_line_that_says_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = playground("--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "try another --port" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--device", "abacus"),
        ("--port", "0"),
        ("--max-runs", "0"),
        ("--host", "no.such.host.invalid"),
    ],
)
def test_a_bad_flag_is_an_error_with_exit_code_2(flags):
    done = playground(*flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = playground("--keep", str(tmp_path / "file" / "below"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"nothing can be written to {tmp_path / 'file' / 'below'}" in done.stderr
    nowhere = {name: str(tmp_path / "file") for name in ("TMPDIR", "TEMP", "TMP")}
    code = "import sys, tempfile, playground; tempfile._candidate_tempdir_list = lambda: ['/proc'];"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(playground.main(['--port', '{free_port()}']))"],
        cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the folder for temporary files" in done.stderr


def test_a_read_only_home_does_not_matter(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    with running(port=free_port(), env={"HOME": str(home), "MPLCONFIGDIR": ""}) as server:
        code, _, output = server.stop()
    assert code == 0, output
    assert os.listdir(home) == []
