"""What the page's process and a worker agree on."""

from dataclasses import dataclass

from convlstm.server.limits import Limits

# What may be asked of a worker: `Service`'s methods. Those after the first two are about a run.
REQUESTS = (
    "scenes",
    "describe",
    "attach",
    "act",
    "look",
    "draw",
    "open_checkpoint",
    "download",
)


@dataclass(frozen=True)
class Order:
    """What a worker is started with.

    Attributes:
        device: where it computes, "auto" for the best there is.
        limits: what it takes on.
        folder: where its runs are kept.
        blamed: runs that have killed it.
    """

    device: str
    limits: Limits
    folder: str
    blamed: frozenset[str] = frozenset()
