"""The Hessian of the mean of a loss of the user's own, where the borrowed network stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.compute.directions import moved_tensors
from landscape_core.compute.own_batches import OwnBatch, first_of, outputs_for
from landscape_core.compute.own_network import OwnNetwork
from landscape_core.compute.second_derivatives import DirectedHessian, Vector, enough_memory, varied_parameters
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Normalisation


class OwnHessian(DirectedHessian):
    """The Hessian of the mean loss over the first examples of a network's batches.

    Products take place within `differentiable`.

    Args:
        network: The borrowed network.
        how: Its `ignore` says by which parameters; its `of` which tensors a direction moves.
        count: Over how many examples, from the first; over all if there are fewer, or for None.
        stand: Puts the network where the Hessian is wanted, before every product; None only gives its buffers back.

    Raises:
        InvalidRequest: No parameter is left to differentiate by.
    """

    def __init__(
        self,
        network: OwnNetwork,
        how: Normalisation,
        count: int | None = None,
        stand: Callable[[], None] | None = None,
    ) -> None:
        varied = varied_parameters(network.module, how)
        if not varied:
            raise InvalidRequest("The model has no parameter of two dimensions or more; take ignore='none'.", field="ignore")
        super().__init__(varied, moved_tensors(network.module, how))
        self._network, self._most, self._stand = network, count, stand or network.reset
        self._count = sum(batch.examples for batch in self._batches())

    @property
    def examples(self) -> int:
        """Over how many examples the mean is."""
        return self._count

    def times(self, vector: Vector) -> Vector:
        """H v, with the parameters in the network's order.

        Raises:
            InvalidRequest: The loss has no second derivatives.
            OutOfMemory: The device's memory does not suffice for a batch.
        """
        self._stand()
        parts, total = self._pieces(vector), np.zeros(len(vector))
        for batch in self._batches():
            with enough_memory(f"the second derivatives of a batch of {batch.examples:,}; give smaller ones"):
                total += self._product(lambda: self._share(batch), parts)  # noqa: B023  called at once
        return total

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """For the time of the block the parameters that it is by require gradients, and no others do."""
        with differentiable(self._network.module, self._varied):
            yield

    def _batches(self) -> Iterator[OwnBatch]:
        return iter(self._network.batches if self._most is None else first_of(self._network.batches, self._most))

    def _share(self, batch: OwnBatch) -> Tensor:
        """What a batch adds to the mean loss."""
        outputs = outputs_for(self._network.module, batch.inputs)
        loss = torch.as_tensor(self._network.loss_fn(outputs, batch.targets))
        return loss.sum() / self._count if loss.dim() else loss * (batch.examples / self._count)


@contextmanager
def differentiable(module: nn.Module, varied: Mapping[str, Tensor]) -> Iterator[None]:
    """For the time of the block these parameters require gradients, and no others do.

    Args:
        module: The network.
        varied: Some of its parameters, by name.
    """
    before = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    wanted = {id(parameter) for parameter in varied.values()}
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
