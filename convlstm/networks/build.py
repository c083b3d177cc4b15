"""Makes networks of their configurations."""

import torch

from convlstm.networks.config import Architecture, FrameFormat, NetworkConfig
from convlstm.networks.multiscale import MultiScale
from convlstm.networks.network import Network
from convlstm.networks.stack import Stack

_ARCHITECTURES: dict[Architecture, type[Network]] = {"stack": Stack, "multiscale": MultiScale}


def copy_network(network: Network) -> Network:
    """Return a network of the same weights, where it is, that no training changes."""
    device = next(network.parameters()).device
    copied = build_network(network.config, network.frames, device=device)
    copied.load_state_dict(network.state_dict())
    return copied.eval()


def build_network(
    config: NetworkConfig,
    frames: FrameFormat,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Network:
    """Make a network whose weights come from the generator alone, then move it to the device.

    The global random state is neither read nor changed: runs share a process.

    Args:
        config: the sizes and options.
        frames: what the frames are like.
        generator: draws the weights; None leaves them to be loaded, with nothing in them.
        device: where it shall be; on "meta" there are no weights to draw.
    """
    with torch.device("meta"):
        network = _ARCHITECTURES[config.architecture](config, frames)
    if torch.device(device).type == "meta":
        return network
    network.to_empty(device="cpu" if generator else device)
    if generator:
        network.reset_parameters(generator)
    return network.to(device)
