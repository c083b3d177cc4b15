"""Parts of a network against the network itself."""

import pytest
import torch
from torch import Tensor

from convlstm.networks import FrameFormat, Network, NetworkConfig, build_network
from convlstm.networks.parts import Forecast, Part, Step

MULTISCALE = {"architecture": "multiscale", "num_layers": 2}
NORMALISED = FrameFormat(2, (0.5, 0.4), (0.1, 0.2))
# Every option of a network, by what it does to a rollout; with the frames that it reads.
NETWORKS: dict[str, tuple[dict[str, object], FrameFormat]] = {
    "plain": ({}, FrameFormat()),
    "peephole": ({"peephole": True, "output": "linear"}, FrameFormat()),
    "layers": ({"num_layers": 2, "residual": True, "patch_size": 2}, FrameFormat()),
    "normalised": ({"output": "change", "recompute": True, "forget_bias": 0.0}, NORMALISED),
    "transport": ({"output": "transport", "patch_size": 2}, NORMALISED),
    "transport, states": (
        {"output": "transport", "rollout": "states", "patch_size": 2},
        NORMALISED,
    ),
    "states": ({"rollout": "states", "patch_size": 2}, FrameFormat()),
    "states, change": ({"rollout": "states", "output": "change"}, NORMALISED),
    "multiscale": (MULTISCALE, FrameFormat()),
    "attention": (
        {**MULTISCALE, "attention": True, "residual": True, "peephole": True, "output": "change"},
        NORMALISED,
    ),
    "multiscale, states": (
        {**MULTISCALE, "rollout": "states", "output": "change", "patch_size": 2},
        FrameFormat(),
    ),
    "one scale": ({"architecture": "multiscale", "num_layers": 1}, FrameFormat()),
}


def made(name: str) -> Network:
    """A network of NETWORKS whose every weight matters."""
    settings, frames = NETWORKS[name]
    config = NetworkConfig(**{"hidden_channels": 4, "kernel_size": 3, **settings})
    generator = torch.Generator().manual_seed(0)
    network = build_network(config, frames, generator).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.4 * torch.randn(weights.shape, generator=generator)
    return network


def context_of(network: Network, *sizes: int) -> Tensor:
    """Frames of (B, T, H, W), with the network's channels."""
    B, T, H, W = sizes
    generator = torch.Generator().manual_seed(1)
    return torch.rand(B, T, network.frames.channels, H, W, generator=generator)


def stepped(part: Part, call, context: Tensor, horizon: int) -> Tensor:
    """Forecast with a step alone: the context frame by frame, then its own predictions."""
    B, T, _, H, W = context.shape
    given = dict(zip([port.name for port in part.inputs], part.examples(B, H, W), strict=True))
    carried = [port.name for port in part.inputs if port.name not in ("frame", "seen")]
    frames = []
    for time in range(T + horizon - 1):
        given["frame"] = context[:, time] if time < T else frames[-1]
        if "seen" in given:
            given["seen"] = torch.tensor(time < T)
        prediction, *after = call(*given.values())
        given |= zip(carried, after, strict=True)
        frames.append(prediction)
    return torch.stack(frames[-horizon:], 1)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_steps_with_the_states_handed_on_forecast_as_the_network_does(name: str) -> None:
    network = made(name)
    side = 4 * network.config.divisor
    context = context_of(network, 2, 4, side, side + network.config.divisor)
    expected = network.predict(context, 3)
    assert expected.std() > 0.02
    part = Step(network)
    torch.testing.assert_close(stepped(part, part, context, 3), expected, rtol=0, atol=1e-5)
    assert torch.equal(Forecast(network, 4, 3)(context), expected)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_part_takes_and_gives_what_its_ports_say(name: str) -> None:
    network = made(name)
    H, W = 2 * network.config.divisor, 3 * network.config.divisor
    for part in (Step(network), Forecast(network, 2, 3)):
        given = part.examples(2, H, W)
        results = part(*given)
        results = results if isinstance(results, tuple) else (results,)
        for ports, tensors in ((part.inputs, given), (part.outputs, results)):
            assert len({port.name for port in ports}) == len(ports)
            for port, tensor in zip(ports, tensors, strict=True):
                sides = (H // port.side, W // port.side) if port.side else ()
                expected = (2, *port.between, *sides) if port.side else ()
                assert tensor.shape == expected, port


def test_only_a_network_that_reads_predictions_in_another_way_asks_what_was_seen() -> None:
    asks = {name for name in NETWORKS if "seen" in [port.name for port in Step(made(name)).inputs]}
    silent = {"plain", "peephole", "layers", "normalised", "transport", "one scale"}
    assert asks == NETWORKS.keys() - silent
