"""A borrowed network of the user's own with what it is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from landscape_core.compute.own_batches import OwnBatch, OwnBatches, outputs_for
from landscape_core.compute.precision import check_precision, check_rounded, computing_in, in_float32
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

    Raises:
        InvalidRequest: Its device does not have the precision, or it computes in float64, which is not rounded.
    """

    module: nn.Module
    loss_fn: Callable[[Any, Any], Any]
    batches: OwnBatches
    reset: Callable[[], None]
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_precision(self.precision, self.device)
        check_rounded(self.precision, self.module)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return device_of(self.module)

    def outputs(self, batch: OwnBatch) -> Any:
        """What the network gives for a batch, rounded so; bfloat16 is widened again."""
        if self.precision == "float32":
            return outputs_for(self.module, batch.inputs)
        with computing_in(self.precision, self.device):
            outputs = outputs_for(self.module, batch.inputs)
        return in_float32(outputs)


def device_of(module: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(module.parameters()).device
