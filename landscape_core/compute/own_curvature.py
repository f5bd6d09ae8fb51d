"""The curvature of any loss of any network: the user's own module, loss and batches, as in a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import nn

from landscape_core.compute.borrowing import borrowed, check_borrowable, unwrapped
from landscape_core.compute.devices import choose_device
from landscape_core.compute.own_batches import OwnBatches
from landscape_core.compute.own_hessian import OwnHessian
from landscape_core.compute.own_models import landscape
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.surveys import survey
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Normalisation
from landscape_core.spectra import Curvature, CurvatureOptions

POINT = {"x": {"start": 0, "stop": 0, "points": 1}}
"""The grid of θ* alone."""


def curvature(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    batches: Iterable[Any],
    *,
    top: int = 5,
    ignore: Literal["biasbn", "none"] = "biasbn",
    tolerance: float = 0.05,
    trace_probes: int = 100,
    density_probes: int = 4,
    steps: int = 60,
    device: str | torch.device | None = None,
    eval_mode: bool = True,
    check_deterministic: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Curvature:
    """The curvature of a network's mean loss: eigenvalues of both ends of its Hessian, trace, spectral density.

    The Hessian is known by its products with vectors (Pearlmutter 1994), each as long as some five evaluations; with the
    defaults a few hundred are needed. Where an activation has kinks (ReLU), it is that between them. The model is given back
    as it was, whatever ends the computation.

    Args:
        model: Any network, as for `landscape`.
        loss_fn: As for `landscape`; it must be differentiable twice.
        batches: As for `landscape`. The curvature is of the mean over all of them: give as many as there is time for.
        top: How many eigenvalues of either end, 1 … 20; all if there are fewer.
        ignore: By which parameters: "biasbn" leaves out those of at most one dimension, as the code of Li et al. 2018 does;
            "none" takes all.
        tolerance: The standard error of the trace that is good enough, as a share of the trace.
        trace_probes: Most random vectors for the trace (Hutchinson 1990).
        density_probes: Random vectors for the density (Ghorbani et al. 2019).
        steps: Products for each of these.
        device: As for `landscape`.
        eval_mode: As for `landscape`.
        check_deterministic: As for `landscape`.
        progress: Told about which share of the work is done, in 0 … 1.

    Returns:
        What was found; the same for the same model, batches and machine.

    Raises:
        InvalidRequest: Something given cannot be used, the loss has no second derivatives, or they are not finite.
        OutOfMemory: A batch, or the vectors that are kept, do not fit into memory.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> data = [(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1))]
        >>> found = curvature(model, lambda out, y: ((out - y) ** 2).mean(dim=1), data)
        >>> found.largest.round(6), round(found.trace.value, 6)  # H = 2/N XᵀX
        (array([4., 1.]), 5.0)
    """
    started = time.monotonic()
    options = CurvatureOptions(top, tolerance, trace_probes, density_probes, steps)
    if ignore not in {"biasbn", "none"}:
        raise InvalidRequest(f"ignore should be 'biasbn' or 'none', but {ignore!r} came.", field="ignore")
    given = list(batches) if isinstance(batches, Iterator) else batches  # it is read more than once
    chosen = {"device": device, "eval_mode": eval_mode, "check_deterministic": check_deterministic}
    at = landscape(model, loss_fn, given, grid=POINT, **chosen)  # type: ignore[arg-type]
    module = unwrapped(model)
    check_borrowable(module)
    where = None if device is None else torch.device(choose_device(str(device)))
    told = {name: value for name, value in at.provenance.items() if name not in {"plane", "grid", "directions", "seconds"}}
    with borrowed(module, where, evaluating=eval_mode) as reset_buffers:
        data = OwnBatches(given, where or next(module.parameters()).device)
        hessian = OwnHessian(OwnNetwork(module, loss_fn, data, reset_buffers), Normalisation(ignore=ignore))
        about = {**told, "source": "landscape_core.curvature", "ignore": ignore}
        with hessian.differentiable():
            found = survey(hessian, float(at.loss[0, 0]), options, about, progress)
    found.provenance["seconds"] = round(time.monotonic() - started, 3)
    return found
