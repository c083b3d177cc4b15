"""Mutated files: each draws one kind of damage, some of which leave a sound file."""

import json
import math
import random

import numpy as np
import pytest
import torch

from convlstm.files.checkpoint import CheckpointError, checkpoint_bytes, load_network, resume
from convlstm.files.reading import read_checkpoint
from tests.files.forging import put_together, taken_apart, with_tensor
from tests.files.runs import content_of

# Damaged files; a step of the largest run takes ten times that of the smallest.
MUTATIONS = {
    "squares": 500,
    "digits": 48,
    "storm": 32,
    "squares-run-1": 64,
    "digits-run-3": 16,
}


pytestmark = pytest.mark.usefixtures("few_sequences_are_scored")


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(data)
    header_end = 8 + int.from_bytes(data[:8], "little")
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        # A quarter each: length, header, the generator's place near the front of the body, all.
        end = draw.choice((8, header_end, min(len(data), header_end + 8000), len(data)))
        damaged[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def overwrite(data: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice((1, 4, 100))
    return data[:start] + draw.randbytes(length) + data[start + length :]


def repeat_or_drop(data: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice((1, 8, 64))
    kept = draw.choice((b"", 2 * data[start : start + length]))
    return data[:start] + kept + data[start + length :]


ODD = [None, True, 0, -1, 1.5, 2**70, 1e300, "", "x", "\ud800", "\n", [], [0], {}, [[]], {"a": {}}]


def edit_header(data: bytes, draw: random.Random) -> bytes:
    """Put something odd anywhere in the header, or in the JSON within it."""
    header, body = taken_apart(data)
    parts = ("settings", "progress", "about", "metrics")
    inner = draw.choice((None, *(part for part in parts if part in header["__metadata__"])))
    value = json.loads(header["__metadata__"][inner]) if inner else header
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            break
        place = place[key]
    action = draw.random()
    if action < 0.15:
        del place[key]
    elif action < 0.3 and isinstance(place, dict):
        place[draw.choice(("x", "", "\ud800", "__metadata__"))] = place[key]
    else:
        place[key] = draw.choice(ODD)
    if inner:
        header["__metadata__"][inner] = json.dumps(value)
    return put_together(header, body)


def swap_tensors(data: bytes, draw: random.Random) -> bytes:
    header, body = taken_apart(data)
    one, two = draw.sample([name for name in header if name != "__metadata__"], 2)
    header[one], header[two] = header[two], header[one]
    return put_together(header, body)


def change_numbers(data: bytes, draw: random.Random) -> bytes:
    header, _ = taken_apart(data)
    name = draw.choice([name for name in header if name not in ("__metadata__", "generator")])
    value = draw.choice((math.nan, math.inf, -math.inf, 1e38, -1.0, 0.0, 0.5, 5.0))

    def change(array: np.ndarray) -> None:
        array.reshape(-1)[draw.randrange(array.size)] = value

    return with_tensor(name, change)(data)


MUTATORS = [
    flip_bits,
    truncate,
    overwrite,
    repeat_or_drop,
    edit_header,
    edit_header,
    swap_tensors,
    change_numbers,
]


def use(data: bytes) -> bool:
    """Do all that can be done with a file; return whether it was taken."""
    try:
        checkpoint = read_checkpoint(data)
        network = load_network(checkpoint)
        trainer = resume(checkpoint)
    except CheckpointError as error:
        assert "\n" not in str(error)
        assert 0 < len(str(error)) < 400
        return False
    side = 32 if network.config.patch_size > 1 else 16
    context = torch.zeros(1, 2, network.frames.channels, side, side)
    assert network.predict(context, 2).isfinite().all()
    assert trainer.network.config == network.config
    next((record for record in trainer.pieces() if record), None)
    checkpoint_bytes(trainer)
    return True


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutated_file_loads_or_is_refused_and_nothing_else(kind):
    content, taken = content_of(kind), []
    for number in range(MUTATIONS[kind]):
        draw = random.Random(number)
        mutate = MUTATORS[number % len(MUTATORS)]
        try:
            taken.append(use(mutate(content, draw)))
        except Exception as error:
            raise AssertionError(f"mutation {number}, {mutate.__name__}") from error
    # Some leave a sound file, or these mutations would be too coarse to reach the later checks.
    assert 0.05 < sum(taken) / len(taken) < 0.7
