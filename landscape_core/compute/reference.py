"""The reference engine: one cell at a time, in float64, as plainly as it can be said. Tests compare the fast one with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64

from landscape_core.compute.architectures import load
from landscape_core.compute.datasets import Examples, prepare
from landscape_core.compute.derivation import CheckpointReader, derive
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors
from landscape_core.compute.losses import per_example
from landscape_core.requests import SurfaceRequest


def reference_surface(
    request: SurfaceRequest,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    direction_arrays: DirectionArrays | None = None,
    checkpoints: CheckpointReader | None = None,
) -> tuple[Float64[np.ndarray, "rows nx"], Float64[np.ndarray, "rows nx"]]:
    """(mean loss, accuracy in percent) at every cell of the request's grid, in float64 throughout.

    The directions and the prepared examples are those of the fast engine, widened; all arithmetic after that is float64.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        direction_arrays: What the direction file holds, for directions from a file.
        checkpoints: Reads the other checkpoints that the request names, by their ids.

    Returns:
        (ny, nx) each.

    Raises:
        InvalidRequest: The request does not go with the checkpoint, the data set or another checkpoint.
        DirectionsRejected: The direction file does not belong to the network.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> loss, accuracy = reference_surface(request, tensors, examples)
        >>> from landscape_core.compute import compute_surface
        >>> bool(np.allclose(loss, compute_surface(request, tensors, examples).loss, rtol=1e-5))
        True
    """
    module = load(request.architecture, tensors)
    if request.plane.is_derived:
        direction_arrays = derive(request, tensors, examples, direction_arrays, checkpoints)
    x, y = directions_for(request, module, direction_arrays)
    images, labels = prepare(examples, request.data)
    module = module.double()
    moved = list(moved_tensors(module, request.plane.normalisation).values())
    origin = [tensor.clone() for tensor in moved]
    alphas, betas = request.grid.coordinates
    loss, accuracy = np.empty(request.grid.shape), np.empty(request.grid.shape)
    for row, beta in enumerate(betas):
        for column, alpha in enumerate(alphas):
            for index, tensor in enumerate(moved):
                if tensor.is_floating_point():
                    tensor.copy_(origin[index] + alpha * x[index] + (0 if y is None else beta * y[index]))
            with torch.inference_mode():
                outputs = module(images.double() if images.is_floating_point() else images)
            loss[row, column] = per_example(request.loss)(outputs, labels).mean()
            accuracy[row, column] = 100 * (outputs.argmax(dim=-1) == labels).double().mean()
    return loss, accuracy
