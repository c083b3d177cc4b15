"""For every test."""

import torch

# The tensors here are tiny: a second thread would cost more than it does, and most on a busy
# machine, where each waits for the other.
torch.set_num_threads(1)
