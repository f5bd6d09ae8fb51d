"""Batch norm re-estimated for a network of the user's own, over the first examples of their batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from landscape_core.compute.batch_norm import BatchNormStatistics
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.own_batches import OwnBatch, OwnBatches, cut, first_of, outputs_for
from landscape_core.compute.own_planes import AskedPlane
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.requests import BATCH_NORM_EXAMPLES, BatchNorm


def check_batch_norm(batch_norm: Any, asked: AskedPlane, *, eval_mode: bool) -> None:
    """Passes when batch norm can be had as it is asked for.

    Args:
        batch_norm: As given to `landscape`.
        asked: What was asked for.
        eval_mode: As given to `landscape`.

    Raises:
        InvalidRequest: If not.
    """
    if batch_norm not in get_args(BatchNorm):
        raise InvalidRequest(f"batch_norm should be fixed or reestimated, but {batch_norm!r} came.", field="batch_norm")
    if batch_norm == "fixed":
        return
    if asked.normalisation.of == "states":
        raise InvalidRequest(
            "Re-estimated statistics take the place of moved ones; choose of=weights, or leave batch_norm fixed.",
            field="batch_norm",
        )
    if not eval_mode:
        raise InvalidRequest(
            "Statistics are re-estimated for evaluation mode; leave out eval_mode=False, or leave batch_norm fixed.",
            field="batch_norm",
        )


class OwnReestimation:
    """Batch norm's statistics of a borrowed network over the first examples of its batches, estimated when it is called.

    Args:
        module: The network, with the statistics that it holds itself.
        batches: The first `BATCH_NORM_EXAMPLES` examples are taken.

    Raises:
        InvalidRequest: The network has no batch norm, or the batches are too few or of several shapes.
    """

    def __init__(self, module: nn.Module, batches: OwnBatches) -> None:
        self._module, self._statistics = module, BatchNormStatistics(module)
        self._batch = in_one(batches, BATCH_NORM_EXAMPLES)
        if self.examples < 2:
            raise InvalidRequest(
                "Batch norm's variances are re-estimated over two examples at least, but the batches hold 1; give more, or "
                "leave batch_norm fixed.",
                field="batches",
            )

    @property
    def examples(self) -> int:
        """How many examples the statistics are of."""
        return self._batch.examples

    def __call__(self) -> None:
        """Gives the network the statistics of where it stands.

        Raises:
            OutOfMemory: The batch does not fit into memory.
        """
        try:
            self._statistics.reestimate(lambda: outputs_for(self._module, self._batch.inputs))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"The memory does not suffice to re-estimate batch norm over {self.examples} examples in one batch; leave "
                "batch_norm fixed."
            ) from error


def in_one(batches: Iterable[OwnBatch], most: int) -> OwnBatch:
    """The first examples of some batches, put together as one batch; how they were cut makes no difference.

    Tensors whose first dimension counts the examples are joined; whatever else the inputs hold is that of the first batch.

    Args:
        batches: Where they are taken from.
        most: How many examples at most.

    Raises:
        InvalidRequest: The inputs of two batches cannot be joined.
    """
    taken = list(first_of(batches, most))
    parts = [cut(batch.inputs, batch.examples, batch.examples) for batch in taken]
    try:
        return OwnBatch(_joined(parts), None, sum(batch.examples for batch in taken))
    except (RuntimeError, IndexError, KeyError) as error:
        raise InvalidRequest(
            "Batch norm is re-estimated over examples of several batches at once, but the inputs of these cannot be put "
            f"together ({str(error).splitlines()[0]}); give batches of one shape, or leave batch_norm fixed.",
            field="batch_norm",
        ) from error


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.dim() else first
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        return [_joined([part[index] for part in parts]) for index in range(len(first))]
    return first
