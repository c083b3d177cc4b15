"""What Keras's layers make of random frames; test_peers runs this in a process of its own, since
Keras chooses its back end when it is imported, and writes into its home.
"""

import json
import sys

import keras
import numpy as np

_, cases, path = sys.argv
keras.utils.set_random_seed(0)
draw = np.random.default_rng(0).normal
found = {}
for number, case in enumerate(json.loads(cases)):
    rank, backwards, centred = (
        case.pop("rank"),
        case.pop("go_backwards", False),
        case.pop("centred", False),
    )
    layer_type = [keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D][
        rank - 1
    ]
    layer = layer_type(
        3, padding="same", return_sequences=True, return_state=True, go_backwards=backwards, **case
    )
    x = draw(size=(2, 4, *(7, 9, 5)[:rank], 2)).astype("float32")
    layer(x)
    weights = [draw(size=each.shape, scale=0.3).astype("float32") for each in layer.get_weights()]
    if centred:  # of the state's kernels only the middle, which no dilation moves
        middle = tuple(side // 2 for side in weights[1].shape[:rank])
        alone = np.zeros_like(weights[1])
        alone[middle] = weights[1][middle]
        weights[1] = alone
    layer.set_weights(weights)
    output, h, c = layer(x)
    values = dict(zip(("kernel", "recurrent", "bias"), weights, strict=True))
    values |= {"x": x, "output": output, "h": h, "c": c}
    for name, value in values.items():
        found[f"{number} {name}"] = keras.ops.convert_to_numpy(value)
np.savez(path, version=keras.__version__, **found)
