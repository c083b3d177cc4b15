"""Hugging Face's ZeroGPU: a GPU lent to a visitor for some seconds at a time, on their quota.

There the package `spaces` is installed, and a decorated function is called in a process that is
forked for it. What goes in and out is pickled; the process is killed when its time is over; it is
refused where the visitor has no quota left. So a run is computed by the worker, as anywhere, and
lent to such a process for a chunk of its training whenever there is one.
"""

import logging
import os
import shutil
import tempfile
import threading
import weakref
from typing import Literal

# Where it has something to lend, the package brings in Gradio, which asks this, and torch, which
# nothing may have touched before.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    from spaces import GPU
    from spaces.config import Config
except ImportError:
    GPU = Config = None

from convlstm.server.pool import Pool  # noqa: E402

_log = logging.getLogger(__name__)

# A worker's process beside it keeps to the CPU: the package makes torch believe in a GPU that only
# decorated functions have.
WITHOUT_GPU = {"SPACES_ZERO_GPU": "", "CUDA_VISIBLE_DEVICES": ""}
CHUNK_SECONDS = 25.0  # of training; half of what a visitor without an account has in a minute
_SPARE_SECONDS = 5  # for a start, and for bringing back the run before the process is killed

Said = Literal["free", "asked", "refused"]


def lends() -> bool:
    """Whether this server is a Space whose visitors are lent GPUs."""
    return Config is not None and Config.zero_gpu


class ZeroGpu:
    """Has runs computed on lent GPUs.

    Args:
        pool: whose runs.
        seconds: that a chunk of training lasts.
    """

    def __init__(self, pool: Pool, seconds: float = CHUNK_SECONDS) -> None:
        # Here and not in the forked process, whose every second counts.
        from convlstm.server.chunk import compute_chunk

        self._pool, self._seconds = pool, seconds
        self._chunk = GPU(duration=round(seconds) + _SPARE_SECONDS)(compute_chunk)
        self._changing = threading.Lock()
        self._asked: set[str] = set()
        self._refused: set[str] = set()
        os.register_at_fork(after_in_child=_calling(weakref.WeakMethod(pool.let_go)))

    def said(self, run: object) -> Said:
        """Return whether a GPU may be asked for, is asked for already, or was refused."""
        if not self._pool.has(run):  # it may be anything that JSON can say
            return "free"
        if run in self._asked:
            return "asked"
        return "refused" if run in self._refused else "free"

    def compute(self, run: object, *, anew: bool) -> None:
        """Have a run computed for a chunk, and wait for its end; in an event of the visitor's.

        Where there is no GPU, or none any more, the run goes on where it is.

        Args:
            run: its id; whatever is none, does not train or has somebody who asks is left alone.
            anew: whether somebody wants it to be tried although it was refused.
        """
        with self._changing:
            self._refused = {each for each in self._refused if self._pool.has(each)}
            said = self.said(run)
            if not self._pool.has(run) or said == "asked" or (said == "refused" and not anew):
                return
            self._refused.discard(run)
            self._asked.add(run)
        try:
            # Not what was seen of it: at a chunk's end that may be a moment old.
            if self._pool.tell(run, "trains").get("trains"):
                self._borrow(run)
        except Exception as error:  # no quota, none free, killed: Gradio's errors, of any words
            _log.warning("no GPU for a run: %s", error)
            self._refused.add(run)
        finally:
            self._asked.discard(run)

    def _borrow(self, run: str) -> None:
        folder = tempfile.mkdtemp(prefix="convlstm-lent-")
        died = True
        try:
            chunk = self._chunk(folder, self._seconds)
            next(chunk)  # waits for a GPU; until then the run goes on where it is
            is_lent = self._pool.tell(run, "lend", folder).get("lent")
            if not is_lent:
                shutil.rmtree(folder, ignore_errors=True)  # which ends the chunk
            for news in chunk:  # to its end: closing it would lose what has not come yet
                told = folder, news.snapshot, news.content
                if not self._pool.tell(run, "hear", *told).get("lent"):
                    shutil.rmtree(folder, ignore_errors=True)
            died = False
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._pool.tell(run, "take_back", folder, died)


def _calling(method: weakref.WeakMethod) -> object:
    """Return a function that calls a method as long as its object is there."""

    def call() -> None:
        if bound := method():
            bound()

    return call
