"""What the page and the API ask of the shipped forecaster; nothing raises."""

import asyncio
import base64
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from convlstm.checks import SettingError
from convlstm.digits import DigitsConfig
from convlstm.forecast_checkpoint import ForecastCheckpoint, load_forecaster, read_forecaster
from convlstm.forecast_view import SAMPLES, ForecastPicture, drawing_picture, sample_picture
from convlstm.forecaster import Forecaster
from convlstm.render import sprite_sheet
from convlstm.safe_files import CheckpointError
from convlstm.ui.notices import Reply, refusal

_log = logging.getLogger(__name__)

SHIPPED_FORECASTER = Path(__file__).parents[2] / "checkpoints" / "moving-mnist-compact.safetensors"


class Forecasts:
    """Requests to one forecaster, which is read when the first of them comes.

    Args:
        file: its checkpoint.
    """

    def __init__(self, file: Path = SHIPPED_FORECASTER) -> None:
        self._file = file
        self._loaded: tuple[Forecaster, ForecastCheckpoint] | None = None
        self._turn = asyncio.Lock()  # one at a time: training shares the machine

    async def sample(self, sample: object) -> Reply:
        """Forecast a sequence of unseen digits.

        Args:
            sample: which, from 0.

        Returns:
            The sprites and scores of a forecast, or a notice.
        """
        reply = await self._draw(
            lambda model, scene, augmented: sample_picture(
                model, scene, sample, augmented=augmented
            )
        )
        return reply if "notice" in reply else {**reply, "sample": int(sample), "samples": SAMPLES}

    async def drawing(self, drawing: object, angle: object) -> Reply:
        """Set a drawn digit moving, and forecast how it goes on.

        Args:
            drawing: 56 x 56 grey values, row by row, 0 to 255.
            angle: its direction in degrees, 0 to the right and 90 downwards.

        Returns:
            The sprites and scores of a forecast, or a notice.
        """
        return await self._draw(
            lambda model, scene, augmented: drawing_picture(
                model, scene, drawing, angle, augmented=augmented
            )
        )

    async def _draw(
        self, draw: Callable[[Forecaster, DigitsConfig, bool], ForecastPicture]
    ) -> Reply:
        async with self._turn:
            try:
                return await asyncio.to_thread(self._reply, draw)
            except SettingError as error:
                return {"notice": refusal(error)}
            except CheckpointError as error:
                _log.warning("no shipped forecaster: %s", error)
                return {"notice": {"key": "no forecaster", "text": str(error)}}

    def _reply(self, draw: Callable[[Forecaster, DigitsConfig, bool], ForecastPicture]) -> Reply:
        if self._loaded is None:
            checkpoint = read_forecaster(self._file)
            self._loaded = load_forecaster(checkpoint), checkpoint
        model, checkpoint = self._loaded
        picture = draw(model, checkpoint.config.scene, checkpoint.config.augmented)
        frames = np.concatenate([picture.context, picture.truth, picture.predicted])
        return {
            "canvas": frames.shape[-1],
            "context": len(picture.context),
            "sprites": base64.b64encode(sprite_sheet(frames)).decode(),
            "scores": [{"ssim": row.ssim, "mse": row.mse} for row in picture.model],
            "copyLast": [{"ssim": row.ssim, "mse": row.mse} for row in picture.copy_last],
            "black": [{"ssim": row.ssim, "mse": row.mse} for row in picture.black],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "sequences": checkpoint.about.get("sequences"),
        }
