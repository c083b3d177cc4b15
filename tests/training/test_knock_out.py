"""Channels silenced one by one."""

import pytest
import torch
from torch import nn

from convlstm.layer import ConvLSTMCell
from convlstm.pieces import finish
from convlstm.training.knock_out import knock_out
from convlstm.training.trainer import Trainer
from tests.server.helpers import SCENES, small_of


def network_of(scene: str, **settings: object):
    config = small_of(scene, **settings)
    return Trainer(config).network.eval(), config


@pytest.mark.parametrize("scene", SCENES)
def test_each_channel_is_judged_as_if_nothing_ever_came_of_it(scene):
    """A channel whose output is 0 is one whose output nobody reads: neither head nor gates."""
    network, config = network_of(scene, num_layers=1, residual=False)
    found = finish(knock_out(network, config))
    cell = next(each for each in network.modules() if isinstance(each, ConvLSTMCell))
    channels = cell.hidden_channels
    assert sorted((each.cell, each.channel) for each in found.channels) == [
        (0, n) for n in range(channels)
    ]
    assert [e.mse for e in found.channels] == sorted((e.mse for e in found.channels), reverse=True)
    clip = config.scene.validation(config.context_frames, config.horizon)
    clip = clip.part(slice(0, found.sequences))
    context, truth, valid = clip.split(config.context_frames)

    def mse() -> float:
        error = (network.predict(context, config.horizon) - truth)[:, :, config.scene.scored]
        counts = torch.ones_like(error) if valid is None else valid[:, :, config.scene.scored]
        return ((error.square() * counts).sum() / counts.sum()).item()

    assert found.mse == pytest.approx(mse(), rel=1e-4)
    for each in found.channels:
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.no_grad():
            for layer in network.head.modules():  # a head may be of several convolutions
                if isinstance(layer, nn.Conv2d):
                    layer.weight[:, each.channel] = 0
            cell.gates.weight[:, cell.in_channels + each.channel] = 0
        assert each.mse == pytest.approx(mse(), rel=1e-4)
        network.load_state_dict(kept)


def test_the_work_is_told_in_small_rising_shares():
    network, config = network_of("squares", num_layers=2)
    shares = list(knock_out(network, config))
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) >= 7
