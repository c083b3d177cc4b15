"""Clips that people bring: what is read, and what is refused in one sentence."""

import io
import random
import resource
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from convlstm.checks import SettingError
from convlstm.files.checkpoint import checkpoint_bytes, network_bytes, resume
from convlstm.files.clips import read_clip
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.scenes.own import Own
from convlstm.scenes.recording import Recording
from convlstm.settings import configure
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer


def disc(count: int = 24, height: int = 64, width: int = 64) -> np.ndarray:
    """A disc that moves to the right, (T, H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    centres = 12 + np.arange(count) % (width - 24)
    frames = np.hypot(x - centres[:, None, None], y - height // 2) < 8
    return (frames[..., None] * np.array([255, 160, 40])).astype(np.uint8)


def animated(frames: np.ndarray, kind: str, **options: object) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(buffer, kind, save_all=True, append_images=images[1:], **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def header_of(text: str) -> bytes:
    """A .npy file that says this of itself, and holds little."""
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + bytes(1000)


@pytest.fixture
def read(tmp_path):
    def make(content: bytes):
        path = tmp_path / "clip"
        path.write_bytes(content)
        return read_clip(path)

    return make


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})]
)
def test_animated_pictures_are_read_frame_by_frame(read, kind, options):
    frames = disc()
    assert np.abs(read(animated(frames, kind, **options)).frames.astype(int) - frames).max() <= 2


def test_the_middle_square_is_taken_and_large_frames_are_made_smaller(read):
    wide = np.roll(disc(height=200, width=360), 150, 2)
    recording = read(animated(wide, "PNG"))
    assert recording.frames.shape == (24, 96, 96, 3)
    part = wide[:, 68:132, 150:214]
    assert np.array_equal(read(npy(part)).frames, part)
    halved = read(npy(wide)).frames.mean((1, 2))
    assert np.abs(halved - wide[:, :, 80:280].mean((1, 2))).max() < 1


@pytest.mark.parametrize(
    "array",
    [
        disc()[..., 0],
        disc()[..., :1],
        disc()[..., 0] / np.float32(255),
        disc()[..., 0] > 0,
        disc()[..., 0].astype(np.int64) * 10_000 - 77,
        disc()[..., 0] * np.float64(-3.5),
    ],
    ids=lambda array: f"{array.dtype}{array.ndim}",
)
def test_arrays_of_numbers_are_read_over_their_own_range(read, array):
    frames = read(npy(array)).frames
    assert frames.shape == (24, 64, 64, 1)
    assert frames.min() == 0 and frames.max() == 255
    assert np.array_equal(frames, read(npz(frames=array)).frames)


def test_transparency_is_left_out(read):
    shaded = np.concatenate([disc(), np.full((24, 64, 64, 1), 9, np.uint8)], 3)
    assert np.array_equal(read(npy(shaded)).frames, disc())


def bomb_png(width: int, height: int, count: int) -> bytes:
    """A PNG that claims more than it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(10**6), 9)
    frames = struct.pack(">II", count, 0)
    control = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"acTL", frames), chunk(b"fcTL", control)]
        + [chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("frames.npy", "w", force_zip64=True) as member:
            member.write(npy(np.zeros((600, 512, 512), np.uint8))[:128])
            for _ in range(600):
                member.write(bytes(2**20))
    return buffer.getvalue()


def huge_gif() -> bytes:
    """Six hundred frames that say they are 30,000 px wide and high."""
    small = animated(disc(), "GIF")
    return small[:6] + struct.pack("<HH", 30_000, 30_000) + small[10:]


HOSTILE = {
    "empty": b"",
    "text": b"this is no clip",
    "video": b"\x00\x00\x00\x20ftypisom" + bytes(100),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "one picture": animated(disc(1), "PNG"),
    "one pixel": animated(np.arange(60, dtype=np.uint8).reshape(20, 1, 1, 3), "PNG"),
    "still": npy(np.full((30, 32, 32), 7, np.uint8)),
    "too many": npy(np.zeros((100_000, 16, 1), np.uint8).repeat(16, 2)[:700]),
    "too many of a gif": animated(disc(700, 24, 32)[:, :, :, :], "GIF"),
    "huge gif": huge_gif(),
    "png bomb": bomb_png(50_000, 50_000, 30),
    "png of a hundred thousand frames": bomb_png(64, 64, 100_000),
    "zip bomb": zip_bomb(),
    "two arrays": npz(a=disc(), b=disc()),
    "no arrays": npz(),
    "nan": npy(np.where(disc()[..., 0] > 0, np.nan, 0.0)),
    "infinity": npy(np.where(disc()[..., 0] > 0, np.inf, 0.0)),
    "objects": npy(np.array([{"a": 1}] * 30, dtype=object)),
    "strings": npy(np.full((30, 32, 32), "x")),
    "complex": npy(disc()[..., 0] * 1j),
    "two axes": npy(disc()[:, :, 0, 0]),
    "five axes": npy(disc()[None]),
    "two channels": npy(disc()[..., :2]),
    "records": npy(np.zeros((30, 32, 32), [("a", "u1")])),
    "header": header_of(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (30, 1000000, 1000000)}"
    ),
    "header that computes": header_of("__import__('os').system('true')"),
    "negative": header_of("{'descr': '|u1', 'fortran_order': False, 'shape': (30, -32, 32)}"),
    "version": b"\x93NUMPY\x09\x00" + bytes(200),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_clip_is_refused_in_one_sentence(read, name):
    with pytest.raises(SettingError) as refused:
        read(HOSTILE[name])
    assert refused.value.name == "clip"
    assert str(refused.value).count("\n") == 0 and len(str(refused.value)) < 250


def test_a_path_in_an_archive_leads_nowhere(read, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../outside.npy", npy(disc()))
    assert len(read(buffer.getvalue())) == 24
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_damaged_clips_are_refused_or_read_and_memory_stays_level(read):
    draw = random.Random(0)
    whole = [
        animated(disc(), "GIF"),
        animated(disc(), "WEBP"),
        animated(disc(), "PNG"),
        npy(disc()),
        npz(frames=disc()),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers = []
    for n in range(300):
        content = bytearray(whole[n % len(whole)])
        if n % 3 == 0:
            del content[draw.randrange(len(content)) :]
        for _ in range(draw.randrange(1, 30) if n % 3 else 0):
            content[draw.randrange(min(len(content), 400) if n % 2 else len(content))] = (
                draw.randrange(256)
            )
        try:
            answers.append(len(read(bytes(content))))
        except SettingError as error:
            assert error.name == "clip"
            answers.append(error.rule)
    assert len(set(answers)) > 3  # of several kinds, and some of them read
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600 * 1024  # KiB: an array may take 128 MiB, and its numbers twice more


@pytest.fixture
def trainer() -> Trainer:
    config = default_config("own")
    config = replace(config, scene=replace(config.scene, recording=Recording(disc(30))))
    small = {"canvas": 32, "hidden_channels": 2, "num_layers": 1, "residual": False, "epochs": 4}
    return Trainer(configure({**small, "precision": "float32", "batch_size": 2}, config))


def test_a_run_goes_on_with_its_own_clip(trainer):
    unbroken = [r.loss for r in trainer.pieces() if r]
    half = Trainer(trainer.config)
    pieces = half.pieces()
    while half.step < 2:
        next(pieces)
    pieces.close()
    again = resume(read_checkpoint(checkpoint_bytes(half)))
    assert again.config == trainer.config
    assert again.config.scene.recording == trainer.config.scene.recording
    assert [r.loss for r in again.records] + [r.loss for r in again.pieces() if r] == unbroken


def test_a_networks_file_holds_the_clip_and_a_damaged_one_is_refused(trainer):
    content = network_bytes(trainer)
    assert read_checkpoint(content).config.scene == trainer.config.scene
    frames = trainer.config.scene.recording.frames.tobytes()
    assert content.count(frames) == 1
    with pytest.raises(CheckpointError, match="clip is refused: clip is '30 frames'"):
        read_checkpoint(content.replace(frames, bytes(len(frames))))
    misfit = content.replace(b"[30,64,64,3]", b"[10,64,64,9]")
    with pytest.raises(CheckpointError, match="scene.recording"):
        read_checkpoint(misfit)


def test_without_a_clip_the_scene_is_said_by_its_settings_alone():
    assert b"scene.recording" not in network_bytes(
        Trainer(TrainConfig(Own(), default_config("own").network, loss="mse"))
    )
