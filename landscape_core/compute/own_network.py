"""A borrowed network of the user's own with what it is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from landscape_core.compute.own_batches import OwnBatches


@dataclass(frozen=True)
class OwnNetwork:
    """What is measured, by what, on what.

    Attributes:
        module: The borrowed network (`borrowing.borrowed`).
        loss_fn: Gives a loss, or that of each example, from outputs and targets.
        batches: All examples.
        reset: Gives every buffer of the network the value that it had.
    """

    module: nn.Module
    loss_fn: Callable[[Any, Any], Any]
    batches: OwnBatches
    reset: Callable[[], None]
