"""Workers on the machines of a Ray cluster: the page's side, and all of the program that knows Ray.

Ray is imported when a cluster is asked for, and by nothing else.
"""

import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from convlstm.server.actor import SILENCE_SECONDS, Actor
from convlstm.server.child import CLOSE_SECONDS

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0  # that an address may take to take a connection
_CONNECT_SECONDS = 30.0  # that a cluster may take to be joined
_START_SECONDS = 60.0  # that an actor may take to be there: it loads torch, over a network perhaps
_DOUBT_SECONDS = 90.0  # a silent machine is passed over: Ray takes 65 s to find that it is dead
_MARK = ".page-"
_CALLS = 8  # of an actor that may wait at the same time


class ActorLine:
    """The page's end of a line to an actor.

    Args:
        ray: the module.
        actor: the other end.
        lost: told why it is given up, and whether it is known to be dead.
    """

    def __init__(self, ray: ModuleType, actor: object, lost: Callable[[str, bool], None]) -> None:
        self._ray, self._actor, self._lost = ray, actor, lost
        self._waiting: deque[tuple | None] = deque()
        self._is_dead = False
        self._broken = threading.Event()
        self._closing = threading.Event()

    def send(self, *value: object) -> None:
        """Send a value; from any thread.

        Raises:
            OSError: the other end is gone.
        """
        self.call("hear", *value)

    def receive(self) -> tuple:
        """Wait for a value; from one thread.

        Raises:
            EOFError: the other end is gone, and computes no more.
        """
        while not self._waiting:
            asked_at = time.monotonic()
            try:
                self._waiting.extend(self.call("tell"))
            except OSError as error:
                if not self._is_dead:  # unheard it may compute on, until its lease has ended
                    self._closing.wait(asked_at + SILENCE_SECONDS - time.monotonic())
                raise EOFError from error
        value = self._waiting.popleft()
        if value is None:
            self._waiting.append(None)
            raise EOFError
        return value

    def close(self) -> None:
        """Send nothing more, which the other end hears; what it still says is received."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self.call("finish")

    def call(self, name: str, *values: object, seconds: float = SILENCE_SECONDS) -> object:
        """Call a method of the actor; after the first that fails, none.

        Raises:
            OSError: it does not answer.
        """
        if self._broken.is_set():
            raise OSError("The actor is gone.")
        try:
            return self._ray.get(getattr(self._actor, name).remote(*values), timeout=seconds)
        except Exception as error:  # whatever Ray, or its client, makes of a death
            self._is_dead = self._is_dead or isinstance(error, self._ray.exceptions.ActorDiedError)
            reason = _last_line(error)
            if not (self._broken.is_set() or self._closing.is_set()):
                self._lost(reason, self._is_dead)
            self._broken.set()
            raise OSError(reason) from error

    def refuse(self, text: str) -> None:
        """Let the other end have said that it cannot start."""
        self._waiting.extend([("refused", text), None])


class RemoteWorker:
    """A worker that has been started as an actor.

    Attributes:
        actor: it.
        line: to it.
        node: Ray's id of its machine.
        is_over: whether its place is free for another.
    """

    def __init__(self, ray: ModuleType, actor: object, line: ActorLine, node: str) -> None:
        self._ray, self.actor, self.line, self.node = ray, actor, line, node
        self.is_over = False

    def end(self) -> None:
        """Make sure that it is gone; it has a few seconds to put everything away."""
        self.line.close()
        with contextlib.suppress(OSError):
            self.line.call("wait_ended", CLOSE_SECONDS)
        with contextlib.suppress(Exception):  # the cluster is gone, too
            self._ray.kill(self.actor)
        self.is_over = True


@dataclass(frozen=True)
class _Place:
    """Where one worker belongs: a machine, or one of its GPUs.

    Attributes:
        node: Ray's id of the machine.
        gpu: counts its GPUs, from 0; None for its cores.
    """

    node: str
    gpu: int | None


class Cluster:
    """A Ray cluster, with a place for a worker on each of its machines, or on each of their GPUs.

    Args:
        address: "auto" for the cluster of this machine, "local" for one of this machine alone,
            host:port or ray://host:port.
        device: "auto" takes the GPUs of machines that have some; "cpu" or "cuda".
        folder: where runs are kept; all machines must see it by this path.

    Attributes:
        devices: what each worker computes on.

    Raises:
        ValueError: it is no address, or no machine there has such a device.
        OSError: the cluster does not answer, or nothing can be written to the folder.
    """

    def __init__(self, address: str, device: str, folder: Path) -> None:
        self._device, self._threads = device, os.environ.get("OMP_NUM_THREADS")
        with contextlib.ExitStack() as leaving:
            self._mark = _marked(folder)
            leaving.callback(self._mark.unlink, missing_ok=True)
            self._ray = _connect(address)
            leaving.callback(self._ray.shutdown)
            nodes = self._ray.nodes()
            self._names, self._places = _names(nodes), _places(nodes, device)
            if not self._places:
                what = "a GPU" if device == "cuda" else "a core"
                raise ValueError(f"--ray is {address}: no machine of this cluster lends {what}.")
            self._leaving = leaving.pop_all()
        self.devices = [device] * len(self._places)
        self._choosing = threading.Lock()
        self._workers: dict[_Place, RemoteWorker] = {}
        self._doubted: dict[str, float] = {}

    def start(self) -> RemoteWorker:
        """Start a worker where there is none, or, if that machine is dead, on the least busy one.

        Raises:
            OSError: no machine is alive.
        """
        with self._choosing:
            worker = self._start_one()
        try:
            worker.line.call("is_there", seconds=_START_SECONDS)
        except OSError as error:
            self._doubt(worker.node)
            name = self._names[worker.node]
            worker.line.refuse(f"the machine {name} of the cluster starts no worker: {error}")
        return worker

    def close(self) -> None:
        """Leave the cluster, after its workers have ended."""
        self._leaving.close()

    def _start_one(self) -> RemoteWorker:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place, node = self._choose()
        # Where a GPU's machine has died, its worker goes on without: the other GPUs have their own.
        has_gpu = place.gpu is not None and (node == place.node or self._device == "cuda")
        actor = (
            self._ray.remote(Actor)
            .options(
                # A worker must start whatever else runs, so it asks for none of the cores that Ray
                # counts; but for one byte: what asks for nothing, Ray starts by way of any machine,
                # which may be the dead one.
                num_cpus=0,
                memory=1,
                num_gpus=int(has_gpu),
                max_concurrency=_CALLS,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self._mark, self._threads, has_gpu)
        )

        def lost(reason: str, is_dead: bool) -> None:
            _log.error("The worker on %s is lost: %s", self._names[node], reason)
            if not is_dead:
                self._doubt(node)

        worker = RemoteWorker(self._ray, actor, ActorLine(self._ray, actor, lost), node)
        self._workers[place] = worker
        return worker

    def _choose(self) -> tuple[_Place, str]:
        """Return a place without a worker, and the machine for the one that belongs there."""
        known = [node for node in self._ray.nodes() if node["Alive"]]
        self._names |= _names(known)
        alive = [each for each in known if not self._is_doubted(each["NodeID"])] or known
        nodes = {node for each in alive for node in [each["NodeID"]] if _lends(each, self._device)}
        if not nodes:
            raise OSError("No machine of the cluster is alive.")
        working = {place: w.node for place, w in self._workers.items() if not w.is_over}
        free = [place for place in self._places if place not in working]
        home = next((place for place in free if place.node in nodes), None)
        if home:
            return home, home.node
        busy = Counter(working.values())
        return free[0], min(nodes, key=lambda node: busy[node])

    def _doubt(self, node: str) -> None:
        self._doubted[node] = time.monotonic()

    def _is_doubted(self, node: str) -> bool:
        return time.monotonic() - self._doubted.get(node, -math.inf) < _DOUBT_SECONDS


def _marked(folder: Path) -> Path:
    """Write a file by which other machines know the folder.

    It has a new name: network file systems remember for a while what was not there.
    """
    mark = folder / f"{_MARK}{secrets.token_hex(16)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_MARK}*"):  # of a page that was killed
            leftover.unlink(missing_ok=True)
        mark.touch()
    except OSError as error:
        raise OSError(f"nothing can be written to {folder}: {error}.") from None
    return mark


def _connect(address: str) -> ModuleType:
    """Join a cluster.

    Returns:
        Ray's module.
    """
    if address not in ("auto", "local"):
        _check_answers(address)
    # A page shows what it computes to its visitors, and to nobody else.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's rule of tomorrow, about which it warns; an actor looks to that itself.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Nor does it join whatever cluster it finds when somebody calls it after the end.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    import ray

    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in signals}
    try:
        _join(ray, address)
    except Exception as error:
        reason = _last_line(error)
        raise ConnectionError(f"--ray is {address}: cannot join the cluster ({reason}).") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has put its own before them
                signal.signal(number, handler)
    return ray


def _join(ray: ModuleType, address: str) -> None:
    if address == "local":  # its processes end with the thread that has started them
        ray.init("local", include_dashboard=False, logging_level=logging.ERROR)
        return
    errors: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address, logging_level=logging.ERROR)
        except BaseException as error:
            errors.append(error)

    # On a thread, since Ray waits for minutes for a cluster that has gone.
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {_CONNECT_SECONDS:g} s")
    if errors:
        raise errors[0]


def _check_answers(address: str) -> None:
    """Try an address before Ray does, which is long about it, and says much.

    Raises:
        ValueError: it is none.
        OSError: nothing listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and 1 <= int(port) <= 65535):
        rule = "must be auto, local, host:port or ray://host:port."
        raise ValueError(f"--ray is {address}: {rule}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        reason = error.strerror or error
        raise ConnectionError(f"--ray is {address}: nothing answers there ({reason}).") from None


def _places(nodes: list[dict], device: str) -> list[_Place]:
    places = []
    for node in nodes:
        if node["Alive"] and _lends(node, device):
            gpus = 0 if device == "cpu" else int(node["Resources"].get("GPU", 0))
            places += [_Place(node["NodeID"], gpu) for gpu in range(gpus) or [None]]
    return places


def _names(nodes: list[dict]) -> dict[str, str]:
    return {node["NodeID"]: node["NodeManagerHostname"] for node in nodes}


def _lends(node: dict, device: str) -> bool:
    """Whether a machine is there for such work: a head without cores, for instance, is not."""
    lent = node["Resources"]
    return lent.get("GPU", 0) >= 1 or (device != "cuda" and lent.get("CPU", 0) >= 1)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
