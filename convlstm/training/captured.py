"""Work that a GPU repeats without being told each time what to do."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import torch

WARM_UPS = 3  # calls before a capture: libraries choose their ways, and allocate, as they first run


class Captured:
    """Work that is captured once as a CUDA graph, and replayed from then on.

    A small network's training step is hundreds of launches, which cost the processor more time than
    the GPU needs for all of them; a graph is one launch.

    Every call does the work exactly once. The first ones do it as it stands, on a stream of their
    own; the next captures it, and replays that. On a device without graphs all calls just do it.

    Args:
        work: what to do. It may read and write tensors that live as long as this; what else it
            makes, the next call overwrites. It never asks the device for a value.
        device: where it is done.
        generators: all that it draws from, on that device.
    """

    def __init__(
        self,
        work: Callable[..., object],
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self._work, self._device, self._generators = work, device, generators
        self._beside: torch.cuda.Stream | None = None
        self._calls: Counter[tuple[Hashable, ...]] = Counter()
        self._graphs: dict[tuple[Hashable, ...], torch.cuda.CUDAGraph] = {}

    def __call__(self, *how: Hashable) -> None:
        """Do the work, called with `how`; each such way of doing it has its own graph."""
        if self._device.type != "cuda":
            self._work(*how)
            return
        with torch.cuda.device(self._device):
            if self._calls[how] < WARM_UPS:
                self._warm_up(how)
            else:
                if how not in self._graphs:
                    self._graphs[how] = self._capture(how)
                self._graphs[how].replay()
        self._calls[how] += 1

    def _warm_up(self, how: tuple[Hashable, ...]) -> None:
        here, self._beside = torch.cuda.current_stream(), self._beside or torch.cuda.Stream()
        self._beside.wait_stream(here)
        with torch.cuda.stream(self._beside):
            self._work(*how)
        here.wait_stream(self._beside)

    def _capture(self, how: tuple[Hashable, ...]) -> torch.cuda.CUDAGraph:
        """Note what the GPU is asked for, without its being done."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:  # so that each replay draws on
            graph.register_generator_state(generator)
        # All in one memory: between two calls nothing in there is needed. Of other threads'
        # calls, which may allocate meanwhile, this one is not to fail.
        others = next(iter(self._graphs.values()), None)
        pool = None if others is None else others.pool()
        capture = torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local")
        cause: BaseException | None = None
        try:
            # A capture that fails leaves its own stream behind as the current one.
            with torch.cuda.stream(torch.cuda.current_stream()), capture:
                try:
                    self._work(*how)
                except BaseException as error:
                    cause = error
                    raise
        except BaseException:
            if cause is None:
                raise
            raise cause from None  # its end fails too then, and says less
        return graph
