"""The encoder-forecaster on several scales."""

import pytest
import torch
from torch import nn

from convlstm.networks.multiscale import Attention
from tests.networks.test_network import KINDS, MULTI, count, frames, make


def test_attention_adds_nothing_at_first_and_then_looks_at_every_position():
    network = make(**KINDS["multiscale, attention"])
    attention = next(m for m in network.modules() if isinstance(m, Attention))
    x = frames(1, attention.norm.num_channels, 4, 4)
    assert torch.equal(attention(x), x)
    nn.init.ones_(attention.output.weight)
    x.requires_grad_()
    (attention(x) - x)[0, 0, 0, 0].backward()
    assert x.grad[0, :, 3, 3].any()


@pytest.mark.parametrize("option", ["residual", "attention"])
def test_an_option_adds_parameters_and_changes_the_output(option):
    base = {**MULTI, "residual": False}
    context = frames(1, 3, 1, 16, 16)
    plain, other = make(**base), make(**{**base, option: True})
    assert count(other) > count(plain)
    assert not torch.allclose(plain(context, 2), other(context, 2))


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": True, "hidden_channels": 100, "num_layers": 2},
        {"rollout": "states", "hidden_channels": 4, "num_layers": 1},
        {"residual": True, "hidden_channels": 3, "num_layers": 1},
    ],
)
def test_widths_that_do_not_divide_and_single_scales_work_too(settings):
    network = make(architecture="multiscale", patch_size=4, **settings)
    assert network(frames(1, 2, 1, 16, 16), 2).isfinite().all()


def test_only_the_finest_scale_has_the_kernel_asked_for():
    network = make(**{**MULTI, "kernel_size": 7})
    sizes = [block.convlstm.cells[0].gates.kernel_size for block in network.encoder]
    assert sizes == [(7, 7), (3, 3), (3, 3)]
    widths = [block.convlstm.cells[0].hidden_channels for block in network.encoder]
    assert widths == [4, 8, 16]


def test_the_names_in_a_state_dict_stay_as_they_are():
    network = make(
        architecture="multiscale", num_layers=2, residual=True, attention=True, peephole=True
    )
    block = [
        "convlstm.cells.0.peephole",
        "convlstm.cells.0.gates.weight",
        "convlstm.cells.0.gates.bias",
        "shortcut.weight",
        "shortcut.bias",
    ]
    attention = [
        f"attention.{part}.{kind}"
        for part in ("norm", "queries_keys_values", "output")
        for kind in ("weight", "bias")
    ]
    assert set(network.state_dict()) == {
        *(f"encoder.0.{name}" for name in block),
        *(f"encoder.1.{name}" for name in block + attention),
        *(f"forecaster.0.{name}" for name in block),
        *(f"{part}.{kind}" for part in ("down.0", "up.0", "head") for kind in ("weight", "bias")),
    }
