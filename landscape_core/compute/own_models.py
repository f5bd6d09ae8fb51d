"""The landscape of any network: the user's own module, loss and batches, as in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.borrowing import borrowed, check_borrowable, unwrapped
from landscape_core.compute.devices import choose_device, is_out_of_memory
from landscape_core.compute.losses import classified_rightly, float64_sums
from landscape_core.compute.own_batch_norm import OwnReestimation, check_batch_norm
from landscape_core.compute.own_batches import OwnBatch, OwnBatches, outputs_for
from landscape_core.compute.own_planes import asked_plane
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import about_model, made_with, own_values
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.estimate import surface_over
from landscape_core.refinement import refined_grids
from landscape_core.requests import BatchNorm, Grid, PlaneSpec
from landscape_core.results import Surface, Tally

COARSE_POINTS = 5
"""Points an axis of the first stage."""

AGREEMENT = 1e-5
"""Most relative difference between two evaluations of one network: float32 sums in another order differ by less."""


def landscape(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    *,
    plane: PlaneSpec | Mapping[str, Any] | Sequence[Any] | None = None,
    grid: Grid | Mapping[str, Any] | str | None = None,
    batch_norm: BatchNorm = "fixed",
    device: str | torch.device | None = None,
    eval_mode: bool = True,
    check_deterministic: bool = True,
    progress: bool | Callable[[float], None] = False,
    on_stage: Callable[[Surface], None] | None = None,
) -> Surface:
    """The loss surface around a network, or a curve through it: θ(α, β) = θ* + α δ + β η (Li et al. 2018, equation 1).

    The model is given back as it was, bit for bit, whatever ends the computation: parameters, buffers, gradients, training
    mode. It is evaluated without gradients, in evaluation mode, from a whole coarse grid to the full one.

    `loss_fn(outputs, targets)` gives either the loss of each example, (n,), or their mean, a scalar. From losses of each
    example the standard error is known. A mean counts as often as its batch has examples; its standard error is unknown (NaN).
    Accuracy is known where outputs are (n, classes) and targets (n,) whole numbers, else NaN. Inputs that are a tuple are
    given as several arguments, a mapping by name.

    Args:
        model: Any network. Of `torch.compile`, `DataParallel` and alike the network inside is taken. Tied weights move as one.
        loss_fn: See above. As in `torch.nn.CrossEntropyLoss(reduction="none")`.
        batches: A finite iterable of (inputs, targets), read once: random augmentation is drawn once, for all cells. Up to
            1 GiB is kept on the device; beyond, what can be read again is read again at every cell, and a one-shot iterator is
            kept in memory.
        plane: A `PlaneSpec` or its JSON form with random directions; or one or two explicit directions, each a list of tensors
            in the order of `model.parameters()`, taken as they are. Not given: random directions with the seeds 1 and 2,
            filter-normalised, zero for biases and batch norm. Random directions are float32 and the sum is rounded once to the
            parameter's own precision.
        grid: A `Grid`, its JSON form, or as in "-1:1:25x-1:1:25", or "-1:1:25" for a curve. Not given: 25 points an axis on
            [-1, 1].
        batch_norm: `fixed`, or `reestimated`: at every cell batch norm gets the statistics of the moved network over the first
            512 examples, in one batch (`compute.batch_norm`); the inputs of the batches must then be of one shape.
        device: A PyTorch device, or "auto" for a GPU if there is one; None leaves the model where it is.
        eval_mode: Whether the model is put into evaluation mode; else every module stays in the mode that it is in.
        check_deterministic: Whether the network itself is evaluated twice first, to refuse a loss that is not the same twice.
        progress: Whether a line on stderr says how far it is; or a function that is told the share done, in 0 … 1.
        on_stage: Is given every stage as a whole surface on the cells of a coarser grid. So Ctrl-C, which ends the computation
            with `KeyboardInterrupt`, need not lose what was computed.

    Returns:
        The surface. Its `request` is None; its provenance says from what it was computed.

    Raises:
        InvalidRequest: Something given cannot be used, or the loss is not deterministic; one sentence says what to change.
        DirectionsRejected: Explicit directions do not belong to the model.
        OutOfMemory: A batch does not fit into the device's memory.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> data = [(torch.ones(3, 2), torch.zeros(3, 1))]
        >>> landscape(model, lambda out, y: ((out - y) ** 2).mean(dim=1), data, grid="-1:1:5x-1:1:3").loss.shape
        (3, 5)
    """
    began, started = datetime.now(UTC), time.monotonic()
    module = unwrapped(model)
    check_borrowable(module)
    _check_loss(loss_fn)
    asked, about = asked_plane(plane, grid, module), about_model(module, loss_fn)
    check_batch_norm(batch_norm, asked, eval_mode=eval_mode)
    where = None if device is None else torch.device(choose_device(str(device)))
    with borrowed(module, where, evaluating=eval_mode) as reset_buffers:
        home = where or next(module.parameters()).device
        data = OwnBatches(batches, home)
        plane_of = Plane(module, asked.x, asked.y, asked.normalisation, None)
        statistics = OwnReestimation(module, data) if batch_norm == "reestimated" else None
        measure = _Measure(module, loss_fn, data, plane_of, reset_buffers, statistics)
        provenance = {
            **made_with(home),
            **about,
            **_own_values(measure, twice=check_deterministic),
            **measure.provenance(),
            **asked.provenance(),
            "started": began.isoformat(timespec="seconds"),
        }
        for stage in _stages(measure, asked.grid, _told(progress)):
            surface = replace(stage, provenance={**provenance, "seconds": round(time.monotonic() - started, 3)})
            if on_stage is not None:
                on_stage(surface)
    return surface


@dataclass(frozen=True)
class _Sums:
    """What all batches gave at one place; `squares` and `correct` are NaN where unknown."""

    examples: int
    losses: float
    squares: float
    correct: float

    @property
    def loss(self) -> float:
        return self.losses / self.examples

    @property
    def accuracy(self) -> float:
        return 100.0 * self.correct / self.examples

    def provenance(self) -> dict[str, Any]:
        return {"examples": self.examples, **own_values(self.loss, self.accuracy)}


def _check_loss(loss_fn: Any) -> None:
    if not callable(loss_fn):
        raise InvalidRequest(f"loss_fn should be a function of outputs and targets, but is of type {type(loss_fn).__name__}.")
    if getattr(loss_fn, "reduction", None) == "sum":
        raise InvalidRequest('loss_fn sums over a batch; give it reduction="none" (or "mean").', field="loss_fn")


class _Measure:
    """A borrowed network, measured at any place of its plane."""

    def __init__(
        self,
        module: nn.Module,
        loss_fn: Callable[[Any, Any], Any],
        batches: OwnBatches,
        plane: Plane,
        reset: Callable[[], None],
        reestimate: OwnReestimation | None,
    ) -> None:
        self._module, self._loss_fn, self._batches, self._plane, self._reset = module, loss_fn, batches, plane, reset
        self._reestimate = reestimate

    def provenance(self) -> dict[str, Any]:
        """From what it is measured. JSON-able."""
        about = {} if self._reestimate is None else {"batch_norm_examples": self._reestimate.examples}
        return {"batches": self._batches.where, **about}

    def own(self) -> _Sums:
        """Sums over all examples for the network as it was given, with its own statistics."""
        self._reset()
        self._plane.move_to(0.0, 0.0)
        return self._sums()

    def at(self, alpha: float, beta: float) -> _Sums:
        """Sums over all examples at θ* + α δ + β η; does not depend on where the network was before."""
        self._reset()
        self._plane.move_to(alpha, beta)
        if self._reestimate is not None:
            self._reestimate()
        return self._sums()

    def _sums(self) -> _Sums:
        """Sums over all examples for the network as it stands."""
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
        return _Sums(sum(map(len, each)) + sum(weights), losses, squares, float(sum(right)))

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


def _own_values(measure: _Measure, *, twice: bool) -> dict[str, Any]:
    """What the network itself gives; measured twice, and refused if not the same, if so wanted."""
    own = measure.own()
    if twice:
        _check_same(own, measure.own())
    return own.provenance()


def _check_same(first: _Sums, second: _Sums) -> None:
    if first.examples == second.examples and np.isclose(first.loss, second.loss, AGREEMENT, 1e-8, equal_nan=True):
        return
    raise InvalidRequest(
        f"The loss is not deterministic: the same network gave {first.loss:.8g} on {first.examples:,} examples, then "
        f"{second.loss:.8g} on {second.examples:,}; likely causes are dropout or batch norm in training mode, sampling in the "
        "model or the loss, inputs that are changed in place, or batches that differ each time they are read "
        "(check_deterministic=False goes on regardless).",
        field="check_deterministic",
    )


def _stages(measure: _Measure, grid: Grid, progress: Callable[[float], None]) -> Iterator[Surface]:
    """Whole surfaces on grids from coarse to full, each of which contains the one before; at least one."""
    alphas, betas = grid.x.coordinates, np.zeros(1) if grid.y is None else grid.y.coordinates
    done = 0
    examples, losses, squares, correct = np.zeros(grid.shape, np.int64), *(np.full(grid.shape, np.nan) for _ in range(3))
    for rows, columns in refined_grids(*grid.shape, COARSE_POINTS):
        for row, column in product(rows, columns):
            if examples[row, column]:
                continue
            sums = measure.at(float(alphas[column]), float(betas[row]))
            examples[row, column], losses[row, column] = sums.examples, sums.losses
            squares[row, column], correct[row, column] = sums.squares, sums.correct
            done += 1
            progress(done / grid.cells)
        part = np.ix_(rows, columns)
        known = np.isfinite(correct[part])
        right = np.where(known, correct[part], 0).astype(np.int64)
        y = None if grid.y is None else betas[list(rows)]
        surface = surface_over(alphas[list(columns)], y, Tally(examples[part], losses[part], squares[part], right))
        yield replace(surface, accuracy=np.where(known, surface.accuracy, np.nan))


def _told(progress: bool | Callable[[float], None]) -> Callable[[float], None]:
    if callable(progress):
        return progress
    return _line if progress else lambda _share: None


def _line(share: float) -> None:
    sys.stderr.write(f"\rComputing the landscape: {share:4.0%}" + ("\n" if share >= 1 else ""))
    sys.stderr.flush()
