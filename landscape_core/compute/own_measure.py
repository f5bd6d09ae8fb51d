"""The user's own network, measured at any place of its plane, or with the tensors of another checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from landscape_core.catalogue.metric_checks import check_metrics
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.losses import classified_rightly, float64_sums
from landscape_core.compute.metrics import counts_of
from landscape_core.compute.own_batch_norm import OwnReestimation
from landscape_core.compute.own_batches import OwnBatch
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.planes import Plane
from landscape_core.compute.precision import checked_cells, precision_check
from landscape_core.compute.provenance import own_quantities, own_values
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.estimate import surface_over
from landscape_core.requests import Grid, Metric, Precision
from landscape_core.results import Tally

AGREEMENT = 1e-5
"""Most relative difference between two evaluations of one network: float32 sums in another order differ by less."""


@dataclass(frozen=True)
class Sums:
    """What all batches gave at one place; `squares` and `correct` are NaN where unknown.

    Attributes:
        examples: How many there are.
        losses: Σ loss.
        squares: Σ loss².
        correct: How many were classified rightly.
        counts: What else was counted, as in `Tally.counts`: (1,) or (1, classes).
    """

    examples: int
    losses: float
    squares: float
    correct: float
    counts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The mean over all examples."""
        return self.losses / self.examples

    @property
    def accuracy(self) -> float:
        """In percent; NaN where unknown."""
        return 100.0 * self.correct / self.examples

    def provenance(self) -> dict[str, Any]:
        """Examples, loss, accuracy and what else was counted. JSON-able."""
        examples, losses, squares, correct = (np.array([[v]]) for v in (self.examples, self.losses, self.squares, 0))
        counts = {name: count[None] for name, count in self.counts.items()}
        own = Tally(examples, losses, squares, correct, counts)
        counted = {name: float(table[0, 0]) for name, table in surface_over(np.zeros(1), None, own).quantities.items()}
        return {"examples": self.examples, **own_values(self.loss, self.accuracy), **own_quantities(counted)}


def check_loss(loss_fn: Any) -> None:
    """Passes for a function that does not sum.

    Raises:
        InvalidRequest: It is none, or sums over the batch.
    """
    if not callable(loss_fn):
        raise InvalidRequest(f"loss_fn should be a function of outputs and targets, but is of type {type(loss_fn).__name__}.")
    if getattr(loss_fn, "reduction", None) == "sum":
        raise InvalidRequest('loss_fn sums over a batch; give it reduction="none" (or "mean").', field="loss_fn")


def check_counted(metrics: Any) -> tuple[Metric, ...]:
    """The metrics that are asked for, sorted, each once.

    Args:
        metrics: As given to `landscape`.

    Raises:
        InvalidRequest: There is another among them.

    Example:
        >>> check_counted(["top5", "class_accuracy", "top5"])
        ('class_accuracy', 'top5')
    """
    known = get_args(Metric)
    given = list(metrics) if isinstance(metrics, Iterable) and not isinstance(metrics, str) else [metrics]
    if any(one not in known for one in given) or isinstance(metrics, str):
        raise InvalidRequest(f"metrics should be a list of {' and '.join(known)}, but {metrics!r} came.", field="metrics")
    return tuple(sorted(set(given)))


class Measure:
    """A borrowed network, measured at any place of its plane.

    Args:
        network: The network, what it is measured by and on.
        plane: Its plane.
        reestimate: Gives batch norm the statistics of where the network stands; None leaves it what it has.
        metrics: What is counted beside the loss.
        cells: How many cells there will be, of which counts are kept.
    """

    def __init__(
        self,
        network: OwnNetwork,
        plane: Plane,
        reestimate: OwnReestimation | None = None,
        metrics: Sequence[Metric] = (),
        cells: int = 1,
    ) -> None:
        self._network, self._plane, self._reestimate = network, plane, reestimate
        self._metrics, self._cells, self._classes = metrics, cells, 0

    def provenance(self) -> dict[str, Any]:
        """From what it is measured. JSON-able."""
        about = {} if self._reestimate is None else {"batch_norm_examples": self._reestimate.examples}
        counted = {"metrics": list(self._metrics)} if self._metrics else {}
        return {"batches": self._network.batches.where, **about, **counted}

    def own(self) -> Sums:
        """Sums over all examples for the network as it was given, with its own statistics."""
        self.stand(0.0, 0.0)
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

    def stand(self, alpha: float, beta: float) -> None:
        """Puts the network to θ* + α δ + β η, with the statistics that it has there."""
        self._network.reset()
        self._plane.move_to(alpha, beta)

    def at(self, alpha: float, beta: float) -> Sums:
        """Sums over all examples at θ* + α δ + β η; does not depend on where the network was before."""
        self.stand(alpha, beta)
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
        self.stand(0.0, 0.0)
        for name, tensor in self._network.module.state_dict(keep_vars=True).items():
            if name in state:
                tensor.data.copy_(state[name])
        return self._sums()

    def precision_check(self, grid: Grid, examples: int) -> dict[str, Any]:
        """How far some cells are from what float32 gives there, over all examples; nothing in float32. JSON-able."""
        network = self._network
        if network.precision == "float32":
            return {}

        def loss(cell: tuple[int, int], precision: Precision) -> float:
            self._network = replace(network, precision=precision)
            return self.cell(grid, cell).loss

        try:
            found = precision_check(checked_cells(grid), examples, loss, network.precision)
        finally:
            self._network = network
        return {"precision": network.precision, "precision_check": found}

    def _sums(self) -> Sums:
        each, means, weights, right, counted = [], [], [], [], []
        for batch in self._network.batches:
            try:
                loss, correct, counts = self._evaluated(batch)
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
            counted.append(counts)
        if not right:
            raise InvalidRequest("The batches hold no examples.", field="batches")
        losses, squares = float64_sums(each) if each else (0.0, 0.0)
        if means:
            values = torch.cat(means).cpu().to(torch.float64).numpy()
            losses, squares = losses + float(values @ np.array(weights, np.float64)), float("nan")
        total = {name: torch.stack([counts[name] for counts in counted]).sum(dim=0).cpu().numpy() for name in counted[0]}
        return Sums(sum(map(len, each)) + sum(weights), losses, squares, float(sum(right)), total)

    @torch.inference_mode()
    def _evaluated(self, batch: OwnBatch) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """The loss of each example, or a scalar; whether each was classified rightly, if that can be known; what is counted."""
        outputs = self._network.outputs(batch)
        loss = checked_loss(self._network.loss_fn(outputs, batch.targets), batch.examples)
        correct = classified_rightly(outputs, batch.targets) if _are_classes(outputs, batch.targets) else None
        counts = {}
        if self._metrics:
            right = self._countable(outputs, batch.targets, correct)
            counts = counts_of(self._metrics, self._classes, outputs, batch.targets, right)
        return (loss.reshape(1) if batch.examples == 1 else loss), correct, counts

    def _countable(self, outputs: Any, targets: Any, right: Tensor | None) -> Tensor:
        """Whether each example was classified rightly, once it is known that labels can be counted by class."""
        if right is None:
            raise InvalidRequest(
                "metrics count classes, of outputs of shape (n, classes) and targets of n whole numbers, which these are not; "
                "leave them out.",
                field="metrics",
            )
        if not self._classes:
            self._classes = outputs.shape[1]
            check_metrics(self._metrics, self._classes, self._cells, "The model")
        low, high = int(targets.min()), int(targets.max())
        if outputs.shape[1] != self._classes or low < 0 or high >= self._classes:
            raise InvalidRequest(
                f"metrics count labels of 0 to {self._classes - 1} over {self._classes} outputs in every batch, but labels of "
                f"{low} to {high} over {outputs.shape[1]} outputs came; give such, or leave metrics out.",
                field="metrics",
            )
        return right


def checked_loss(loss: Any, examples: int) -> Tensor:
    """What a loss function gave, as a tensor: a scalar, or (examples,).

    Args:
        loss: As it came.
        examples: How many the batch holds.

    Raises:
        InvalidRequest: It is something else.
    """
    if not isinstance(loss, Tensor | np.number | float | int) and not (
        isinstance(loss, np.ndarray) and loss.dtype.kind in "fiu"
    ):
        raise InvalidRequest(
            f"loss_fn should give a tensor, but gave something of type {type(loss).__name__}.", field="loss_fn"
        )
    loss = torch.as_tensor(loss)
    if tuple(loss.shape) not in {(), (examples,)} or loss.is_complex():
        raise InvalidRequest(
            f"loss_fn should give a scalar, or the loss of each of the batch's {examples:,} examples, but gave "
            f"{loss.dtype} of shape {tuple(loss.shape)}; average it over all dimensions but the first.",
            field="loss_fn",
        )
    return loss


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
