"""What one server takes on, and what its workers are started with; the page reads it, too."""

from dataclasses import dataclass

MAX_UPLOAD_BYTES = 2**28  # a file that a browser brings; the command line opens larger ones


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        active_runs: runs that train at the same time; further ones wait in line.
        kept_runs: runs kept in memory, training or not; about 8 MiB each at 64 px, of
            digits 20 MiB and five times the weights.
        run_seconds: estimated computing time of a run, s.
        memory_mib: estimated memory of a run's training, MiB.
        budget_seconds: computing time after which a run is paused for good, s.
        unwatched_seconds: time without a viewer after which a run ends, s.
        kept_seconds: time without a viewer after which a run is forgotten, s.
        kept_mib: of the files from which runs go on after a worker or a server has died, MiB.
    """

    active_runs: int = 32
    kept_runs: int = 128
    run_seconds: float = 1800
    memory_mib: float = 2048
    budget_seconds: float = 3600
    unwatched_seconds: float = 300
    kept_seconds: float = 3600
    kept_mib: float = 4096


@dataclass(frozen=True)
class Order:
    """What a worker is started with.

    Attributes:
        device: where it computes, "auto" for the best there is.
        limits: what it takes on.
        folder: where its runs are kept.
        blamed: runs that have killed it.
        durable: whether what it keeps there must outlive its machine, and not itself alone.
    """

    device: str
    limits: Limits
    folder: str
    blamed: frozenset[str] = frozenset()
    durable: bool = False
