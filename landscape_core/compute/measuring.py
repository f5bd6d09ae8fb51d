"""What a network gives for a batch at one cell, or at several in one call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from landscape_core.compute.datasets import Batches
from landscape_core.compute.losses import classified_rightly, per_example
from landscape_core.compute.metrics import counts_of
from landscape_core.compute.moved_network import MovedNetwork
from landscape_core.compute.precision import computing_in, in_float32
from landscape_core.requests import SurfaceRequest


@dataclass(frozen=True)
class Measured:
    """A batch of n examples at some cells, on the device.

    Attributes:
        losses: (cells, n), of each example.
        right: (cells, n), or (cells, n, tokens): whether it, or each token of it, was classified rightly.
        counts: What else was counted, (cells, …); see `metrics.counts_of`.
    """

    losses: Float[Tensor, "cells n"]
    right: Bool[Tensor, "cells n *tokens"]
    counts: dict[str, Int[Tensor, "*_cells"]]


class Measuring:
    """Measures batches of a request's examples.

    Args:
        request: The question.
        classes: How many classes the data set has.
        batches: The examples.
        network: It, on its plane.
    """

    def __init__(self, request: SurfaceRequest, classes: int, batches: Batches, network: MovedNetwork) -> None:
        self._request, self._classes, self._batches, self._network = request, classes, batches, network
        self._loss = per_example(request.loss)

    @torch.inference_mode()
    def here(self, start: int, stop: int) -> Measured:
        """Where the network stands: one cell.

        Args:
            start: First example, in the slice's order.
            stop: One after the last.
        """
        x, labels = self._batches.take(start, stop)
        outputs = self._network.outputs(x, start, stop)
        return self._measured(outputs[None], self._loss(outputs, labels)[None], labels)

    @torch.inference_mode()
    def at_several(self, start: int, stop: int) -> Measured:
        """At the several places where the network stands.

        Args:
            start: First example, in the slice's order.
            stop: One after the last.
        """
        x, labels = self._batches.take(start, stop)
        outputs = self._network.outputs_at(x, start, stop)
        losses = self._loss(outputs.flatten(0, 1), labels.repeat(len(outputs)))
        return self._measured(outputs, losses.view(len(outputs), len(labels)), labels)

    @torch.inference_mode()
    def of(self, module: nn.Module, start: int, stop: int) -> Measured:
        """What another network of the same kind gives; nothing else is counted.

        Args:
            module: It, on the device.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        x, labels = self._batches.take(start, stop)
        with computing_in(self._request.precision, x.device):
            outputs = in_float32(module(x))
        return Measured(self._loss(outputs, labels)[None], classified_rightly(outputs, labels)[None], {})

    def _measured(self, outputs: Tensor, losses: Tensor, labels: Tensor) -> Measured:
        right, metrics = classified_rightly(outputs, labels.expand(outputs.shape[:-1])), self._request.metrics
        return Measured(losses, right, counts_of(metrics, self._classes, outputs, labels, right) if metrics else {})
