"""The curvature of a request's loss at θ*: its Hessian, by products with vectors (Pearlmutter 1994).

The products are float32 for each batch, as all evaluation is, and summed in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape_core.compute.datasets import Batches, Examples
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.directions import moved_tensors
from landscape_core.compute.losses import twice_differentiable
from landscape_core.compute.second_derivatives import DirectedHessian, Vector, enough_memory, varied_parameters
from landscape_core.errors import Cancelled, OutOfMemory
from landscape_core.requests import SurfaceRequest

CONVOLUTION_BATCH, PERCEPTRON_BATCH = 32, 512
"""Examples at a time: second derivatives keep several times the memory of an evaluation."""

SEQUENCES_TOKENS = 2048
"""Tokens at a time, of language models."""


class Hessian(DirectedHessian):
    """The Hessian of a request's mean loss, over the first of its examples, where its network stands: at θ* unless it is moved.

    Args:
        request: The question; its `normalisation.ignore` says of which parameters.
        module: The network at θ*, on the CPU; it is copied.
        examples: The split that the request names.
        count: Over how many of the request's examples, from the first; over all if it has fewer.
        device: A PyTorch device.
        should_stop: Asked before every batch.
        own: Whether the network is the user's own, which takes examples in their own shape.

    Raises:
        InvalidRequest: More examples are asked for than there are.
        OutOfMemory: Network or examples do not fit into the device's memory.
    """

    def __init__(
        self,
        request: SurfaceRequest,
        module: nn.Module,
        examples: Examples,
        count: int,
        device: str = "cpu",
        should_stop: Callable[[], bool] | None = None,
        *,
        own: bool = False,
    ) -> None:
        asked = len(examples.y) if request.data.examples is None else request.data.examples
        data = request.data.model_copy(update={"examples": min(count, asked)})
        convolutional = any(p.dim() == 4 for p in module.parameters())
        how = request.plane.normalisation
        with enough_memory(f"the network and {min(count, asked):,} examples on {device}; take fewer examples"):
            flat = not convolutional and not own and not examples.facts.holds_tokens
            self._batches = Batches(examples, data, torch.device(device), flat=flat, channels_last=not own)
            self.module = copy.deepcopy(module).to(device).eval().requires_grad_(requires_grad=False)
            """The network that is differentiated; what moves it in place moves the Hessian."""
        varied = varied_parameters(self.module, how)
        super().__init__({name: p.requires_grad_() for name, p in varied.items()}, moved_tensors(module, how))
        tokens = examples.facts.decisions
        usual = CONVOLUTION_BATCH if convolutional else PERCEPTRON_BATCH
        self._batch = max(1, SEQUENCES_TOKENS // tokens) if tokens > 1 else usual
        self._loss, self._device, self._should_stop = twice_differentiable(request.loss), device, should_stop

    @property
    def examples(self) -> int:
        """Over how many examples the mean is."""
        return len(self._batches)

    def times(self, vector: Vector) -> Vector:
        """H v, with the parameters in the network's order.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        parts = self._pieces(vector)
        return self._summed(lambda start, stop: self._part(parts, start, stop))

    def loss(self) -> float:
        """The mean loss where the network stands, over the same examples.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        return float(self._summed(self._losses))

    def _summed(self, work: Callable[[int, int], Any]) -> Any:
        """The sum of what is worked out for the examples start … stop of every batch."""
        total: Any = 0.0
        position = 0
        while position < self.examples:
            if self._should_stop is not None and self._should_stop():
                raise Cancelled("The computation was cancelled.")
            end = min(position + self._batch, self.examples)
            try:
                total = total + work(position, end)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch(end - position, error)
                continue
            position = end
        return total

    def _part(self, parts: Sequence[Tensor], start: int, stop: int) -> Vector:
        """What the examples start … stop add to H v."""
        x, labels = self._batches.take(start, stop)
        return self._product(lambda: self._loss(self.module(x), labels).sum() / self.examples, parts)

    @torch.no_grad()
    def _losses(self, start: int, stop: int) -> float:
        """What the examples start … stop add to the mean loss."""
        x, labels = self._batches.take(start, stop)
        return float(self._loss(self.module(x), labels).double().sum()) / self.examples

    def _halve_batch(self, tried: int, error: BaseException) -> None:
        if tried <= 1:
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice for the second derivatives of one example; choose another "
                "direction, or a device with more memory."
            ) from error
        self._batch = max(tried // 2, self._batch // 4)  # a short last batch may fail by chance
