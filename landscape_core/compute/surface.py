"""From a request to its surface, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import nn

from landscape_core.compute.architectures import load
from landscape_core.compute.datasets import Examples
from landscape_core.compute.derivation import CheckpointReader, derive
from landscape_core.compute.directions import DirectionArrays
from landscape_core.compute.evaluation import Evaluator
from landscape_core.compute.fast import Cells, FastMeasurement
from landscape_core.compute.plane_curvature import PlaneCurvature
from landscape_core.compute.provenance import own_values_of
from landscape_core.compute.run_losses import with_losses
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import chunk_bounds, surface_from_tally
from landscape_core.fast_surface import fast_surface
from landscape_core.ladder import Ladder
from landscape_core.requests import CURVATURE_PASSES, SurfaceRequest
from landscape_core.results import Surface, Tally
from landscape_core.resuming import HalfDone


def compute_surface(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    direction_arrays: DirectionArrays | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    own: nn.Module | None = None,
    checkpoints: CheckpointReader | None = None,
    resume: HalfDone | None = None,
) -> Surface:
    """The surface that a request asks for: all its examples at every cell, or with the budget `fast` as many as it takes.

    Tallies are made chunk by chunk (`estimate.chunk_bounds`) and added in that order, as workers do, so that the values do
    not depend on who computes.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        direction_arrays: What the direction file holds, for directions from a file.
        device: A PyTorch device; None is the CPU.
        threads: How many CPU threads PyTorch uses, for the whole process; None leaves it as it is.
        progress: Told the share of the work done, in 0 … 1.
        should_stop: Asked before every batch.
        own: The network itself, from `load_own`, where the request's architecture is not catalogued.
        checkpoints: Reads the other checkpoints that the request names, by their ids.
        resume: A half-done surface: its cells are kept bit for bit, and only those that are not there are computed. Where it
            does not hold its request, some of its cells are measured again first.

    Returns:
        The surface, (ny, nx); its request is `request`.

    Raises:
        InvalidRequest: The request does not go with the checkpoint, the data set, another checkpoint that it names, or the
            half-done surface, or the budget is `fast` and there is a half-done surface.
        DirectionsRejected: The direction file does not belong to the network.
        OutOfMemory: The device's memory does not suffice.
        Cancelled: `should_stop` said so.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> surface = compute_surface(request, tensors, examples)
        >>> surface.loss.shape, float(surface.loss[0, 1]), float(surface.accuracy[0, 1])  # the identity is exactly one-hot
        ((1, 3), 0.0, 100.0)
    """
    began, started = datetime.now(UTC), time.monotonic()
    about: dict[str, Any] = {}
    if request.plane.is_derived:
        derived = derive(request, tensors, examples, direction_arrays, checkpoints, device or "cpu", threads, should_stop)
        direction_arrays, about = derived, derived.about
    evaluator = Evaluator(request, tensors, examples, direction_arrays, device or "cpu", threads, own, about)
    kept = _kept(resume, request, evaluator.examples)
    checked = [] if resume is None else _checked(resume, kept, evaluator, should_stop)
    tallied = _tallied_share(request, evaluator.examples)
    surface_with = _measured(evaluator, ~kept, _share_of(progress, 0.0, tallied), should_stop)
    centre = evaluator.own_loss(should_stop)
    measure = None if request.curvature is None else _curvature(request, tensors, examples, evaluator, device, should_stop, own)
    quantities = {} if measure is None else _eigenvalues(measure, resume, kept, _share_of(progress, tallied, 1.0))
    provenance = {
        **evaluator.provenance(),
        **({} if measure is None else {"curvature": measure.provenance()}),
        **own_values_of(centre, evaluator.decisions),
        "started": began.isoformat(timespec="seconds"),
    }
    if "trajectory" in about:
        provenance["trajectory"] = with_losses(about["trajectory"], evaluator, checkpoints, should_stop)
    provenance["seconds"] = round(time.monotonic() - started, 3)
    surface = surface_with(provenance)
    if resume is not None:
        surface = resume.completed(surface, kept, checked)
    return replace(surface, quantities=surface.quantities | quantities)


def _curvature(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    evaluator: Evaluator,
    device: str | None,
    should_stop: Callable[[], bool] | None,
    own: nn.Module | None,
) -> PlaneCurvature:
    """What measures the Hessian's extreme eigenvalues at the cells."""
    module = load(request.architecture, tensors) if own is None else own
    directions = evaluator.directions()
    return PlaneCurvature.of(request, module, examples, directions, device or "cpu", should_stop, own=own is not None)


def _eigenvalues(
    measure: PlaneCurvature,
    resume: HalfDone | None,
    kept: Bool[np.ndarray, "rows nx"],
    progress: Callable[[float], None] | None,
) -> dict[str, np.ndarray]:
    """The eigenvalues at every cell; those that a half-done surface holds are kept, bit for bit."""
    stored = {} if resume is None else resume.surface.quantities
    if not {"max_eig", "min_eig"} <= stored.keys():
        return measure.everywhere(progress)
    known = kept & np.isfinite(stored["max_eig"]) & np.isfinite(stored["min_eig"])
    return {name: np.where(known, stored[name], table) for name, table in measure.everywhere(progress, known).items()}


def _kept(resume: HalfDone | None, request: SurfaceRequest, examples: int) -> Bool[np.ndarray, "rows nx"]:
    """Which cells are there already."""
    if resume is None:
        return np.zeros(request.grid.shape, bool)
    if request.budget == "fast":
        raise InvalidRequest("A half-done surface is completed by measuring; choose budget exact.", field="budget")
    resume.check_grid(request.grid)
    resume.check_request(request)
    return resume.kept(examples)


def _checked(
    resume: HalfDone, kept: np.ndarray, evaluator: Evaluator, should_stop: Callable[[], bool] | None
) -> list[dict[str, Any]]:
    """What is said of the cells that were measured again, all of which agree."""
    found = []
    for cell in resume.sample(kept):
        total = Tally.zeros(1)
        for start, stop in chunk_bounds(evaluator.examples):
            total += evaluator.tally([cell], start, stop, should_stop)
        found.append(resume.check_measured(cell, float(total.loss_sum[0] / total.examples[0])))
    return found


def _measured(
    evaluator: Evaluator,
    wanted: Bool[np.ndarray, "rows nx"],
    progress: Callable[[float], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Callable[[dict[str, Any]], Surface]:
    """What makes a surface of a provenance, once the wanted cells, or as many as the budget takes, are measured."""
    request = evaluator.request
    if request.budget == "fast":
        ladder = Ladder.for_request(request, evaluator.examples)

        def tally(cells: Cells, chunk: int, step: Callable[[float], None]) -> Tally:
            return evaluator.tally(cells, *ladder.bounds[chunk], should_stop, step)

        fast = FastMeasurement(ladder, tally)
        fast.measure(progress)
        return lambda about: fast_surface(request, ladder, fast.depths, fast.tallies, about, evaluator.decisions)
    grid = _tally(evaluator, wanted, progress, should_stop)
    return lambda provenance: surface_from_tally(request, grid, provenance, evaluator.decisions)


def _tally(
    evaluator: Evaluator,
    wanted: Bool[np.ndarray, "rows nx"],
    progress: Callable[[float], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Tally:
    """The tally of the wanted cells over all examples, of the grid's shape; the other cells have seen none."""
    cells = [(int(row), int(column)) for row, column in np.argwhere(wanted)]
    total = Tally.zeros(len(cells))
    for start, stop in chunk_bounds(evaluator.examples):
        step = _share_of(progress, start / evaluator.examples, stop / evaluator.examples)
        total += evaluator.tally(cells, start, stop, should_stop, step)
    grid = Tally.zeros(*wanted.shape)
    rows, columns = np.nonzero(wanted)
    grid.put(rows, columns, total)
    return grid


def _tallied_share(request: SurfaceRequest, examples: int) -> float:
    """The share of the work that the losses are, where eigenvalues are measured too."""
    more = 0 if request.curvature is None else CURVATURE_PASSES * min(request.curvature.examples, examples)
    return examples / (examples + more)


def _share_of(progress: Callable[[float], None] | None, start: float, stop: float) -> Callable[[float], None] | None:
    if progress is None:
        return None
    return lambda share: progress(start + (stop - start) * share)
