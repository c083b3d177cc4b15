"""Takes files apart and puts them together otherwise."""

import json
from collections.abc import Callable

import numpy as np

Damage = Callable[[bytes], bytes]

_KINDS = {"F32": np.float32, "F64": np.float64, "U8": np.uint8}


def taken_apart(data: bytes) -> tuple[dict, bytes]:
    """Return the header and the body."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def put_together(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def with_header(change: Callable[[dict], object]) -> Damage:
    def damage(data: bytes) -> bytes:
        header, body = taken_apart(data)
        change(header)
        return put_together(header, body)

    return damage


def with_metadata(part: str, **changes: object) -> Damage:
    """Change entries of the settings or of the progress; `...` takes an entry away."""

    def change(header: dict) -> None:
        value = json.loads(header["__metadata__"][part]) | changes
        value = {k: v for k, v in value.items() if v is not ...}
        header["__metadata__"][part] = json.dumps(value)

    return with_header(change)


def with_tensor(name: str, change: Callable[[np.ndarray], object]) -> Damage:
    """Change a tensor's numbers in place."""

    def damage(data: bytes) -> bytes:
        header, body = taken_apart(data)
        start, end = header[name]["data_offsets"]
        array = np.frombuffer(body[start:end], _KINDS[header[name]["dtype"]]).copy()
        change(array.reshape(header[name]["shape"]))
        return put_together(header, body[:start] + array.tobytes() + body[end:])

    return damage


def with_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    """Change which tensors there are, and what they hold; the file fits together again."""

    def damage(data: bytes) -> bytes:
        header, body = taken_apart(data)
        metadata = header.pop("__metadata__")
        tensors = {
            name: np.frombuffer(body[slice(*entry["data_offsets"])], _KINDS[entry["dtype"]])
            .reshape(entry["shape"])
            .copy()
            for name, entry in header.items()
        }
        change(tensors)
        kinds = {np.dtype(kind): name for name, kind in _KINDS.items()} | {
            np.dtype(np.float16): "F16"
        }
        new, parts, at = {"__metadata__": metadata}, [], 0
        for name, array in tensors.items():
            end = at + array.nbytes
            shape = list(array.shape)
            new[name] = {"dtype": kinds[array.dtype], "shape": shape, "data_offsets": [at, end]}
            parts.append(array.tobytes())
            at = end
        return put_together(new, b"".join(parts))

    return damage


def with_array(name: str, array: np.ndarray) -> Damage:
    """Put another tensor in a tensor's place, or beside the others."""
    return with_tensors(lambda tensors: tensors.__setitem__(name, array))


def without(starts_or_ends: str) -> Damage:
    """Take away the tensors whose names start or end so."""

    def change(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            if name.startswith(starts_or_ends) or name.endswith(starts_or_ends):
                del tensors[name]

    return with_tensors(change)


def put(index: object, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[index] = value

    return change


def forge_counters(left: int, following: int) -> Callable[[np.ndarray], None]:
    """Set the two counters of a generator's state."""

    def change(state: np.ndarray) -> None:
        state[8:12] = np.frombuffer(left.to_bytes(4, "little"), np.uint8)
        state[16:24] = np.frombuffer(following.to_bytes(8, "little"), np.uint8)

    return change
