"""Where the trained networks are that the program brings with it."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped_file(name: str) -> Path:
    """Return the path of a shipped checkpoint: in an installed package, or in the repository."""
    installed = _PACKAGE / "checkpoints" / name
    return installed if installed.exists() else _PACKAGE.parent / "checkpoints" / name
