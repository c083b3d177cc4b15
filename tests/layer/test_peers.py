"""The layer against others that this project did not write; nn.LSTM and nn.GRU are elsewhere."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from convlstm.layer import ConvLSTM, ConvLSTM1d, ConvLSTM3d
from tests.layer.test_options import seeded

LAYERS = {1: ConvLSTM1d, 2: ConvLSTM, 3: ConvLSTM3d}
# Keras dilates the frame's kernels only, and pads a strided frame of even sides at its far edges
# more: so the state's kernels are their middles where there is a dilation, and sides are odd.
CASES = [
    *({"rank": rank, "kernel_size": 3} for rank in LAYERS),
    *({"rank": rank, "kernel_size": 3, "strides": 2} for rank in LAYERS),
    *({"rank": rank, "kernel_size": 3, "dilation_rate": 2, "centred": True} for rank in LAYERS),
    {"rank": 2, "kernel_size": [3, 5], "strides": [1, 2]},
    {"rank": 3, "kernel_size": [1, 3, 5], "strides": [2, 1, 2]},
    {"rank": 2, "kernel_size": [5, 3], "dilation_rate": [1, 2], "centred": True},
    {"rank": 1, "kernel_size": 5, "go_backwards": True},
]


@pytest.fixture(scope="module")
def keras_says(tmp_path_factory) -> dict[str, np.ndarray]:
    home = tmp_path_factory.mktemp("keras")
    program = Path(__file__).with_name("keras_says.py")
    subprocess.run(
        [sys.executable, program, json.dumps(CASES), home / "found.npz"],
        env=os.environ
        | {"KERAS_BACKEND": "torch", "KERAS_HOME": str(home), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=240,
    )
    with np.load(home / "found.npz") as file:
        return dict(file)


def channels_second(array: np.ndarray, axis: int) -> torch.Tensor:
    return torch.from_numpy(array).movedim(-1, axis)


def sizes(value: int | list[int]) -> int | tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: str(CASES[n]))
def test_keras_s_layer_with_the_same_weights_gives_the_same(number, keras_says):
    case, get = CASES[number], lambda name: keras_says[f"{number} {name}"]
    rank = case["rank"]
    layer = LAYERS[rank](
        2,
        3,
        [sizes(case["kernel_size"])],
        stride=[sizes(case.get("strides", 1))],
        dilation=[sizes(case.get("dilation_rate", 1))],
    )
    kernels = [torch.from_numpy(get(name)) for name in ("kernel", "recurrent")]  # (..., in, out)
    with torch.no_grad():
        weight = torch.cat(kernels, rank).movedim((-1, -2), (0, 1))
        layer.cells[0].gates.weight.copy_(weight)
        layer.cells[0].gates.bias.copy_(torch.from_numpy(get("bias")))
        x = channels_second(get("x"), 2)
        output, [(h, c)] = layer(x.flip(1) if case.get("go_backwards") else x)
    torch.testing.assert_close(output, channels_second(get("output"), 2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(h, channels_second(get("h"), 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(c, channels_second(get("c"), 1), atol=1e-5, rtol=1e-4)


def torchgeo_s_layer():
    """Load the one file: the package brings in a dozen others that it does without."""
    package = importlib.util.find_spec("torchgeo")
    if package is None:
        pytest.skip("torchgeo is not installed: pip install --no-deps torchgeo==0.8.1")
    path = Path(package.submodule_search_locations[0]) / "models" / "convlstm.py"
    spec = importlib.util.spec_from_file_location("torchgeo_convlstm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ConvLSTM


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kernels", [[3, 5], [(3, 5), (1, 3)]], ids=str)
def test_torchgeo_s_layer_with_the_same_weights_gives_the_same(kernels, batch_first, bias):
    theirs = torchgeo_s_layer()(2, [3, 4], kernels, 2, batch_first, bias, return_all_layers=True)
    ours = ConvLSTM(2, [3, 4], kernels, 2, batch_first=batch_first, bias=bias)
    with torch.no_grad():
        for cell, other in zip(ours.cells, theirs.cell_list, strict=True):
            for to, of in zip(cell.gates.parameters(), other.conv.parameters(), strict=True):
                i, f, o, g = of.chunk(4)
                to.copy_(torch.cat([i, f, g, o]))
    x = torch.rand(2, 5, 2, 8, 7, generator=seeded(1))
    x = x if batch_first else x.transpose(0, 1)
    expected, last = theirs(x)
    output, states = ours(x)
    theirs_last = expected[-1] if batch_first else expected[-1].transpose(0, 1)
    torch.testing.assert_close(output, theirs_last)
    torch.testing.assert_close(states, [tuple(state) for state in last])
