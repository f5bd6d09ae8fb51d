"""The user's own network, measured at any place of its plane, or with the tensors of another checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from landscape_core.catalogue.metric_checks import check_metrics
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.losses import classified_rightly
from landscape_core.compute.metrics import counts_of
from landscape_core.compute.own_batch_norm import OwnReestimation
from landscape_core.compute.own_batches import OwnBatch
from landscape_core.compute.own_chunks import ORDER_SEED, in_chunks
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.own_sums import Seen, Sums, check_same, check_same_chunks
from landscape_core.compute.planes import Plane
from landscape_core.compute.precision import checked_cells, precision_check
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.ladder import Ladder
from landscape_core.requests import Grid, Metric, Precision


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

    def own_values(self, *, twice: bool, by_chunk: bool = False) -> dict[str, Any]:
        """What the provenance says of the network itself; measured twice, and refused if not the same, if so wanted.

        Args:
            twice: Whether it is.
            by_chunk: Whether every chunk of batches that are read again has to be the same twice.

        Raises:
            InvalidRequest: The loss is not deterministic, or batches come in another order each time.
        """
        own = self.own()
        if twice:
            again = self.own()
            check_same(own, again)
            if by_chunk and not self._network.batches.are_kept:
                check_same_chunks(own, again)
        return own.provenance()

    def stand(self, alpha: float, beta: float) -> None:
        """Puts the network to θ* + α δ + β η, with the statistics that it has there."""
        self._network.reset()
        self._plane.move_to(alpha, beta)

    def at(self, alpha: float, beta: float) -> Sums:
        """Sums over all examples at θ* + α δ + β η; does not depend on where the network was before."""
        self._arrive(alpha, beta)
        return self._sums()

    def cell(self, grid: Grid, cell: tuple[int, int]) -> Sums:
        """Sums over all examples at a cell (row, column) of a grid."""
        self._arrive(*_place(grid, cell))
        return self._sums()

    def chunk(self, grid: Grid, cell: tuple[int, int], number: int) -> Sums:
        """Sums over one of the chunks of the batches at a cell (row, column) of a grid.

        Raises:
            InvalidRequest: Batches that are read again hold other numbers of examples than before.
        """
        self._arrive(*_place(grid, cell))
        return Sums.of([self._seen(batch) for batch in self._network.batches.of_chunk(number)])

    @property
    def order(self) -> str:
        """In which order batches make up the chunks."""
        return f"permuted with seed {ORDER_SEED}" if self._network.batches.are_kept else "as they are read"

    def ladder(self, shape: tuple[int, int], tolerance: float) -> Ladder:
        """The chunks and levels of a surface of the fast budget.

        Args:
            shape: (ny, nx) of the grid.
            tolerance: As `Ladder.tolerance`.
        """
        bounds, statistics = self._network.batches.bounds, 0 if self._reestimate is None else self._reestimate.examples
        return Ladder(shape, bounds, tuple(stop - start + statistics for start, stop in bounds), tolerance)

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

    def _arrive(self, alpha: float, beta: float) -> None:
        self.stand(alpha, beta)
        if self._reestimate is not None:
            self._reestimate()

    def _sums(self) -> Sums:
        """Over all examples, chunk by chunk, so that a cell of which the fast budget saw all has the same sums bit for bit."""
        batches = self._network.batches
        seen = [self._seen(batch) for batch in batches]
        if not seen:
            raise InvalidRequest("The batches hold no examples.", field="batches")
        chunks = in_chunks([one.examples for one in seen], permuted=batches.are_kept)
        return Sums.joined([Sums.of([seen[position] for position in chunk]) for chunk in chunks])

    def _seen(self, batch: OwnBatch) -> Seen:
        try:
            loss, correct, counts = self._evaluated(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"The memory does not suffice for a batch of {batch.examples:,}; give smaller ones.") from error
        loss = loss.clone()  # the network may put every batch's into the same memory
        return Seen(batch.examples, loss, float("nan") if correct is None else float(correct.sum()), counts)

    @torch.inference_mode()
    def _evaluated(self, batch: OwnBatch) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """The loss of each example, or a scalar; whether each was classified rightly, if that can be known; what is counted."""
        outputs = self._network.outputs(batch)
        loss = checked_loss(self._network.loss_fn(outputs, batch.targets), batch.examples)
        correct = classified_rightly(outputs, batch.targets) if _are_classes(outputs, batch.targets) else None
        counts = {}
        if self._metrics:
            right = self._countable(outputs, batch.targets, correct)
            counts = counts_of(self._metrics, self._classes, outputs[None], batch.targets, right[None])
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


def _place(grid: Grid, cell: tuple[int, int]) -> tuple[float, float]:
    """(α, β) of a cell (row, column)."""
    row, column = cell
    return float(grid.x.coordinates[column]), 0.0 if grid.y is None else float(grid.y.coordinates[row])


def _are_classes(outputs: Any, targets: Any) -> bool:
    """Whether outputs are (n, classes) and targets (n,) whole numbers."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
        return False
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return whole and outputs.is_floating_point() and tuple(targets.shape) == (outputs.shape[0],)
