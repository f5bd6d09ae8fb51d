"""A Hessian that is kept from unit to unit, each of which may be stopped by another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from landscape_core.compute import Evaluator, Examples, PlaneCurvature, load
from worker.eigenvalues import Eigenvalues


class WarmCurvature:
    """The eigenvalues of a surface, ready to be measured at any of its cells.

    Args:
        evaluator: Of the same surface; its directions are taken over.
        tensors: The checkpoint's names and arrays.
        examples: The split that the request names.
        device: A PyTorch device.
    """

    def __init__(self, evaluator: Evaluator, tensors: Mapping[str, np.ndarray], examples: Examples, device: str) -> None:
        request = evaluator.request
        self._asked: Callable[[], bool] = lambda: False
        module = load(request.architecture, tensors)
        self._measure = PlaneCurvature.of(request, module, examples, evaluator.directions(), device, self._should_stop)
        each = 4 * math.prod(examples.facts.shape)
        self.nbytes = self._measure.provenance()["examples"] * each + 6 * sum(array.nbytes for array in tensors.values())
        """About how much memory it holds: the examples, and the network where it stands, at θ* and along both directions."""

    def measured(self, cells: tuple[tuple[int, int], ...], should_stop: Callable[[], bool]) -> Eigenvalues:
        """The eigenvalues at some cells.

        Args:
            cells: (row, column) of each.
            should_stop: Asked before every batch.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            Cancelled: `should_stop` said so.
            OutOfMemory: The memory does not suffice.
        """
        self._asked = should_stop
        before = self._measure.provenance()
        found = np.array([self._measure.at(row, column) for row, column in cells]).reshape(-1, 2)
        after = self._measure.provenance()
        return Eigenvalues(
            cells=cells,
            max_eig=found[:, 0],
            min_eig=found[:, 1],
            examples=after["examples"],
            parameters=after["parameters"],
            products=after["products"] - before["products"],
            not_separated=after["not_separated"] - before["not_separated"],
        )

    def _should_stop(self) -> bool:
        """Asks whoever computes the unit in hand."""
        return self._asked()
