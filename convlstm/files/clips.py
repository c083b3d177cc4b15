"""Clips that people bring: animated pictures and arrays, into a recording.

What a file says of itself is read first, and refused where it is over a limit, before anything is
decoded. Axes: T time (frames), H height (px), W width (px), C channels.
"""

import io
import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from convlstm.checks import SettingError
from convlstm.scenes.recording import MAX_SIDE, MIN_SIDE, Recording, check_frames

MAX_CLIP_BYTES = 2**26  # of a file
_MOST_PIXELS = 300  # million, of all frames together: some seconds of decoding
_MOST_ARRAY_BYTES = 2**27  # of an array once it is unpacked
_MOST_NAMES = 100  # of files in an archive
_PICTURES = ("GIF", "WEBP", "PNG")  # Pillow's names; only these of its readers are let at a file
_CHANNELS = (1, 3, 4)


def read_clip(path: Path) -> Recording:
    """Read a clip: an animated GIF, WebP or PNG, or an array of (T, H, W) or (T, H, W, C).

    The middle square of each frame is taken, and scaled to 96 px where it is larger. An array of
    other numbers than bytes is spread over its own range, unless all of it lies in [0, 1].

    Args:
        path: the file.

    Raises:
        SettingError: it is none, is damaged, over a limit, or shows nothing from which one could
            learn.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    if size > MAX_CLIP_BYTES:
        raise SettingError("clip", f"{size:,} bytes", "clip bytes", high=MAX_CLIP_BYTES // 2**20)
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(b"\x93NUMPY"):
            return Recording(_squares(_bytes(_array(file))))
        if start.startswith(b"PK"):
            return Recording(_squares(_bytes(_array(_member(file)))))
        return Recording(np.stack(list(_pictures(file))))


@contextmanager
def _refused_as_damaged() -> Iterator[None]:
    """Turn what a decoder raises, which may be anything, into a refusal."""
    try:
        yield
    except SettingError:
        raise
    except Exception as error:  # a file from a stranger; decoders promise nothing
        raise SettingError("clip", type(error).__name__, "clip damaged") from error


def _pictures(file: BinaryIO) -> Iterator[np.ndarray]:
    """Yield the frames of an animated picture as squares, (S, S, 3)."""
    from PIL import Image, UnidentifiedImageError

    with _refused_as_damaged(), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=_PICTURES)
        except UnidentifiedImageError as error:
            raise SettingError("clip", "this file", "clip kind") from error
        with image:
            count = getattr(image, "n_frames", 1)
            check_frames(count)
            _check_pixels(count, *image.size)
            for n in range(count):
                image.seek(n)
                yield _square(image.convert("RGB"))


def _square(image: "object") -> np.ndarray:
    """Cut the middle square out of a picture, and make it no larger than a canvas may be."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = min(side, MAX_SIDE)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((small, small), Image.Resampling.BOX, box=box))


def _member(file: BinaryIO) -> BinaryIO:
    """Return the one array of an archive, unpacked: nothing is unpacked beyond the limit."""
    with _refused_as_damaged(), zipfile.ZipFile(file) as archive:
        names = archive.infolist()
        arrays = [each for each in names[:_MOST_NAMES] if each.filename.endswith(".npy")]
        if len(arrays) != 1:
            raise SettingError("clip", f"{len(arrays)} arrays", "clip arrays")
        with archive.open(arrays[0]) as member:
            content = member.read(_MOST_ARRAY_BYTES + 1)
        if len(content) > _MOST_ARRAY_BYTES:
            high = _MOST_ARRAY_BYTES // 2**20
            raise SettingError("clip", f"over {high} MiB", "clip bytes", high=high)
        return io.BytesIO(content)


def _array(file: BinaryIO) -> np.ndarray:
    """Read an array, (T, H, W, C), after a look at what it says of itself."""
    with _refused_as_damaged():
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        is_video = len(shape) == 3 or (len(shape) == 4 and shape[3] in _CHANNELS)
        if dtype.hasobject or dtype.kind not in "buif" or not is_video:
            raise SettingError("clip", f"{dtype} {shape}"[:60], "clip kind")
        check_frames(shape[0])
        _check_pixels(shape[0], shape[2], shape[1])
        if math.prod(shape) * dtype.itemsize > _MOST_ARRAY_BYTES:
            high = _MOST_ARRAY_BYTES // 2**20
            raise SettingError("clip", f"over {high} MiB", "clip bytes", high=high)
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    array = array[..., None] if array.ndim == 3 else array[..., :3]
    if not np.isfinite(array).all():
        raise SettingError("clip", "NaN or infinity", "clip numbers")
    return array


def _bytes(array: np.ndarray) -> np.ndarray:
    """Turn values into bytes: those in [0, 1] as they are, others over their own range."""
    if array.dtype == np.uint8:
        return array
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if array.dtype.kind != "f" or low < 0 or high > 1:
        values = (values - low) / (high - low or 1)
    return (255 * values).round().clip(0, 255).astype(np.uint8)


def _squares(frames: np.ndarray) -> np.ndarray:
    """Cut the middle squares out of frames, (T, H, W, C), and scale them as pictures are."""
    from PIL import Image

    scaled = (_square(Image.fromarray(f[..., 0] if f.shape[-1] == 1 else f)) for f in frames)
    stacked = np.stack(list(scaled))
    return stacked[..., None] if stacked.ndim == 3 else stacked


def _check_pixels(count: int, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE or count * width * height > _MOST_PIXELS * 10**6:
        limits = {"low": MIN_SIDE, "high": _MOST_PIXELS}
        raise SettingError(
            "clip", f"{count:,} frames of {width} x {height} px", "clip pixels", **limits
        )
