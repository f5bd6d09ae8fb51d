"""The landscape of any network: the user's own module, loss and batches, as in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from landscape_core.compute.borrowing import borrowed, check_borrowable, unwrapped
from landscape_core.compute.devices import choose_device
from landscape_core.compute.own_batch_norm import OwnReestimation, check_batch_norm
from landscape_core.compute.own_batches import OwnBatches
from landscape_core.compute.own_measure import Measure, check_loss
from landscape_core.compute.own_planes import OwnPlane, asked_plane
from landscape_core.compute.own_runs import own_run, resumed
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import about_model, made_with
from landscape_core.estimate import surface_over
from landscape_core.refinement import refined_grids
from landscape_core.requests import BatchNorm, Grid, PlaneSpec
from landscape_core.results import Surface, Tally
from landscape_core.resuming import HalfDone

if TYPE_CHECKING:
    from landscape_core.live_pushing import LivePush

COARSE_POINTS = 5
"""Points an axis of the first stage."""


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
    push: LivePush | str | None = None,
    checkpoints: Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | None = None,
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
        push: A Loss Atlas server, as in "http://127.0.0.1:8050", or `lc.push("http://…", token=…, name=…)`: prints a link,
            under which the surface refines while it is computed. Interrupted, it stays there, and says that it is unfinished.
        checkpoints: The `state_dict`s of a training run that ends at the model, in its order, or such by their names. Their
            places on the plane, distances from it, own losses and the plane's losses there are in `provenance["trajectory"]`.
        resume: A half-done surface, as from `load`: its grid is taken, its cells are kept bit for bit, and only those that are
            not there are computed, once some of its cells were measured again and agree.

    Returns:
        The surface. Its `request` is None; its provenance says from what it was computed.

    Raises:
        InvalidRequest: Something given cannot be used, or the loss is not deterministic; one sentence says what to change.
        DirectionsRejected: Explicit directions do not belong to the model.
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
    module = unwrapped(model)
    check_borrowable(module)
    check_loss(loss_fn)
    half = None if resume is None else HalfDone(replace(resume, request=None))
    asked, about = asked_plane(plane, half.grid if half and grid is None else grid, module), about_model(module, loss_fn)
    check_batch_norm(batch_norm, asked, eval_mode=eval_mode)
    where = None if device is None else torch.device(choose_device(str(device)))
    with borrowed(module, where, evaluating=eval_mode) as reset_buffers:
        data = OwnBatches(batches, home := where or next(module.parameters()).device)
        measure = _measure(module, loss_fn, data, asked, reset_buffers, batch_norm)
        provenance = {**about, **asked.provenance(), "started": began.isoformat(timespec="seconds")}
        provenance |= made_with(home) | measure.own_values(twice=check_deterministic) | measure.provenance()
        kept, told = resumed(half, asked.grid, measure, provenance["examples"], provenance)
        told |= {} if checkpoints is None else {"trajectory": own_run(checkpoints, module, asked, measure)}
        with _shown(push, asked.grid, _told(progress), on_stage) as (tell, show):
            for stage in _stages(measure, asked.grid, tell, half, kept):
                seconds = round(time.monotonic() - started, 3)
                surface = replace(stage, provenance={**provenance, **told, "seconds": seconds})
                show(surface)
    return surface


def _measure(
    module: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    data: OwnBatches,
    asked: OwnPlane,
    reset: Callable[[], None],
    batch_norm: BatchNorm,
) -> Measure:
    statistics = OwnReestimation(module, data) if batch_norm == "reestimated" else None
    return Measure(module, loss_fn, data, Plane(module, asked.x, asked.y, asked.normalisation, None), reset, statistics)


@contextmanager
def _shown(
    push: LivePush | str | None,
    grid: Grid,
    tell: Callable[[float], None],
    on_stage: Callable[[Surface], None] | None,
) -> Iterator[tuple[Callable[[float], None], Callable[[Surface], None]]]:
    """What is to be told of the progress and of every stage; on a server too, if there is a push."""
    show = on_stage or (lambda _surface: None)
    if push is None:
        yield tell, show
        return
    from landscape_core.live_pushing import live_push  # noqa: PLC0415  httpx takes a quarter of a second

    stages = len(refined_grids(*grid.shape, COARSE_POINTS))
    with live_push(push, stages) as live:

        def tell_both(share: float) -> None:
            live.progress(share)
            tell(share)

        def show_both(surface: Surface) -> None:
            live(surface, stages)
            show(surface)

        yield tell_both, show_both


def _stages(
    measure: Measure, grid: Grid, progress: Callable[[float], None], half: HalfDone | None, kept: Bool[np.ndarray, "rows nx"]
) -> Iterator[Surface]:
    """Whole surfaces on grids from coarse to full, each of which contains the one before; at least one."""
    alphas, betas = grid.x.coordinates, np.zeros(1) if grid.y is None else grid.y.coordinates
    done = 0
    examples, losses, squares, correct = np.zeros(grid.shape, np.int64), *(np.full(grid.shape, np.nan) for _ in range(3))
    for rows, columns in refined_grids(*grid.shape, COARSE_POINTS):
        for row, column in product(rows, columns):
            if examples[row, column] or kept[row, column]:
                continue
            sums = measure.cell(grid, (row, column))
            examples[row, column], losses[row, column] = sums.examples, sums.losses
            squares[row, column], correct[row, column] = sums.squares, sums.correct
            done += 1
            progress(done / int((~kept).sum()))
        part = np.ix_(rows, columns)
        known = np.isfinite(correct[part])
        right = np.where(known, correct[part], 0).astype(np.int64)
        y = None if grid.y is None else betas[list(rows)]
        surface = surface_over(alphas[list(columns)], y, Tally(examples[part], losses[part], squares[part], right))
        surface = replace(surface, accuracy=np.where(known, surface.accuracy, np.nan))
        yield surface if half is None else half.laid_over(surface, kept, part)


def _told(progress: bool | Callable[[float], None]) -> Callable[[float], None]:
    if callable(progress):
        return progress
    return _line if progress else lambda _share: None


def _line(share: float) -> None:
    sys.stderr.write(f"\rComputing the landscape: {share:4.0%}" + ("\n" if share >= 1 else ""))
    sys.stderr.flush()
