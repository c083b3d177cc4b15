"""Files that cannot run code: safetensors with a checked header, written in one step.

What is in them is `checkpoint`'s business.
"""

import contextlib
import glob
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from convlstm.checks import SettingError, shown

_MAX_HEADER_BYTES = 2**20
_LEFTOVER_SECONDS = 3600.0  # no write takes as long


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; the message is one sentence for a person."""


def damaged(how: str) -> CheckpointError:
    """Return the refusal of a file that is not as this program writes it."""
    return CheckpointError(f"The checkpoint is damaged: {how}.")


@contextlib.contextmanager
def checked(part: str) -> Iterator[None]:
    """Refuse a part of a file that has other entries than it should, or values out of range.

    Raises:
        CheckpointError: whatever else the block raises on meeting them.
    """
    try:
        yield
    except SettingError as error:
        raise CheckpointError(f"The checkpoint is damaged: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(f"{part} has another structure") from error


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file in one step, as far as any reader can see.

    Args:
        path: the file.
        data: its content.
        durable: whether to wait until the disk has it, so that it outlives the machine's crash and
            not the program's alone.

    Raises:
        CheckpointError: it could not be written.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    with _reasons("write", path):
        _remove_leftovers(path)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # Ctrl-C too leaves nothing behind
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink()
            raise


def _remove_leftovers(path: Path) -> None:
    """Remove what writes of the same file have left that were killed."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()


def read_file(path: Path, max_bytes: int) -> bytes:
    """Read a file, or a little more than max_bytes of it.

    Raises:
        CheckpointError: it could not be read.
    """
    with _reasons("read", path), path.open("rb") as file:
        return file.read(max_bytes + 1)


@contextlib.contextmanager
def _reasons(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"Could not {doing} {path}: {reason}.") from error


def read_header(data: bytes) -> tuple[dict[str, str], dict[str, dict]]:
    """Return the metadata of a safetensors file, and what it says of each tensor.

    Args:
        data: the file, or its first MiB.

    Raises:
        CheckpointError: it has no such header.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise CheckpointError("The file is no checkpoint: it has no safetensors header.")
    header = parse_json(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, dict) for v in header.values()):
        raise damaged("its header has another structure")
    return metadata, header


def parse_json(text: object) -> dict:
    """Parse a JSON object strictly: no duplicate keys, no NaN, nothing nested absurdly.

    Raises:
        CheckpointError: it is none.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged("its header is not proper JSON") from error
    if not isinstance(value, dict):
        raise damaged("its header has another structure")
    return value


def strict_json(data: object, indent: int | None = None) -> str:
    """Write strict JSON: NaN and infinity become null."""
    strict = json.loads(json.dumps(data), parse_constant=lambda name: None)
    return json.dumps(strict, indent=indent)


def _unique(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_numbers(name: str, tensor: Tensor, *, may_be_negative: bool) -> None:
    """Refuse NaN and infinity, and numbers below 0 where there can be none.

    NumPy looks, and not torch: files are read on threads of a server, and a thread that has once
    run torch's OpenMP keeps threads of its own, which slow the training down by half.

    Raises:
        CheckpointError: there is one.
    """
    numbers = tensor.cpu().numpy()
    if not np.isfinite(numbers).all():
        raise damaged(f"{name} holds NaN or infinity")
    if not may_be_negative and (numbers < 0).any():
        raise damaged(f"{name} holds numbers below 0")


def check_generator(state: Tensor) -> Tensor:
    """Return a generator's state if torch can draw from it.

    Raises:
        RuntimeError: it is a CPU's and forged. torch checks its two counters one by one; together
            they could make it read past the end of its 624 numbers.
    """
    content = bytes(state.tolist())
    left, following = (int.from_bytes(content[at : at + 4], "little") for at in (8, 16))
    if len(content) > 24 and left + following > 625:
        raise RuntimeError("Invalid mt19937 state")
    return state


def load_content(data: bytes) -> dict[str, Tensor]:
    """Return a checkpoint's tensors, whose names and shapes are checked by now.

    Raises:
        CheckpointError: the content is damaged.
    """
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise damaged(shown(str(error))) from error


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
