"""The curvature at θ*: eigenvalues of both ends, trace and density of one Hessian, for a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape_core.catalogue import check_data, check_request
from landscape_core.compute.architectures import load
from landscape_core.compute.curvature import Hessian
from landscape_core.compute.datasets import Examples
from landscape_core.compute.devices import compute_exactly
from landscape_core.compute.provenance import made_with
from landscape_core.compute.second_derivatives import MeanLossHessian
from landscape_core.requests import SurfaceRequest
from landscape_core.spectra import Curvature, CurvatureOptions

PAIR_PRODUCTS = 30
"""About how many products an eigenpair takes, to say how far one is."""


def compute_curvature(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    options: CurvatureOptions | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    own: nn.Module | None = None,
) -> Curvature:
    """The curvature of a request's mean loss at θ*, over all its examples, in evaluation mode.

    Args:
        request: The question; its plane has no part in this but for `normalisation.ignore`, which says by which parameters.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        options: How much is found out.
        device: A PyTorch device.
        threads: How many CPU threads PyTorch uses, for the whole process; None leaves it as it is.
        progress: Told about which share of the work is done, in 0 … 1.
        should_stop: Asked before every batch.
        own: The network itself, from `load_own`, where the request's architecture is not catalogued.

    Returns:
        Eigenvalues of both ends, trace and spectral density; see `landscape_core.curvature`.

    Raises:
        InvalidRequest: The request does not go with the checkpoint or the data set, or the loss has no such curvature.
        OutOfMemory: The memory does not suffice.
        Cancelled: `should_stop` said so.

    Example:
        >>> from landscape_core.spectra import CurvatureOptions
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> options = CurvatureOptions(top=1, trace_probes=4, density_probes=1)
        >>> found = compute_curvature(request, tensors, examples, options)
        >>> found.parameters, found.largest.round(5).tolist()  # H = 2/(N C) XᵀX for both outputs
        (4, [0.5])
    """
    began, started = datetime.now(UTC), time.monotonic()
    if own is None:
        check_request(request, {name: tuple(array.shape) for name, array in tensors.items()}, examples.facts)
    else:
        check_data(request, examples.facts)
    compute_exactly(threads)
    module = load(request.architecture, tensors) if own is None else own
    hessian = Hessian(request, module, examples, len(examples.y), device, should_stop, own=own is not None)
    about = {
        **made_with(torch.device(device)),
        "checkpoint": request.checkpoint,
        "architecture": request.architecture.model_dump(mode="json"),
        "data": request.data.model_dump(mode="json"),
        "dataset": examples.facts.title,
        "loss": request.loss,
        "ignore": request.plane.normalisation.ignore,
        "started": began.isoformat(timespec="seconds"),
    }
    found = survey(hessian, hessian.loss(), options or CurvatureOptions(), about, progress)
    found.provenance["seconds"] = round(time.monotonic() - started, 3)
    return found


def survey(
    hessian: MeanLossHessian,
    loss: float,
    options: CurvatureOptions,
    provenance: dict[str, Any],
    progress: Callable[[float], None] | None = None,
) -> Curvature:
    """What is asked for of a Hessian.

    Args:
        hessian: Where its network stands.
        loss: The mean loss there.
        options: How much is found out.
        provenance: How it is measured.
        progress: Told about which share of the work is done, in 0 … 1.

    Raises:
        InvalidRequest: The loss has no second derivatives, they are not finite, or an eigenvector does not separate.
        OutOfMemory: The memory does not suffice.
        Cancelled: The computation was asked to stop.
    """
    top, steps = min(options.top, len(hessian)), min(options.steps, len(hessian))
    phases = [PAIR_PRODUCTS * top, PAIR_PRODUCTS * top, options.trace_probes, options.density_probes * steps]
    told = _Phases(hessian, phases, progress)
    largest = hessian.eigenpairs(top, "top")
    told.next()
    smallest = hessian.eigenpairs(top, "top", smallest=True)
    told.next()
    trace = hessian.trace(options.tolerance, options.trace_probes)
    told.next()
    density = hessian.density(options.density_probes, options.steps)
    told.next()
    scale = max(abs(pair.value) for pair in (*largest, *smallest))
    return Curvature(
        largest=np.array([pair.value for pair in largest]),
        smallest=np.array([pair.value for pair in smallest]),
        error=max(pair.residual for pair in (*largest, *smallest)) * scale,
        trace=trace,
        density=density,
        parameters=len(hessian),
        examples=hessian.examples,
        loss=loss,
        products=hessian.products,
        provenance={**provenance, "options": vars(options)},
    )


class _Phases:
    """Tells how far one is. No phase knows how many products it will take, so its share grows to what is expected at most."""

    def __init__(self, hessian: MeanLossHessian, expected: list[int], progress: Callable[[float], None] | None) -> None:
        self._expected, self._progress = expected, progress
        self._phase = self._done = 0
        hessian.tell(self._product)

    def next(self) -> None:
        """A phase is over."""
        self._phase, self._done = self._phase + 1, 0
        self._tell()

    def _product(self) -> None:
        self._done = min(self._done + 1, self._expected[self._phase])
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress((sum(self._expected[: self._phase]) + self._done) / sum(self._expected))
