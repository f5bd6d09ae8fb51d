"""Eigenvalues of both ends of the Hessian at every cell of a plane (Li et al. 2018, section 6 and figure 7).

The Hessian is that of the full network at θ(α, β), not that of the plane's two coordinates: dimensions reduced by random
directions hide negative curvature, which the ratio of the two shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import nn

from landscape_core.compute.curvature import Hessian
from landscape_core.compute.datasets import Examples
from landscape_core.compute.lanczos import NotFinite, NotSeparated
from landscape_core.compute.planes import Plane
from landscape_core.compute.second_derivatives import MeanLossHessian
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Grid, SurfaceRequest

Arrays = Sequence[np.ndarray]


class PlaneCurvature:
    """The Hessian of a mean loss, to be looked into at any cell of a plane.

    A cell's eigenvalues depend on the question and the cell alone: every search begins from the same vector.

    Args:
        hessian: Where its network stands.
        move_to: Puts that network to a place (α, β).
        grid: The cells.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ...     "curvature": {"examples": 2},
        ... })
        >>> examples = Examples.from_arrays(np.diag([2, 1]).astype(np.float32), np.array([0, 1]))
        >>> network = nn.Sequential(nn.Linear(2, 2, bias=False))
        >>> measure = PlaneCurvature.of(request, network, examples, ([np.ones((2, 2), np.float32)], None))
        >>> largest, smallest = measure.at(0, 2)  # H = 2/(N C) XᵀX for both outputs, at every cell
        >>> round(largest, 4), round(smallest, 4)
        (2.0, 0.5)
    """

    def __init__(self, hessian: MeanLossHessian, move_to: Callable[[float, float], None], grid: Grid) -> None:
        self._hessian, self._move_to = hessian, move_to
        self._alphas, self._betas = grid.coordinates
        self._not_separated = 0

    @classmethod
    def of(
        cls,
        request: SurfaceRequest,
        module: nn.Module,
        examples: Examples,
        directions: tuple[Arrays, Arrays | None],
        device: str = "cpu",
        should_stop: Callable[[], bool] | None = None,
        *,
        own: bool = False,
    ) -> PlaneCurvature:
        """That of a request's mean loss.

        Args:
            request: The question; its `curvature` says over how many of its examples, from the first.
            module: The network at θ*, on the CPU; it is copied.
            examples: The split that the request names.
            directions: (δ, η), one float32 array for each moved tensor; η is None for a curve.
            device: A PyTorch device.
            should_stop: Asked before every batch.
            own: Whether the network is the user's own.

        Raises:
            InvalidRequest: The request does not ask for it, or there are not so many examples.
            OutOfMemory: Network or examples do not fit into the device's memory.
        """
        if request.curvature is None:
            raise InvalidRequest("The request does not ask for eigenvalues at its cells.", field="curvature")
        hessian = Hessian(request, module, examples, request.curvature.examples, device, should_stop, own=own)
        x, y = ([torch.from_numpy(array) for array in arrays or ()] for arrays in directions)
        plane = Plane(hessian.module, x, None if directions[1] is None else y, request.plane.normalisation, None)
        return cls(hessian, plane.move_to, request.grid)

    def at(self, row: int, column: int) -> tuple[float, float]:
        """The largest and the smallest eigenvalue at a cell; NaN where the loss is not finite, or they did not separate.

        Args:
            row: Index into grid.y.
            column: Index into grid.x.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            Cancelled: `should_stop` said so.
            OutOfMemory: The memory does not suffice.
        """
        self._move_to(float(self._alphas[column]), float(self._betas[row]))
        try:
            smallest, largest = self._hessian.extremes()
        except NotFinite:
            return float("nan"), float("nan")
        except NotSeparated:
            self._not_separated += 1
            return float("nan"), float("nan")
        return largest.value, smallest.value

    def everywhere(
        self, progress: Callable[[float], None] | None = None, known: Bool[np.ndarray, "rows columns"] | None = None
    ) -> dict[str, Float64[np.ndarray, "rows columns"]]:
        """`max_eig` and `min_eig` at every cell of the grid, (ny, nx) each.

        Args:
            progress: Told after every cell which share of them is done.
            known: Cells at which they need not be measured, and stay NaN.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            Cancelled: `should_stop` said so.
            OutOfMemory: The memory does not suffice.
        """
        shape = (len(self._betas), len(self._alphas))
        largest, smallest = np.full(shape, np.nan), np.full(shape, np.nan)
        wanted = np.argwhere(np.ones(shape, bool) if known is None else ~known).tolist()
        for index, (row, column) in enumerate(wanted):
            largest[row, column], smallest[row, column] = self.at(row, column)
            if progress is not None:
                progress((index + 1) / len(wanted))
        return {"max_eig": largest, "min_eig": smallest}

    def provenance(self) -> dict[str, Any]:
        """How the eigenvalues were measured. JSON-able."""
        return {
            "examples": self._hessian.examples,
            "parameters": len(self._hessian),
            "products": self._hessian.products,
            "not_separated": self._not_separated,
        }
