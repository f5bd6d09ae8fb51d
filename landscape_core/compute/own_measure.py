"""The user's own network, measured at any place of its plane, or with the tensors of another checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.losses import classified_rightly, float64_sums
from landscape_core.compute.own_batch_norm import OwnReestimation
from landscape_core.compute.own_batches import OwnBatch, OwnBatches, outputs_for
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import own_values
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.requests import Grid

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
        """The mean over all examples."""
        return self.losses / self.examples

    @property
    def accuracy(self) -> float:
        """In percent; NaN where unknown."""
        return 100.0 * self.correct / self.examples

    def provenance(self) -> dict[str, Any]:
        """Examples, loss and accuracy. JSON-able."""
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
        reestimate: OwnReestimation | None = None,
    ) -> None:
        self._module, self._loss_fn, self._batches, self._plane, self._reset = module, loss_fn, batches, plane, reset
        self._reestimate = reestimate

    def provenance(self) -> dict[str, Any]:
        """From what it is measured. JSON-able."""
        about = {} if self._reestimate is None else {"batch_norm_examples": self._reestimate.examples}
        return {"batches": self._batches.where, **about}

    def own(self) -> Sums:
        """Sums over all examples for the network as it was given, with its own statistics."""
        self._reset()
        self._plane.move_to(0.0, 0.0)
        return self._sums()

    def own_values(self, *, twice: bool) -> dict[str, Any]:
        """What the provenance says of the network itself; measured twice, and refused if not the same, if so wanted.

        Raises:
            InvalidRequest: The loss is not deterministic.
        """
        own = self.own()
        if twice:
            check_same(own, self.own())
        return own.provenance()

    def at(self, alpha: float, beta: float) -> Sums:
        """Sums over all examples at θ* + α δ + β η; does not depend on where the network was before."""
        self._reset()
        self._plane.move_to(alpha, beta)
        if self._reestimate is not None:
            self._reestimate()
        return self._sums()

    def cell(self, grid: Grid, cell: tuple[int, int]) -> Sums:
        """Sums over all examples at a cell (row, column) of a grid."""
        row, column = cell
        beta = 0.0 if grid.y is None else float(grid.y.coordinates[row])
        return self.at(float(grid.x.coordinates[column]), beta)

    def of(self, state: Mapping[str, Tensor]) -> Sums:
        """Sums over all examples of the network with these parameters and buffers; what has none keeps its own."""
        self._reset()
        self._plane.move_to(0.0, 0.0)
        for name, tensor in self._module.state_dict(keep_vars=True).items():
            if name in state:
                tensor.data.copy_(state[name])
        return self._sums()

    def _sums(self) -> Sums:
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
