"""The curvature of the loss at θ*: eigenvectors of its Hessian, by products of the Hessian with vectors (Pearlmutter 1994).

The products are float32 for each batch, as all evaluation is, and summed in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_core.compute.datasets import Batches, Examples
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.directions import moved_tensors, tensor_seed, unit_direction
from landscape_core.compute.lanczos import Eigenpair, top_eigenpairs
from landscape_core.compute.losses import twice_differentiable
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.requests import SurfaceRequest

CONVOLUTION_BATCH, PERCEPTRON_BATCH = 32, 512
"""Examples at a time: second derivatives keep several times the memory of an evaluation."""

SEQUENCES_TOKENS = 2048
"""Tokens at a time, of language models."""


class Hessian:
    """The Hessian of a request's mean loss at θ*, over the first of its examples.

    Args:
        request: The question; its `normalisation.ignore` says of which parameters.
        module: The network at θ*, on the CPU; it is copied.
        examples: The split that the request names.
        count: Over how many of the request's examples, from the first; over all if it has fewer.
        device: A PyTorch device.
        should_stop: Asked before every batch.
    """

    def __init__(
        self,
        request: SurfaceRequest,
        module: nn.Module,
        examples: Examples,
        count: int,
        device: str = "cpu",
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        asked = len(examples.y) if request.data.examples is None else request.data.examples
        data = request.data.model_copy(update={"examples": min(count, asked)})
        convolutional = any(p.dim() == 4 for p in module.parameters())
        flat = not convolutional and not examples.facts.holds_tokens
        self._batches = Batches(examples, data, torch.device(device), flat=flat)
        tokens = examples.facts.decisions
        self._batch = max(1, SEQUENCES_TOKENS // tokens) if tokens > 1 else PERCEPTRON_BATCH if flat else CONVOLUTION_BATCH
        self._module = copy.deepcopy(module).to(device)
        how = request.plane.normalisation
        self._varied = {
            name: parameter.detach().clone().requires_grad_()
            for name, parameter in self._module.named_parameters()
            if how.ignore == "none" or parameter.dim() > 1
        }
        self._moved = {name: tensor.detach().numpy() for name, tensor in moved_tensors(module, how).items()}
        self._sizes = [parameter.numel() for parameter in self._varied.values()]
        self._loss, self._device, self._should_stop = twice_differentiable(request.loss), device, should_stop

    def __len__(self) -> int:
        """How many parameters it is of."""
        return sum(self._sizes)

    @property
    def examples(self) -> int:
        """Over how many examples the mean is."""
        return len(self._batches)

    def times(self, vector: Float64[np.ndarray, " parameters"]) -> Float64[np.ndarray, " parameters"]:
        """H v, with the parameters in the network's order.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        pieces = torch.from_numpy(vector).to(self._device, torch.float32).split(self._sizes)
        parts = [piece.view(p.shape) for piece, p in zip(pieces, self._varied.values(), strict=True)]
        total, position = np.zeros(len(vector)), 0
        while position < self.examples:
            if self._should_stop is not None and self._should_stop():
                raise Cancelled("The computation was cancelled.")
            end = min(position + self._batch, self.examples)
            try:
                total += self._part(parts, position, end)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch(end - position, error)
                continue
            position = end
        return total

    def eigenpairs(self, count: int, field: str, *, smallest: bool = False) -> list[Eigenpair]:
        """The eigenpairs of the largest eigenvalues, largest first; or of the smallest, smallest first.

        Args:
            count: How many.
            field: The part of the request that asks for them.
            smallest: Whether from the other end.

        Raises:
            InvalidRequest: There are not so many, or they cannot be found (see `lanczos`).
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        if count > len(self):
            raise InvalidRequest(
                f"The Hessian is of {len(self):,} parameters, so it has no eigenvector {count}; ask for a lower number.",
                field=field,
            )
        if not smallest:
            return top_eigenpairs(self.times, count, self._start)
        pairs = top_eigenpairs(lambda vector: -self.times(vector), count, self._start)
        return [Eigenpair(-pair.value, pair.vector, pair.residual, pair.products) for pair in pairs]

    def direction(self, vector: Float64[np.ndarray, " parameters"]) -> list[np.ndarray]:
        """A vector as a direction of length one: float32, one array for each moved tensor, zero where nothing is varied."""
        pieces = dict(zip(self._varied, np.split(vector, np.cumsum(self._sizes)[:-1]), strict=True))
        parts = [pieces.get(name, np.zeros(array.size)) for name, array in self._moved.items()]
        return unit_direction(parts, list(self._moved.values()))

    def _part(self, parts: list[Tensor], start: int, stop: int) -> Float64[np.ndarray, " parameters"]:
        """What the examples start … stop add to H v."""
        x, labels = self._batches.take(start, stop)
        varied = list(self._varied.values())
        # the fused attention of a CPU has no second derivative
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            share = self._loss(functional_call(self._module, self._varied, (x,)), labels).sum() / self.examples
            gradients = torch.autograd.grad(share, varied, create_graph=True, materialize_grads=True)
            pairs = [(g, v) for g, v in zip(gradients, parts, strict=True) if g.requires_grad]
            if not pairs:  # the loss is linear in all of them
                return np.zeros(len(self))
            curved, along = ([pair[index] for pair in pairs] for index in (0, 1))
            products = torch.autograd.grad(curved, varied, along, materialize_grads=True)
        return torch.cat([product.flatten() for product in products]).cpu().numpy().astype(np.float64)

    def _start(self, position: int) -> Float64[np.ndarray, " parameters"]:
        """A Gaussian vector, drawn per tensor as random directions are, with the eigenpair's position for a seed."""
        drawn = []
        for name, parameter in self._varied.items():
            generator = torch.Generator().manual_seed(tensor_seed(position, name))
            drawn.append(torch.randn(parameter.numel(), generator=generator, dtype=torch.float64).numpy())
        return np.concatenate(drawn)

    def _halve_batch(self, tried: int, error: BaseException) -> None:
        if tried <= 1:
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice for the second derivatives of one example; choose another "
                "direction, or a device with more memory."
            ) from error
        self._batch = tried // 2
