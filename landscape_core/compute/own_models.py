"""The landscape of any network: the user's own module, loss and batches, as in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from landscape_core.compute.borrowing import borrowed, check_borrowable, unwrapped
from landscape_core.compute.devices import choose_device
from landscape_core.compute.own_batch_norm import OwnReestimation, check_batch_norm
from landscape_core.compute.own_batches import OwnBatches
from landscape_core.compute.own_cells import OwnCells, OwnCurvature, check_curvature
from landscape_core.compute.own_directions import made_plane
from landscape_core.compute.own_fast import OwnFastCells, checked_budget
from landscape_core.compute.own_measure import Measure, check_counted, check_loss
from landscape_core.compute.own_network import OwnNetwork, device_of
from landscape_core.compute.own_planes import AskedPlane, OwnPlane, asked_plane
from landscape_core.compute.own_runs import own_run, resumed
from landscape_core.compute.planes import Plane
from landscape_core.compute.precision import check_eigenvalues
from landscape_core.compute.provenance import about_model, made_with
from landscape_core.errors import InvalidRequest
from landscape_core.requests import TOLERANCE, BatchNorm, Budget, Grid, Metric, PlaneSpec, Precision
from landscape_core.results import Surface
from landscape_core.resuming import HalfDone

if TYPE_CHECKING:
    from landscape_core.live_pushing import LivePush

Checkpoint = Mapping[str, Any] | str | Path | nn.Module
"""A `state_dict`, a file, or another module."""


def landscape(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    *,
    plane: PlaneSpec | Mapping[str, Any] | Sequence[Any] | None = None,
    grid: Grid | Mapping[str, Any] | str | None = None,
    batch_norm: BatchNorm = "fixed",
    precision: Precision = "float32",
    budget: Budget = "exact",
    tolerance: float = TOLERANCE,
    metrics: Sequence[str] = (),
    curvature: int | None = None,
    device: str | torch.device | None = None,
    eval_mode: bool = True,
    check_deterministic: bool = True,
    progress: bool | Callable[[float], None] = False,
    on_stage: Callable[[Surface], None] | None = None,
    push: LivePush | str | None = None,
    checkpoints: Sequence[Checkpoint] | Mapping[str, Checkpoint] | None = None,
    resume: Surface | None = None,
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
        plane: A `PlaneSpec` or its JSON form, of any directions, where a checkpoint is a `state_dict`, a path or a module:
            `{"kind": "towards", "checkpoint": …}` (`"aligned": True` puts its hidden units into the order that is nearest to
            θ*, for networks whose tensors are those of a catalogued mlp, VGG or ResNet), `{"kind": "principal", "index": 1}`
            (of `checkpoints`, or of its own), `{"kind": "hessian", "index": 1}`, `{"kind": "file", "file": path}`; with
            `"orthogonal": True` the second is put at right angles to the first. Or one or two explicit directions, each a list
            of tensors in the order of `model.parameters()`, taken as they are. Not given: random directions with the seeds 1
            and 2, filter-normalised, zero for biases and batch norm. Directions are float32 (explicit ones and those towards a
            checkpoint float64 where the model is) and the sum is rounded once to the parameter's own precision.
        grid: A `Grid`, its JSON form, or as in "-1:1:25x-1:1:25", or "-1:1:25" for a curve. Not given: 25 points an axis on
            [-1, 1].
        batch_norm: `fixed`, or `reestimated`: at every cell batch norm gets the statistics of the moved network over the first
            512 examples, in one batch (`compute.batch_norm`); the inputs of the batches must then be of one shape.
        precision: `float32`, `tf32` (CUDA) or `bfloat16`, how the forward pass is rounded (`compute.precision`), of a model
            that is not in float64. Centre and corners are then held against float32, over all examples:
            `provenance["precision_check"]`.
        budget: `exact` sees all examples at every cell, `fast` as few as an estimate takes (`landscape_core.fast_budget`): the
            first chunk of the batches at every cell, further ones on coarser grids. A chunk is some whole batches: 64 examples
            at least, then as many as all before it. Batches of 64 make it cheap; where there are too few for two chunks,
            everything is measured. Chunks must be alike, so those that are kept take batches in an order drawn with a fixed
            seed; those that are read again take them as they come, in an order that must be random and the same each time
            (`provenance["batch_order"]`). Estimated cells have the state 3, their error is
            `quantities["estimation_error"]`, and `provenance["fast"]` says how it was estimated. Not with `curvature` or
            `resume`; but an exact surface resumes a fast one.
        tolerance: Of the fast budget: the root mean square error, as a share of the losses' range, that is good enough.
        metrics: What is counted beside loss and accuracy at every cell, in percent: `top5`, and `class_accuracy` of each class
            (`quantities["class_accuracy_0"]` …). Outputs are then (n, classes) and targets (n,).
        curvature: Over how many examples, from the first, the Hessian is of which every cell gets the largest and the smallest
            eigenvalue (`quantities["max_eig"]`, `["min_eig"]`, loss per squared unit of parameter length; Li et al. 2018,
            section 6). It is by the parameters that the plane's `ignore` leaves, in the mode that the model is measured in, and
            takes about as long as 200 evaluations of these examples a cell. None leaves it out.
        device: A PyTorch device, or "auto" for a GPU if there is one; None leaves the model where it is.
        eval_mode: Whether the model is put into evaluation mode; else every module stays in the mode that it is in.
        check_deterministic: Whether the network itself is evaluated twice first, to refuse a loss that is not the same twice.
        progress: Whether a line on stderr says how far it is; or a function that is told the share done, in 0 … 1.
        on_stage: Is given every stage as a whole surface on the cells of a coarser grid; of the fast budget first of the first
            chunk alone, then of all cells, estimated from what has been seen. So Ctrl-C, which ends the computation
            with `KeyboardInterrupt`, need not lose what was computed.
        push: A Loss Atlas server, as in "http://127.0.0.1:8050", or `lc.push("http://…", token=…, name=…)`: prints a link,
            under which the surface refines while it is computed. Interrupted, it stays there, and says that it is unfinished.
        checkpoints: A training run that ends at the model: `state_dict`s, paths or modules in its order, or such by name. Their
            places on the plane (in units of the directions), distances from it (in parameter space), own losses and the plane's
            losses there are in `provenance["trajectory"]`.
        resume: A half-done surface, as from `load`: its grid is taken, its cells are kept bit for bit, and only those that are
            not there are computed, once some of its cells were measured again and agree. Eigenvalues that it lacks are added.

    Returns:
        The surface. Its `request` is None; its provenance says from what it was computed.

    Raises:
        InvalidRequest: Something given cannot be used, or the loss is not deterministic; one sentence says what to change.
        CheckpointRejected: The file of a checkpoint cannot be read.
        DirectionsRejected: Explicit directions, or those of a file, do not belong to the model.
        OutOfMemory: A batch does not fit into the device's memory.
        PushFailed: The server cannot be reached at the beginning. What it does not get later is said by a warning.
        SurfaceRejected: The server refuses at the beginning.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> data = [(torch.ones(3, 2), torch.zeros(3, 1))]
        >>> landscape(model, lambda out, y: ((out - y) ** 2).mean(dim=1), data, grid="-1:1:5x-1:1:3").loss.shape
        (3, 5)
    """
    began, started = datetime.now(UTC), time.monotonic()
    module = _borrowable(model, loss_fn)
    fast = checked_budget(budget, tolerance, eigenvalues=curvature is not None, resumes=resume is not None)
    half = None if resume is None else checked_half(resume)
    asked = asked_plane(plane, half.grid if half and grid is None else grid, module, checkpoints)
    counted = _counted(asked, batch_norm, precision, metrics, curvature, eval_mode=eval_mode)
    with borrowed(module, _device(device), evaluating=eval_mode) as reset_buffers:
        network = OwnNetwork(module, loss_fn, OwnBatches(batches, device_of(module)), reset_buffers, precision)
        made = made_plane(asked, network)
        measure = _measure(network, made, batch_norm, counted)
        provenance = _provenance(network, made, measure, began, twice=check_deterministic, by_chunk=fast is not None)
        cells, told = _cells(network, made, measure, half, provenance, curvature, fast)
        provenance |= told | ({} if asked.run is None else {"trajectory": own_run(asked.run, module, made, measure)})
        with _shown(push, cells, _told(progress), on_stage) as (tell, show):
            for stage in cells.stages(tell):
                surface = replace(stage, provenance={**provenance, **cells.provenance(), **stage.provenance, **_took(started)})
                show(surface)
    return surface


def _borrowable(model: nn.Module, loss_fn: Callable[[Any, Any], Any]) -> nn.Module:
    module = unwrapped(model)
    check_borrowable(module)
    check_loss(loss_fn)
    return module


def checked_half(resume: Any) -> HalfDone:
    """A half-done surface as it came, to be completed.

    Args:
        resume: As given to `landscape`.

    Raises:
        InvalidRequest: It is no surface.
    """
    if not isinstance(resume, Surface):
        raise InvalidRequest(
            f"resume should be a Surface, as landscape_core.load(path) gives it, but is of type {type(resume).__name__}.",
            field="resume",
        )
    return HalfDone(replace(resume, request=None))


def _counted(
    asked: AskedPlane,
    batch_norm: BatchNorm,
    precision: Precision,
    metrics: Sequence[str],
    curvature: int | None,
    *,
    eval_mode: bool,
) -> tuple[Metric, ...]:
    """The metrics that are asked for, once it is known that they, eigenvalues and batch norm can be had."""
    check_batch_norm(batch_norm, asked, eval_mode=eval_mode)
    check_curvature(curvature, batch_norm=batch_norm)
    check_eigenvalues(precision, curvature)
    return check_counted(metrics)


def _device(device: str | torch.device | None) -> torch.device | None:
    return None if device is None else torch.device(choose_device(str(device)))


def _provenance(
    network: OwnNetwork, made: OwnPlane, measure: Measure, began: datetime, *, twice: bool, by_chunk: bool
) -> dict[str, Any]:
    """What is measured, by what, on what, with what, since when; and what the network itself gives."""
    about = {**about_model(network.module, network.loss_fn), **made.provenance(), **made_with(network.device)}
    about["started"] = began.isoformat(timespec="seconds")
    return about | measure.own_values(twice=twice, by_chunk=by_chunk) | measure.provenance()


def _took(started: float) -> dict[str, Any]:
    return {"seconds": round(time.monotonic() - started, 3)}


def _measure(network: OwnNetwork, made: OwnPlane, batch_norm: BatchNorm, metrics: Sequence[Metric]) -> Measure:
    statistics = OwnReestimation(network.module, network.batches) if batch_norm == "reestimated" else None
    plane = Plane(network.module, made.x, made.y, made.normalisation, None)
    return Measure(network, plane, statistics, metrics, made.grid.cells)


def _cells(
    network: OwnNetwork,
    made: OwnPlane,
    measure: Measure,
    half: HalfDone | None,
    provenance: Mapping[str, Any],
    curvature: int | None,
    fast: float | None,
) -> tuple[OwnCells | OwnFastCells, dict[str, Any]]:
    """The cells, and what the provenance says of those that are taken over, and of those that are held against float32."""
    bent = None if curvature is None else OwnCurvature(network, made.normalisation, curvature, measure, made.grid)
    kept, told = resumed(half, made.grid, measure, provenance)
    told |= measure.precision_check(made.grid, provenance["examples"])
    if fast is not None:
        return OwnFastCells(measure, made.grid, fast), told
    return OwnCells(measure, made.grid, half, kept, bent), told


@contextmanager
def _shown(
    push: LivePush | str | None,
    cells: OwnCells | OwnFastCells,
    tell: Callable[[float], None],
    on_stage: Callable[[Surface], None] | None,
) -> Iterator[tuple[Callable[[float], None], Callable[[Surface], None]]]:
    """What is to be told of the progress and of every stage; on a server too, if there is a push."""
    show = on_stage or (lambda _surface: None)
    if push is None:
        yield tell, show
        return
    from landscape_core.live_pushing import live_push  # noqa: PLC0415  httpx takes a quarter of a second

    with live_push(push, cells.expected) as live:

        def tell_both(share: float) -> None:
            live.progress(share)
            tell(share)

        def show_both(surface: Surface) -> None:
            live(surface, cells.expected)
            show(surface)

        yield tell_both, show_both


def _told(progress: bool | Callable[[float], None]) -> Callable[[float], None]:
    if callable(progress):
        return progress
    return _line if progress else lambda _share: None


def _line(share: float) -> None:
    sys.stderr.write(f"\rComputing the landscape: {share:4.0%}" + ("\n" if share >= 1 else ""))
    sys.stderr.flush()
