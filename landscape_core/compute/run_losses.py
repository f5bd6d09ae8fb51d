"""The loss of each checkpoint of a training run, beside the plane's loss where the checkpoint is projected to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from landscape_core.compute.architectures import load
from landscape_core.compute.derivation import CheckpointReader
from landscape_core.compute.evaluation import Evaluator
from landscape_core.errors import NotFound
from landscape_core.projection import MEASURED
from landscape_core.results import Tally

Losses = dict[str, float | None]
"""`own_loss`, `own_accuracy`, `plane_loss` and `plane_accuracy` of one checkpoint; None is not known or not finite."""


def with_losses(
    trajectory: Mapping[str, Any],
    evaluator: Evaluator,
    checkpoints: CheckpointReader | None,
    should_stop: Callable[[], bool] | None = None,
    kept: Callable[[int, Callable[[], Losses]], Losses] | None = None,
) -> dict[str, Any]:
    """A run's provenance with the losses of its checkpoints, over all of the request's examples.

    The values depend on the request alone, not on who measures them. A checkpoint's own loss is that of its own parameters and
    running statistics; the plane's is at exactly its coordinates.

    Args:
        trajectory: From `derive`.
        evaluator: Of the request.
        checkpoints: Reads the checkpoints by their ids. One that is no longer there has no loss of its own.
        should_stop: Asked before every batch.
        kept: Is given each checkpoint's number, from 0, and what measures it, and gives the losses: for those who keep
            what is measured, so that an interrupted run goes on.

    Returns:
        `trajectory`, and a list for each of `own_loss`, `own_accuracy`, `plane_loss` and `plane_accuracy`.

    Raises:
        Cancelled: `should_stop` said so.
        OutOfMemory: The device's memory does not suffice for one example.

    Example:
        >>> from landscape_core.requests import SurfaceRequest
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> from landscape_core.compute import Examples
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> way = {"checkpoints": ["1" * 64, "0" * 64], "coordinates": [[1.0], [0.0]]}
        >>> others = {"1" * 64: {"w.weight": np.zeros((2, 2), np.float32)}}
        >>> found = with_losses(way, Evaluator(request, tensors, examples), others.__getitem__)
        >>> found["own_loss"], found["own_accuracy"]  # of a network of zeros, and of θ*
        ([0.5, 0.0], [50.0, 100.0])
    """
    found = []
    for index, (checkpoint, place) in enumerate(zip(trajectory["checkpoints"], trajectory["coordinates"], strict=True)):

        def measure(checkpoint: str = checkpoint, place: list[float | None] = place) -> Losses:
            return losses(evaluator, checkpoint, place, checkpoints, should_stop)

        found.append(measure() if kept is None else kept(index, measure))
    return {**trajectory, **{name: [one[name] for one in found] for name in MEASURED}}


def losses(
    evaluator: Evaluator,
    checkpoint: str,
    place: list[float | None],
    checkpoints: CheckpointReader | None,
    should_stop: Callable[[], bool] | None = None,
) -> Losses:
    """What one checkpoint gives, and the plane where it is projected to.

    Args:
        evaluator: Of the request.
        checkpoint: Its id; the request's own stands at (0, 0).
        place: Its coordinates; None where they are not known.
        checkpoints: Reads the others by their ids.
        should_stop: Asked before every batch.
    """
    at = [value for value in place if value is not None]
    plane = evaluator.loss_at((at[0], at[1] if len(at) > 1 else 0.0), should_stop) if len(at) == len(place) else None
    own: Tally | None
    if checkpoint == evaluator.request.checkpoint:
        its_own = evaluator.request.batch_norm == "fixed"  # else the plane's centre has other statistics than the checkpoint
        own = plane if its_own and plane is not None and not any(at) else evaluator.own_loss(should_stop)
    else:
        own = _own(evaluator, checkpoint, checkpoints, should_stop)
    return {**_means("own", own, evaluator.decisions), **_means("plane", plane, evaluator.decisions)}


def _own(
    evaluator: Evaluator, checkpoint: str, checkpoints: CheckpointReader | None, should_stop: Callable[[], bool] | None
) -> Tally | None:
    """A checkpoint's own tally; None if it is no longer there."""
    if checkpoints is None:
        return None
    try:
        module = load(evaluator.request.architecture, checkpoints(checkpoint))
    except NotFound:
        return None
    return evaluator.loss_of(module, should_stop)


def _means(whose: str, tally: Tally | None, decisions: int) -> Losses:
    if tally is None:
        return {f"{whose}_loss": None, f"{whose}_accuracy": None}
    count = int(tally.examples[0])
    loss = float(tally.loss_sum[0] / count)
    accuracy = 100.0 * int(tally.correct[0]) / (count * decisions)
    return {f"{whose}_loss": loss if np.isfinite(loss) else None, f"{whose}_accuracy": accuracy}
