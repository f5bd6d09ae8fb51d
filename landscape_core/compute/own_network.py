"""A borrowed network of the user's own with what it is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from landscape_core.compute.own_batches import OwnBatch, OwnBatches, outputs_for
from landscape_core.compute.precision import computing_in, in_float32
from landscape_core.requests import Precision


@dataclass(frozen=True)
class OwnNetwork:
    """What is measured, by what, on what.

    Attributes:
        module: The borrowed network (`borrowing.borrowed`).
        loss_fn: Gives a loss, or that of each example, from outputs and targets.
        batches: All examples.
        reset: Gives every buffer of the network the value that it had.
        precision: How its forward pass is rounded.
    """

    module: nn.Module
    loss_fn: Callable[[Any, Any], Any]
    batches: OwnBatches
    reset: Callable[[], None]
    precision: Precision = "float32"

    def outputs(self, batch: OwnBatch) -> Any:
        """What the network gives for a batch, rounded so; bfloat16 is widened again."""
        if self.precision == "float32":
            return outputs_for(self.module, batch.inputs)
        with computing_in(self.precision, next(self.module.parameters()).device):
            outputs = outputs_for(self.module, batch.inputs)
        return in_float32(outputs)
