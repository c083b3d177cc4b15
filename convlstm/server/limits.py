"""What one server takes on, and what its workers are started with; the page reads it, too."""

from dataclasses import dataclass

MAX_UPLOAD_BYTES = 2**28  # a file that a browser brings; the command line opens larger ones
MAX_UPLOADS_BYTES = 2**30  # of all files that are on their way, or that nobody has opened yet
MAX_BODY_BYTES = 2**20  # of any other request; a drawing, the largest, takes 16 KiB


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        active_runs: runs that train at the same time; further ones wait in line.
        kept_runs: runs kept, training or not.
        kept_memory_mib: estimated memory of all of them together; beyond it those that nobody looks
            at are put away on the disk, MiB.
        run_seconds: estimated computing time of a run, s.
        memory_mib: estimated memory of a run's training, MiB.
        budget_seconds: computing time after which a run is paused for good, s.
        unwatched_seconds: time without a viewer after which a run ends, s.
        kept_seconds: time without a viewer after which a run is forgotten, s.
        lent_seconds: time without news of a run that another process computes, after which it is
            computed here again, s.
        kept_mib: of the files from which runs go on after a worker or a server has died, MiB.
    """

    active_runs: int = 32
    kept_runs: int = 512
    kept_memory_mib: float = 4096
    run_seconds: float = 1800
    memory_mib: float = 2048
    budget_seconds: float = 3600
    unwatched_seconds: float = 300
    kept_seconds: float = 3600
    lent_seconds: float = 30
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
