"""Pictures: read back with Pillow, they hold the frames they were made of."""

import csv
import io
import math

import numpy as np
import pytest
from PIL import Image, ImageSequence

from convlstm.metrics import Evaluation, Scores
from convlstm.render import (
    article_outputs,
    curve_figure,
    frame_figure,
    gif,
    losses_csv,
    sprite_sheet,
    to_bytes,
    write_files,
)
from convlstm.training import StepRecord


def video(T: int = 5, H: int = 12, W: int = 16) -> np.ndarray:
    return np.random.default_rng(0).random((T, H, W), dtype=np.float32)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def record(step: int, mse: float = 0.1, held_out: float | None = None) -> StepRecord:
    evaluation = held_out and Evaluation(
        Scores(held_out, 0.2, 10.0, 0.5), Scores(0.3, 0.3, 9.0, 0.9), Scores(0.4, 0.4, 8.0, 0.8), 1
    )
    return StepRecord(step, step, 2 * mse, mse, 0.01, step / 3, evaluation)


def has_colour(picture: Image.Image, red: int, green: int, blue: int) -> bool:
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool((np.abs(pixels - (red, green, blue)).max(-1) < 12).any())


def test_intensities_become_rounded_grey_values():
    frame = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0], [0.001, 0.002, 0.25, 0.998, 0.999]])
    assert to_bytes(frame).dtype == np.uint8
    assert to_bytes(frame).tolist() == [[0, 0, 128, 255, 255], [0, 1, 64, 254, 255]]


def test_a_sprite_sheet_stacks_the_frames_at_native_size():
    frames = video()
    sheet = opened(sprite_sheet(frames))
    assert (sheet.format, sheet.mode, sheet.size) == ("PNG", "L", (16, 5 * 12))
    assert np.array_equal(np.asarray(sheet).reshape(5, 12, 16), to_bytes(frames))


@pytest.mark.parametrize("scale", [1, 4])
def test_a_gif_shows_each_frame_for_half_a_second_and_loops(scale):
    frames = (video() > 0.5).astype(np.float32)
    frames[4] = 0  # a black frame covers what was there
    picture = opened(gif(frames, scale))
    assert (picture.format, picture.size) == ("GIF", (16 * scale, 12 * scale))
    assert picture.info["loop"] == 0
    for image, frame in zip(ImageSequence.Iterator(picture), frames, strict=True):
        assert image.info["duration"] == 500
        expected = to_bytes(frame).repeat(scale, 0).repeat(scale, 1)
        assert np.array_equal(np.asarray(image.convert("L")), expected)


def test_equal_neighbours_in_a_gif_are_shown_as_long_as_both():
    frames = video()
    frames[3] = frames[2]
    durations = [image.info["duration"] for image in ImageSequence.Iterator(opened(gif(frames)))]
    assert durations == [500, 500, 1000, 500]


def test_a_gif_keeps_grey_values():
    frames = video()
    for image, frame in zip(ImageSequence.Iterator(opened(gif(frames, 1))), frames, strict=True):
        difference = np.asarray(image.convert("L")).astype(int) - to_bytes(frame)
        assert np.abs(difference).max() <= 2


def test_a_frame_s_figure_shows_it_in_grey_from_0_to_1():
    for value, grey in ((0.0, 0), (0.5, 128), (1.0, 255)):
        figure = opened(frame_figure(np.full((8, 8), value, np.float32), "Input frame 1"))
        assert figure.format == "PNG"
        middle = figure.convert("RGB").getpixel((figure.width * 2 // 5, figure.height // 2))
        assert middle == pytest.approx((grey,) * 3, abs=1)


def test_titles_make_figures_different():
    frame = np.zeros((8, 8), np.float32)
    assert frame_figure(frame, "Input frame 1") != frame_figure(frame, "Input frame 2")


def test_a_curve_shows_the_held_out_line_once_there_is_an_evaluation():
    orange = (255, 127, 14)
    without = opened(curve_figure([record(step, 0.1 / step) for step in range(1, 20)]))
    assert not has_colour(without, *orange)
    records = [record(step, 0.1 / step, 0.05 / step) for step in range(1, 20)]
    assert has_colour(opened(curve_figure(records)), *orange)


@pytest.mark.parametrize(
    "records",
    [
        [record(1)],
        [record(1, held_out=0.5)],
        [record(1, 0.1), record(2, 0.0)],
        [record(1, math.nan)],
        [record(1, 0.1), record(2, math.inf)],
        [record(1, 0.1, 0.2), record(2, math.nan)],
    ],
)
def test_a_curve_can_be_drawn_of_any_history(records):
    assert opened(curve_figure(records)).size == (840, 480)


def test_the_article_s_outputs_are_a_picture_for_each_frame_the_curve_and_the_gif():
    context, (truth, predicted) = video(4), video(2)
    files = article_outputs(context, truth, predicted, [record(1), record(2)])
    inputs = [f"input_{number}.png" for number in (1, 2, 3, 4)]
    assert list(files) == [
        *inputs,
        "truth.png",
        "prediction.png",
        "mse_curve.png",
        "sequence.gif",
    ]
    assert files["input_3.png"] == frame_figure(context[2], "Input frame 3")
    assert files["truth.png"] == frame_figure(truth, "Ground truth")
    assert files["prediction.png"] == frame_figure(predicted, "Prediction")
    assert files["sequence.gif"] == gif(np.concatenate([context, predicted[None]]))
    assert opened(files["sequence.gif"]).n_frames == 5


def test_without_a_history_there_is_no_curve():
    assert "mse_curve.png" not in article_outputs(video(1), *video(2), [])


def test_files_are_written_into_a_folder_made_for_them(tmp_path):
    folder = tmp_path / "new" / "folder"
    write_files({"a.png": b"1", "b.gif": b"2"}, folder)
    write_files({"b.gif": b"3"}, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.png": b"1",
        "b.gif": b"3",
    }


def test_the_history_as_csv_has_a_row_for_each_step_and_the_scores_where_there_are_some():
    rows = list(csv.DictReader(io.StringIO(losses_csv([record(1, 0.25, 0.05), record(2, 0.5)]))))
    assert [row["step"] for row in rows] == ["1", "2"]
    first, second = rows
    assert (float(first["loss"]), float(first["mse"])) == (0.5, 0.25)
    scores = [name for name in first if name.startswith(("held_out", "black", "copy_last"))]
    assert {name: float(first[name]) for name in scores} == {
        "held_out_mse": 0.05,
        "held_out_mae": 0.2,
        "held_out_psnr": 10.0,
        "held_out_ssim": 0.5,
        "black_mse": 0.3,
        "black_ssim": 0.9,
        "copy_last_mse": 0.4,
        "copy_last_ssim": 0.8,
    }
    assert {second[name] for name in scores} == {""}
    assert None not in first and None not in first.values()
