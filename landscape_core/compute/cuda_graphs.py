"""The forward pass as a CUDA graph: hundreds of small kernels are started by one call.

A graph replays recorded kernels on recorded addresses. So a batch is copied into the recorded input first, and what the graph
puts out is copied away; weights are moved in place (`planes`, `folding`), so that it always sees those of where the network
stands.

There was no GPU to run this on: tests hold what surrounds the graph, with a recorder that runs on CPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs before the recording, in which libraries choose their kernels (PyTorch, "CUDA semantics", section "CUDA Graphs")."""

MOST_SHAPES = 5
"""Most recordings that are kept: chunks of examples begin with 64, 128 and 256; then come whole batches, and a short one."""

Forward = Callable[[Tensor], Tensor]
Recorder = Callable[[Forward, Tensor], tuple[Tensor, Tensor, Callable[[], None]]]
"""Gives from a function and an input: the recorded input, the recorded output, and what computes the one from the other."""


def recorded(forward: Forward, x: Tensor) -> tuple[Tensor, Tensor, Callable[[], None]]:
    """Records a CUDA graph; see `Recorder`."""
    held = x.clone(memory_format=torch.preserve_format)
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UPS):
            forward(held)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = forward(held)
    return held, made, graph.replay


class Replayed:
    """A function of one tensor, replayed for the first `MOST_SHAPES` shapes that come twice; others run as usual.

    Args:
        forward: Makes a new tensor from an input, always by the same kernels.
        record: Where it is recorded by other means than a CUDA graph.
    """

    def __init__(self, forward: Forward, record: Recorder = recorded) -> None:
        self._forward, self._record = forward, record
        self._kept: dict[torch.Size, tuple[Tensor, Tensor, Callable[[], None]]] = {}
        self._seen: set[torch.Size] = set()
        self._failed = False

    def __call__(self, x: Tensor) -> Tensor:
        """What `forward` gives."""
        if x.shape not in self._kept and not self._recordable(x):
            return self._forward(x)
        held, made, replay = self._kept[x.shape]
        held.copy_(x)
        replay()
        return made.clone()

    def forget(self) -> None:
        """Drops the recordings, to free their memory; they are made anew."""
        self._kept.clear()
        self._failed = False

    def _recordable(self, x: Tensor) -> bool:
        """Records for the shape of an input if it comes again, and if that can be done."""
        again = x.shape in self._seen
        self._seen.add(x.shape)
        if self._failed or not again or len(self._kept) == MOST_SHAPES:
            return False
        try:
            self._kept[x.shape] = self._record(self._forward, x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operator that cannot be recorded
            self._failed = True
        return not self._failed
