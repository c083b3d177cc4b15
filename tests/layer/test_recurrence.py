"""The reference: the textbook's cell, frame by frame."""

import torch
import torch.nn.functional as F

from convlstm.layer.recurrence import Weights, reference_scan
from tests.layer.scans import CASES, draw


def test_the_reference_is_the_textbook_cell():
    """One convolution of input and state side by side, as the articles write it."""
    x, h, c, gates, bias, _ = draw(CASES[0])
    outputs = []
    for frame in x:
        values = F.conv2d(torch.cat((frame, h), 1), gates, bias, padding=1)
        i, f, g, o = values.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    _, first_h, first_c, *_ = draw(CASES[0])
    found = reference_scan(x, (first_h, first_c), Weights(gates, bias, None))[0]
    torch.testing.assert_close(found, torch.stack(outputs))


def test_the_reference_recomputes_too():
    (x, h, c, *weights), results = draw(CASES[0]), []
    given = [t.requires_grad_() for t in (x, *weights) if t is not None]
    for recompute in (False, True):
        outputs, _ = reference_scan(x, (h, c), Weights(*weights), recompute=recompute)
        results.append(torch.autograd.grad(outputs.square().sum(), given))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
