"""Looks inside whole networks: that they show what the network really did, and how far it saw."""

from dataclasses import replace

import pytest
import torch

from convlstm.layer import Intervention
from convlstm.networks import build_network
from convlstm.networks.config import FrameFormat, NetworkConfig
from convlstm.networks.inside import look_inside

SEEN, HORIZON, SIDE = 4, 3, 32
CONFIGS = {
    "stack": NetworkConfig(4, kernel_size=3, num_layers=2),
    "patches": NetworkConfig(4, kernel_size=3, patch_size=2, output="change"),
    "transport": NetworkConfig(4, kernel_size=3, patch_size=4, output="transport"),
    "states": NetworkConfig(4, kernel_size=3, rollout="states"),
    "multiscale": NetworkConfig(4, kernel_size=3, num_layers=3, architecture="multiscale"),
    "multiscale states": NetworkConfig(
        4, kernel_size=3, num_layers=3, architecture="multiscale", rollout="states"
    ),
    "attention": NetworkConfig(
        4, kernel_size=3, num_layers=2, architecture="multiscale", attention=True, residual=True
    ),
}


def network_of(config: NetworkConfig):
    return build_network(config, FrameFormat(), torch.Generator().manual_seed(2)).eval()


def context(batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(batch, SEEN, 1, SIDE, SIDE, generator=generator)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_prediction_is_the_networks_own(name):
    network = network_of(CONFIGS[name])
    inside = look_inside(network, context(), HORIZON)
    torch.testing.assert_close(inside.predicted, network.predict(context(), HORIZON))
    assert len(inside.cells) == len(inside.readers) == len(network.cells())
    assert inside.bytes > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_a_moments_frame_is_where_the_readers_say(name):
    network = network_of(CONFIGS[name])
    whole = look_inside(network, context(), HORIZON)
    for n, reader in enumerate(whole.readers):
        first = 0 if reader.late else 1 - SEEN
        assert whole.time(n, first) == 0 and whole.time(n, first - 1) is None
        # The state after the newest frame seen: that of a network that predicts one frame alone.
        short = look_inside(network, context(), 1)
        assert torch.equal(
            whole.cells[n].at(whole.time(n, 0))["c"], short.cells[n].at(short.time(n, 0))["c"]
        )
        last = whole.time(n, HORIZON)
        reads_on = last is not None
        only_sees = reader.role == "encoder" and network.config.rollout == "states"
        assert reads_on or (only_sees and reader.number < len(network.encoder) - 1)
        if reads_on:
            assert last == len(whole.cells[n]) - 1


def test_a_cell_at_a_moment_has_read_that_moments_frame():
    network = network_of(CONFIGS["stack"])
    inside = look_inside(network, context(), HORIZON)
    cell = inside.cells[0]
    assert torch.equal(cell.x[inside.time(0, 0)], context()[:, -1])
    torch.testing.assert_close(cell.x[inside.time(0, 2)], inside.predicted[:, 1])


@pytest.mark.parametrize("name", CONFIGS)
def test_an_intervention_acts_on_the_cell_that_it_names(name):
    network = network_of(CONFIGS[name])
    plain = look_inside(network, context(), HORIZON)
    for n in range(len(plain.cells)):
        changed = look_inside(network, context(), HORIZON, [Intervention("h", cell=n)])
        assert changed.cells[n].all("h").abs().max() == 0
        others = [k for k in range(len(plain.cells)) if k != n]
        assert all(changed.cells[k].all("h").abs().max() > 0 for k in others)


@pytest.mark.parametrize("name", ["stack", "patches", "multiscale"])
@pytest.mark.parametrize("moment", [-1, 0])
def test_nothing_beyond_the_field_of_view_reaches_a_pixel(name, moment):
    """The gradient of a pixel of h is zero outside, and is not at the edge of what a stack sees."""
    network = network_of(CONFIGS[name])
    x = context().requires_grad_()
    states = []
    for cell in network.cells():
        cell.register_forward_hook(lambda cell, given, after: states.append((cell, after[0])))
    network(x, 1)
    for cell, reader in zip(network.cells(), network.readers(), strict=True):
        if reader.reach is None:
            continue
        h = [h for of, h in states if of is cell][SEEN - 1 + moment]
        middle = h.shape[-1] // 2
        gradient = torch.autograd.grad(h[0, 0, middle, middle], x, retain_graph=True)[0]
        for lag in range(SEEN + moment):
            seen = gradient[0, SEEN - 1 + moment - lag, 0].abs().sum(0) > 0  # by column
            radius = reader.reach + lag * reader.hop
            left, right = middle * reader.side - radius, (middle + 1) * reader.side + radius
            assert not seen[: max(0, left)].any() and not seen[right:].any()
            if network.config.architecture == "stack":
                assert seen[max(0, left)] and seen[min(SIDE, right) - 1]
        later = gradient[0, SEEN + moment :]
        assert not later.any()


def test_a_sequence_and_its_mirror_look_alike_in_a_symmetric_network():
    network = network_of(replace(CONFIGS["stack"], kernel_size=1))
    one = look_inside(network, context(), HORIZON)
    other = look_inside(network, context().flip(-1), HORIZON)
    torch.testing.assert_close(one.cells[1].all("c"), other.cells[1].all("c").flip(-1))
