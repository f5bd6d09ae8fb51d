"""One network, measured at any place of its plane with the user's own loss and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.losses import classified_rightly, float64_sums
from landscape_core.compute.own_batches import OwnBatch, OwnBatches, outputs_for
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import own_values
from landscape_core.errors import InvalidRequest, OutOfMemory

AGREEMENT = 1e-5
"""Most relative difference between two evaluations of one network: float32 sums in another order differ by less."""


@dataclass(frozen=True)
class Sums:
    """What all batches gave at one place; `squares` and `correct` are NaN where unknown."""

    examples: int
    losses: float
    squares: float
    correct: float

    @property
    def loss(self) -> float:
        """Mean loss."""
        return self.losses / self.examples

    @property
    def accuracy(self) -> float:
        """In percent; NaN where unknown."""
        return 100.0 * self.correct / self.examples

    def provenance(self) -> dict[str, Any]:
        """What a surface's provenance says of its centre."""
        return {"examples": self.examples, **own_values(self.loss, self.accuracy)}


def check_loss(loss_fn: Any) -> None:
    """Passes for a function that does not sum.

    Raises:
        InvalidRequest: It is none, or sums over the batch.
    """
    if not callable(loss_fn):
        raise InvalidRequest(f"loss_fn should be a function of outputs and targets, but is of type {type(loss_fn).__name__}.")
    if getattr(loss_fn, "reduction", None) == "sum":
        raise InvalidRequest('loss_fn sums over a batch; give it reduction="none" (or "mean").', field="loss_fn")


class Measure:
    """A borrowed network, measured at any place of its plane."""

    def __init__(
        self,
        module: nn.Module,
        loss_fn: Callable[[Any, Any], Any],
        batches: OwnBatches,
        plane: Plane,
        reset: Callable[[], None],
    ) -> None:
        self._module, self._loss_fn, self._batches, self._plane, self._reset = module, loss_fn, batches, plane, reset

    def at(self, alpha: float, beta: float) -> Sums:
        """Sums over all examples at θ* + α δ + β η; does not depend on where the network was before."""
        self._reset()
        self._plane.move_to(alpha, beta)
        each, means, weights, right = [], [], [], []
        for batch in self._batches:
            try:
                loss, correct = self._evaluated(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise OutOfMemory(
                    f"The memory does not suffice for a batch of {batch.examples:,}; give smaller ones."
                ) from error
            if loss.dim():
                each.append(loss)
            else:
                means.append(loss.reshape(1))
                weights.append(batch.examples)
            right.append(float("nan") if correct is None else int(correct.sum()))
        if not right:
            raise InvalidRequest("The batches hold no examples.", field="batches")
        losses, squares = float64_sums(each) if each else (0.0, 0.0)
        if means:
            values = torch.cat(means).cpu().to(torch.float64).numpy()
            losses, squares = losses + float(values @ np.array(weights, np.float64)), float("nan")
        return Sums(sum(map(len, each)) + sum(weights), losses, squares, float(sum(right)))

    @torch.inference_mode()
    def _evaluated(self, batch: OwnBatch) -> tuple[Tensor, Tensor | None]:
        """The loss of each example, or a scalar; and whether each was classified rightly, if that can be known."""
        outputs = outputs_for(self._module, batch.inputs)
        loss = self._loss_fn(outputs, batch.targets)
        if not isinstance(loss, Tensor | np.number | float | int) and not (
            isinstance(loss, np.ndarray) and loss.dtype.kind in "fiu"
        ):
            raise InvalidRequest(
                f"loss_fn should give a tensor, but gave something of type {type(loss).__name__}.", field="loss_fn"
            )
        loss = torch.as_tensor(loss)
        if tuple(loss.shape) not in {(), (batch.examples,)} or loss.is_complex():
            raise InvalidRequest(
                f"loss_fn should give a scalar, or the loss of each of the batch's {batch.examples:,} examples, but gave "
                f"{loss.dtype} of shape {tuple(loss.shape)}; average it over all dimensions but the first.",
                field="loss_fn",
            )
        correct = classified_rightly(outputs, batch.targets) if _are_classes(outputs, batch.targets) else None
        return (loss.reshape(1) if batch.examples == 1 else loss), correct


def _are_classes(outputs: Any, targets: Any) -> bool:
    """Whether outputs are (n, classes) and targets (n,) whole numbers."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
        return False
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return whole and outputs.is_floating_point() and tuple(targets.shape) == (outputs.shape[0],)


def check_same(first: Sums, second: Sums) -> None:
    """Passes if two evaluations of one network agree.

    Raises:
        InvalidRequest: They do not; the text says what may be the cause.
    """
    if first.examples == second.examples and np.isclose(first.loss, second.loss, AGREEMENT, 1e-8, equal_nan=True):
        return
    raise InvalidRequest(
        f"The loss is not deterministic: the same network gave {first.loss:.8g} on {first.examples:,} examples, then "
        f"{second.loss:.8g} on {second.examples:,}; likely causes are dropout or batch norm in training mode, sampling in the "
        "model or the loss, inputs that are changed in place, or batches that differ each time they are read "
        "(check_deterministic=False goes on regardless).",
        field="check_deterministic",
    )
