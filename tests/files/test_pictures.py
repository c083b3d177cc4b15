"""Pictures: read back with Pillow, they hold the frames they were made of."""

import csv
import io
import math

import numpy as np
import pytest
from PIL import Image, ImageSequence

from convlstm.files.pictures import (
    bars_figure,
    curve_figure,
    frame_figure,
    gif,
    label_of,
    lead_time_figure,
    losses_csv,
    picture_files,
    sequence_figure,
    sprite_sheet,
    to_bytes,
    unit_of,
    write_files,
)
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.digits import Digits
from convlstm.scenes.scene import Look, Measure
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import Trainer
from convlstm.training.metrics import Evaluation, Scores
from convlstm.training.picture import Picture, make_picture
from convlstm.training.presets import default_config
from convlstm.training.records import StepRecord


def video(T: int = 5, H: int = 12, W: int = 16) -> np.ndarray:
    return np.random.default_rng(0).random((T, H, W), dtype=np.float32)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def record(step: int, mse: float = 0.1, validation: float | None = None) -> StepRecord:
    """A step with the error given, and perhaps its evaluation beside black and copied frames."""
    evaluation = validation and Evaluation(
        Scores(validation, 0.2, 10.0, 0.5, 0.6),
        {
            "copy_last": Scores(0.4, 0.4, 8.0, 0.8, 0.85),
            "black": Scores(0.3, 0.3, 9.0, 0.9, 0.95),
        },
        1,
    )
    loss = validation and 3 * validation
    return StepRecord(step, 0.0, 1, 2 * mse, mse, 0.01, step / 3, loss, evaluation)


def picture_of(context: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Picture:
    """A picture with SSIMs of its own, of everything known."""

    def rows(start: float) -> list[Scores]:
        return [Scores(0.1, 0.1, 10.0, start + lead / 10, 0.9) for lead in range(len(truth))]

    baselines = {"copy_last": rows(0.1), "black": rows(0.2)}
    return Picture("sample 3", context, truth, predicted, None, None, rows(0.3), baselines)


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


def test_a_curve_shows_the_validation_line_once_there_is_an_evaluation():
    orange = (200, 90, 0)
    without = opened(curve_figure([record(step, 0.1 / step) for step in range(1, 20)]))
    assert not has_colour(without, *orange)
    records = [record(step, 0.1 / step, 0.05 / step) for step in range(1, 20)]
    assert has_colour(opened(curve_figure(records)), *orange)


@pytest.mark.parametrize(
    "records",
    [
        [record(1)],
        [record(1, validation=0.5)],
        [record(1, 0.1), record(2, 0.0)],
        [record(1, math.nan)],
        [record(1, 0.1), record(2, math.inf)],
        [record(1, 0.1, 0.2), record(2, math.nan)],
    ],
)
def test_a_curve_can_be_drawn_of_any_history(records):
    assert opened(curve_figure(records)).size == (840, 480)


ARTICLE = ["truth.png", "prediction.png", "mse_curve.png", "sequence.gif"]
FORECAST = ["forecast.png", "ssim_by_lead_time.png", "truth_and_prediction.gif"]


def test_the_article_s_files_are_a_picture_for_each_frame_the_curve_and_the_gif():
    context, truth, predicted = video(4), video(2)[:1], video(2)[1:]
    records = [record(1), record(2)]
    files = picture_files(picture_of(context, truth, predicted), records)
    inputs = [f"input_{number}.png" for number in (1, 2, 3, 4)]
    assert list(files) == [*inputs, *ARTICLE]
    assert files["input_3.png"] == frame_figure(context[2], "Input frame 3")
    assert files["truth.png"] == frame_figure(truth[0], "Ground truth")
    assert files["prediction.png"] == frame_figure(predicted[0], "Prediction")
    assert files["mse_curve.png"] == curve_figure(records)
    assert files["sequence.gif"] == gif(np.concatenate([context, predicted]))
    assert opened(files["sequence.gif"]).n_frames == 5


def test_without_a_history_there_is_no_curve():
    picture = picture_of(video(1), video(2)[:1], video(2)[1:])
    assert "mse_curve.png" not in picture_files(picture, [])


def test_a_forecast_has_three_files_more():
    context, truth, predicted = video(2), video(3), 1 - video(3)
    picture = picture_of(context, truth, predicted)
    files = picture_files(picture, [])
    assert list(files)[-4:] == ["sequence.gif", *FORECAST]
    assert files["forecast.png"] == sequence_figure(picture, "sample 3, SSIM 0.400")
    assert files["ssim_by_lead_time.png"] == lead_time_figure(picture.scores, picture.baselines)
    assert files["truth.png"] == frame_figure(truth[0], "Ground truth")
    both = opened(files["truth_and_prediction.gif"])
    assert both.n_frames == 5
    assert both.size == (4 * (2 * 16 + 1), 4 * 12)  # a line lies between
    for image, left, right in zip(
        ImageSequence.Iterator(both),
        np.concatenate([context, truth]),
        np.concatenate([context, predicted]),
        strict=True,
    ):
        assert image.info["duration"] == 200
        pixels = np.asarray(image.convert("L"))[::4, ::4].astype(int)
        assert np.abs(pixels[:, :16] - to_bytes(left)).max() <= 2
        assert np.abs(pixels[:, 16] - 128).max() <= 2
        assert np.abs(pixels[:, 17:] - to_bytes(right)).max() <= 2


def test_a_sequence_s_figure_has_a_column_for_each_frame_of_the_longest_row():
    few = opened(sequence_figure(picture_of(video(2), video(3), video(3)), "a"))
    many = opened(sequence_figure(picture_of(video(9), video(3), video(3)), "a"))
    assert (few.width, many.width) == (440, 990)
    assert few.height == many.height == 506


def test_an_error_has_a_colour_for_each_sign():
    black, white = np.zeros((3, 8, 8), np.float32), np.ones((3, 8, 8), np.float32)
    too_dark = opened(sequence_figure(picture_of(black, white, black), "a"))
    too_bright = opened(sequence_figure(picture_of(black, black, white), "a"))
    purple, orange = (45, 0, 75), (127, 59, 8)
    assert has_colour(too_dark, *purple) and not has_colour(too_dark, *orange)
    assert has_colour(too_bright, *orange) and not has_colour(too_bright, *purple)


def test_lead_times_are_drawn_beside_every_baseline():
    picture = picture_of(video(2), video(3), video(3))
    alone = lead_time_figure(picture.scores, {})
    beside = lead_time_figure(picture.scores, picture.baselines)
    assert opened(alone).size == opened(beside).size == (572, 396)
    assert has_colour(opened(alone), 200, 90, 0)
    assert alone != beside


def test_bars_are_drawn_for_whoever_has_values():
    figure = opened(bars_figure({"one": [0.5, 0.7], "two": [], "three": [0.6]}, "Study", "SSIM"))
    assert figure.format == "PNG"
    assert has_colour(figure, 200, 90, 0)


@pytest.mark.parametrize("scene", CATALOGUE)
def test_every_scene_s_pictures_can_be_drawn_before_any_training(scene):
    settings = {"hidden_channels": 2, "num_layers": 1, "residual": False, "context_frames": 1}
    config = configure(settings, default_config(scene))
    own, trainer = config.scene, Trainer(config)
    picture = make_picture("sample 1", own, own.shown(0, 1, 2), 1, trainer.predict)
    records = [record(1, 0.1, 0.2)]
    files = picture_files(picture, records, own.look, own.measure)
    assert list(files)[-7:] == [*ARTICLE, *FORECAST]
    for name, content in files.items():
        assert opened(content).format == name.rpartition(".")[2].upper()
    red, _, blue = np.asarray(opened(files["truth.png"]).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(red, blue) == (scene in ("squares", "digits"))


def test_a_map_is_shown_in_colours_and_units():
    frame = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    figure = opened(frame_figure(frame, "Map", Look("map", 960, 1070, "hPa")))
    for colour in ((0, 34, 78), (254, 232, 56)):  # cividis from one end to the other
        assert has_colour(figure, *colour)
        assert not has_colour(opened(frame_figure(frame, "Map")), *colour)


def test_what_nobody_knows_is_transparent_in_a_sprite_sheet():
    frames = video()
    known = np.random.default_rng(1).random(frames.shape) < 0.5
    sheet = opened(sprite_sheet(frames, known))
    assert (sheet.format, sheet.mode, sheet.size) == ("PNG", "LA", (16, 5 * 12))
    grey, alpha = np.asarray(sheet).reshape(5, 12, 16, 2).transpose(3, 0, 1, 2)
    assert np.array_equal(grey, to_bytes(frames))
    assert np.array_equal(alpha, 255 * known)


def test_an_error_is_told_in_its_scene_s_measure():
    assert unit_of(Measure()) == "MSE per pixel"
    assert unit_of(Digits().measure) == "MSE summed over a frame"
    assert unit_of(Storm().measure) == "RMSE in hPa"
    assert label_of("copy_last") == "copy-last"
    assert label_of("black") == "black frame"
    assert label_of("climatology") == "climatology"


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
    assert (first["horizon"], first["learning_rate"], first["seconds"]) == ("1", "0.01", "0.333")
    scores = [name for name in first if name.startswith(("validation", "black", "copy_last"))]
    assert {name: float(first[name]) for name in scores} == {
        "validation_loss": pytest.approx(0.15),
        "validation_mse": 0.05,
        "validation_mae": 0.2,
        "validation_psnr": 10.0,
        "validation_ssim": 0.5,
        "validation_ssim_openstl": 0.6,
        "copy_last_mse": 0.4,
        "copy_last_ssim": 0.8,
        "black_mse": 0.3,
        "black_ssim": 0.9,
    }
    assert {second[name] for name in scores} == {""}
    assert None not in first and None not in first.values()


def test_a_history_without_an_evaluation_has_no_baselines_in_its_csv():
    rows = list(csv.DictReader(io.StringIO(losses_csv([record(1), record(2)]))))
    assert [row["mse"] for row in rows] == ["0.1", "0.1"]
    assert not any(name.startswith(("black", "copy_last")) for name in rows[0])
    assert None not in rows[0] and None not in rows[0].values()
    assert losses_csv([]).count("\n") == 1
