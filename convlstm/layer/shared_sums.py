"""What ties scans, in autograd's graph, to the weights that they share, on any device."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class Sums(Protocol):
    """What scans add, in one backward pass, to the gradients of the weights that they share."""

    def totals(self) -> list[Tensor | None]:
        """Return the gradients of the weights, in their types."""


class Token(torch.autograd.Function):
    """Made of the weights, and given to every scan that reads with them.

    From (sums, *weights), where sums makes what adds up of the weights.

    Nothing in itself; its backward pass runs after those of all scans that were given it, and
    returns the gradients that they have added to its `running` sums.

    It saves nothing, so that whoever acts on saved tensors, as `torch.utils.checkpoint` does, finds
    the same ones whether a scan is the first to ask for the token or not. The scans save the
    weights, and find out if they change in between.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, sums: Callable[[Sequence[Tensor | None]], Sums], *weights: Tensor | None
    ) -> Tensor:
        """Make the token."""
        # By the number of the backward pass: one may begin inside another (`torch.utils.checkpoint`
        # with reentry), and one that failed must leave nothing to the next.
        ctx.sums = defaultdict(partial(sums, weights))
        return torch.empty((), device=weights[0].device)

    @staticmethod
    def backward(ctx: FunctionCtx, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that the scans have added in this pass, and forget them."""
        totals = running(ctx).totals()
        del ctx.sums[torch._C._current_graph_task_id()]
        return None, *totals


def running(token: FunctionCtx) -> Sums:
    """Return a token's sums in the backward pass that asks, at first zeros."""
    return token.sums[torch._C._current_graph_task_id()]
