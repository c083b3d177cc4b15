"""The devices that a test is for: a CPU always, and a GPU where there is one."""

import pytest
import torch

on_gpu = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]
