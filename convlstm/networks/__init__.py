"""Networks: a stack of layers, and the multi-scale encoder-forecaster, behind one interface."""

from convlstm.networks.build import build_network, copy_network
from convlstm.networks.config import FrameFormat, NetworkConfig
from convlstm.networks.network import Network

__all__ = ["FrameFormat", "Network", "NetworkConfig", "build_network", "copy_network"]
