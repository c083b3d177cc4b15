import asyncio
import base64
import io

import pytest
from PIL import Image

from convlstm.forecast_checkpoint import save_forecaster
from convlstm.forecasting import ForecastTrainer, forecast_config
from convlstm.ui.forecasts import Forecasts


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    trainer = ForecastTrainer(forecast_config({"hidden_channels": 4, "num_layers": 1}))
    save_forecaster(trainer, file)
    return Forecasts(file)


def test_a_sample_comes_with_its_sprites_and_scores(forecasts):
    reply = asyncio.run(forecasts.sample(2.0))  # as JSON may say it
    assert reply["sample"] == 2
    image = Image.open(io.BytesIO(base64.b64decode(reply["sprites"])))
    assert image.size == (64, 30 * 64)
    for name in ("scores", "copyLast", "black"):
        assert len(reply[name]) == 10
        assert set(reply[name][0]) == {"ssim", "mse"}


@pytest.mark.parametrize("sample", [None, -1, 20, "x", [], 1e9])
def test_a_sample_that_is_not_there_is_a_notice(forecasts, sample):
    reply = asyncio.run(forecasts.sample(sample))
    assert reply["notice"]["name"] == "sample"


def test_a_drawing_is_continued_and_rubbish_is_a_notice(forecasts):
    drawing = [0] * 1500 + [255] * 100 + [0] * 1536
    assert len(asyncio.run(forecasts.drawing(drawing, 45))["scores"]) == 10
    assert asyncio.run(forecasts.drawing(drawing, "up"))["notice"]["name"] == "angle"
    assert asyncio.run(forecasts.drawing(None, 45))["notice"]["name"] == "drawing"


def test_without_a_checkpoint_the_page_says_so(tmp_path):
    reply = asyncio.run(Forecasts(tmp_path / "missing").sample(0))
    assert reply["notice"]["key"] == "no forecaster"
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    reply = asyncio.run(Forecasts(tmp_path / "rubbish").sample(0))
    assert "no checkpoint" in reply["notice"]["text"]
