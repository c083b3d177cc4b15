"""What viewers ask of the inside of a run's network: maps of a moment, a pixel, an experiment.

Everything here happens on the compute thread, between two pieces of work.
"""

import base64
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlstm.checks import SettingError, check_integer, check_names
from convlstm.files.pictures import sprite_sheet
from convlstm.layer.tracing import PARTS, CellTrace, Intervention, Part
from convlstm.networks.inside import Inside, look_inside, time_of
from convlstm.scenes.scene import Clip
from convlstm.server.experiment import donor_of, interventions_of
from convlstm.server.run import Run
from convlstm.server.view import Beyond
from convlstm.training.metrics import by_lead_time
from convlstm.training.picture import images_of
from convlstm.training.validation import scene_scores

MOST_CHANNELS = 16  # of which maps are sent at once
_MOST_BYTES = 2**28  # of all looks that are kept
_KEPT_SECONDS = 30.0  # after it was last asked for
_PAUSE = 12  # times what a look takes, before a run that trains is looked into again
_SIGNED = ("g", "h")  # from -1 to 1
_ASKED = ("cell", "channel", "channels", "moment", "pixel", "experiment")
_PIXEL = ("channel", "row", "column")


@dataclass(frozen=True)
class _Kept:
    """A look, as of some step."""

    step: int
    inside: Inside
    until: float  # a run that trains is not looked into again before
    asked_at: float


class Insides:
    """Looks inside the runs of a worker; those asked for last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()

    def look(self, run: Run, asked: object) -> dict[str, object]:
        """Answer a viewer who looks inside.

        Args:
            run: whose network.
            asked: `{"cell", "channel", "channels", "moment", "pixel", "experiment"}`: maps are
                drawn of that channel and those after it, as many as there are, up to "channels" in
                [1, 16]; moments are counted as on the page, a pixel is
                `{"channel", "row", "column"}`, an experiment a list as in `experiment`.

        Returns:
            The cells; maps of the channels as one picture, part after part (i, f, g, o, c, h);
            what a pixel is made of; with an experiment the predictions without and with it.

        Raises:
            SettingError: a value breaks a rule.
        """
        view, network = run.view, run.trainer.judged
        asked = check_names({} if asked is None else asked, _ASKED)
        readers, cells = network.readers(), network.cells()
        cell = check_integer("cell", asked.get("cell", 0), 0, len(cells) - 1)
        last = cells[cell].hidden_channels - 1
        channel = check_integer("channel", asked.get("channel", 0), 0, last)
        most = check_integer("channels", asked.get("channels", 1), 1, MOST_CHANNELS)
        channels = list(range(channel, min(channel + most, last + 1)))
        shown = run.shown
        clip = view.clip(shown)
        horizon = clip.clean.shape[1] - view.context_frames
        moment = check_integer("moment", asked.get("moment", 0), 1 - view.context_frames, horizon)

        plain = self._inside(run, shown, clip, None)
        changed = plain
        if experiment := asked.get("experiment"):
            if isinstance(shown, Beyond):
                raise SettingError("experiment", "after the end", "needs truth")
            interventions = interventions_of(
                experiment,
                network,
                view.context_frames,
                horizon,
                view.samples,
                lambda sample: self._inside(run, sample, view.clip(sample), None).inside,
            )
            changed = self._inside(run, shown, clip, (repr(experiment), interventions))
        inside, reader = changed.inside, readers[cell]
        answer: dict[str, object] = {
            "step": changed.step,
            "moment": moment,
            "cell": cell,
            "cells": [
                {"role": r.role, "number": r.number, "channels": c.hidden_channels}
                for r, c in zip(readers, cells, strict=True)
            ],
            "channels": channels,
            "side": reader.side,
            "reach": reader.reach,
            "hop": reader.hop,
            "travels": run.config.network.reach,
            "closed": run.config.network.rollout == "closed",
            "maps": None,
            "pixel": None,
            "experiment": None,
        }
        at = inside.time(cell, moment)
        if at is not None:
            parts = inside.cells[cell].at(at)
            answer |= _maps(parts, channels)
            if (pixel := asked.get("pixel")) is not None:
                answer["pixel"] = _pixel(inside.cells[cell], at, parts, pixel)
        if changed is not plain:
            compared = _compared(run, clip, plain.inside, inside)
            answer["experiment"] = compared
            told = compared["without"], compared["with"]
            if run.facts and run.facts.experimented(experiment, *told):
                run.version += 1
            if donor := donor_of(experiment):
                answer["experiment"]["donor"] = self._judged(run, shown, clip, donor, inside)
        return answer

    def _judged(
        self, run: Run, shown: object, clip: Clip, donor: tuple[int, int], changed: Inside
    ) -> dict[str, float]:
        """Judge the first frame predicted with another's memory, and with none at all.

        Returns:
            Its error against what followed here, "own", and there, "other"; and the error of the
            one without a memory against what followed here, "nothing".
        """
        (sample, moment), view = donor, run.view
        emptied = []
        for cell, reader in enumerate(changed.readers):
            at = max(0, time_of(reader, moment, view.context_frames))
            emptied += [Intervention(part, cell, start=at, stop=at + 1) for part in ("c", "h")]
        forgetful = self._inside(run, shown, clip, (f"nothing after {moment}", emptied))
        here, there = (each.split(view.context_frames) for each in (clip, view.clip(sample)))
        return {
            "own": _errors(run, changed, *here[1:])[0],
            "other": _errors(run, changed, *there[1:])[0],
            "nothing": _errors(run, forgetful.inside, *here[1:])[0],
        }

    def _inside(
        self, run: Run, shown: object, clip: Clip, experiment: tuple[str, list] | None
    ) -> _Kept:
        """Return a look, which may be some steps old while the run trains."""
        trainer, view = run.trainer, run.view
        key = view, shown, experiment and experiment[0]
        kept = self._kept.get(key)
        now = time.monotonic()
        is_new = kept and kept.step == trainer.step
        if kept is None or not (is_new or (run.wants_training and now < kept.until)):
            context, truth, _ = clip.split(view.context_frames)
            interventions = experiment[1] if experiment else ()
            inside = look_inside(
                trainer.judged.eval(), context.to(trainer.device), truth.shape[1], interventions
            )
            done = time.monotonic()
            kept = _Kept(trainer.step, inside, done + _PAUSE * (done - now), now)
        self._kept[key] = replace(kept, asked_at=now)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self._bytes() > _MOST_BYTES:
            self._kept.popitem(last=False)
        return kept

    def forget_old(self) -> None:
        """Free the memory of looks that nobody has asked for lately."""
        now = time.monotonic()
        for key, kept in list(self._kept.items()):
            if now - kept.asked_at > _KEPT_SECONDS:
                del self._kept[key]

    def _bytes(self) -> int:
        return sum(kept.inside.bytes for kept in self._kept.values())


def _maps(parts: Mapping[Part, Tensor], channels: list[int]) -> dict[str, object]:
    """Draw maps on scales that never change; of c, which has no bounds, tanh is drawn."""
    frames = []
    for part in PARTS:
        values = parts[part][0, channels].float()
        if part == "c":
            values = values.tanh()
        frames.append((values + 1) / 2 if part in (*_SIGNED, "c") else values)
    stacked = torch.cat(frames).cpu().numpy()
    return {
        "maps": base64.b64encode(sprite_sheet(stacked)).decode(),
        "width": stacked.shape[2],
        "height": stacked.shape[1],
        "largest": parts["c"].abs().max().item(),
    }


def _pixel(
    traced: CellTrace, time: int, parts: Mapping[Part, Tensor], pixel: object
) -> dict[str, object]:
    """Say what a pixel is made of."""
    given = check_names(pixel, _PIXEL)
    limits = zip(_PIXEL, parts["c"].shape[1:], strict=True)
    channel, row, column = (check_integer(n, given.get(n), 0, size - 1) for n, size in limits)
    state = traced.states[time]
    here = 0, channel, row, column
    return {
        "channel": channel,
        "row": row,
        "column": column,
        "gates": traced.terms(time, channel, row, column),
        "before": state[1][here].item() if state else 0.0,
        "c": parts["c"][here].item(),
        "h": parts["h"][here].item(),
    }


def _compared(run: Run, clip: Clip, plain: Inside, changed: Inside) -> dict[str, object]:
    """Say what an experiment changes in the prediction."""
    _, truth, valid = clip.split(run.view.context_frames)
    scene = run.config.scene
    frames = images_of(scene, torch.cat([plain.predicted, changed.predicted], 1))
    sprites = sprite_sheet(scene.look.on_scale(frames))
    return {
        "without": _errors(run, plain, truth, valid),
        "with": _errors(run, changed, truth, valid),
        "donor": None,
        "sprites": base64.b64encode(sprites).decode(),
    }


def _errors(run: Run, inside: Inside, truth: Tensor, valid: Tensor | None) -> list[float]:
    """Return the errors of a prediction for each lead time, as a person reads them."""
    scene = run.config.scene
    scores = scene_scores(scene, inside.predicted.cpu(), truth, valid)
    return [scene.measure.of(each.mse) for each in by_lead_time(scores)]
