"""A worker as an actor, without the cluster: what its methods do when they are called."""

import subprocess
import sys
import time
from pathlib import Path

from convlstm.server.actor import LEASE_SECONDS, SILENCE_SECONDS
from tests.server.helpers import DEADLINE

ROOT = Path(__file__).parents[2]
CODE = """
import sys, time
from pathlib import Path
from convlstm.server.actor import Actor
from convlstm.server.limits import Limits, Order

folder = Path(sys.argv[1])
(folder / "mark").touch()
actor = Actor(folder / "mark", "1", False)
actor.hear(Order("cpu", Limits(), str(folder)))
for _ in range({asked}):  # for longer than the lease
    print([kind for kind, *_ in actor.tell()], flush=True)
{end}
"""
LONG = "time.sleep(600)"


def started(folder: Path, asked: int, end: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CODE.format(asked=asked, end=end), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_actor_that_is_asked_no_more_ends_before_its_successor_starts(tmp_path):
    assert LEASE_SECONDS < SILENCE_SECONDS
    with started(tmp_path, 3, LONG) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        asked_at = time.monotonic()
        assert process.wait(DEADLINE) == 71
        assert time.monotonic() - asked_at < DEADLINE
    assert "['ready'" in "".join(lines)


def test_an_actor_that_is_asked_stays_and_ends_when_it_is_told_to(tmp_path):
    polls = int(LEASE_SECONDS) + 3  # each takes a second where there is no news
    end = "actor.finish(); print(actor.wait_ended(60), [*iter(actor.tell, [None])], flush=True)"
    with started(tmp_path, polls, end) as process:
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert output.splitlines()[-1].startswith("True")


def test_an_actor_that_does_not_see_the_folder_refuses_and_names_it(tmp_path):
    code = CODE.replace('(folder / "mark").touch()\n', "").replace("[kind for kind, *_ in ", "(")
    code = code.replace("actor.tell()]", "actor.tell())")
    done = subprocess.run(
        [sys.executable, "-c", code.format(asked=1, end=""), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert f"'refused', '--keep is {tmp_path}: the machine " in done.stdout
    assert "must be a folder that all machines share" in done.stdout
