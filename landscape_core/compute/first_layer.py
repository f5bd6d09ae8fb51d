"""The first layer of an MLP over a plane, without a matrix product per cell.

Before its activation, the first layer is affine in its parameters: (W + α δ + β η) x = W x + α δ x + β η x. The three
products are made once for each batch and combined at each cell, which leaves a small part of the work: an MLP 784-128-10
has 99 % of its multiply-accumulates in its first layer.

The sum differs from the plain product of the moved weights by rounding, which can turn the decision for an image on the
boundary between two classes. Where a batch holds such an image, its outputs come from the plain product (`directly`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from landscape_core.compute.architectures import Perceptron
from landscape_core.compute.architectures.mlp import affine
from landscape_core.compute.datasets import Batches

FIRST_LAYER_BYTES = 512 << 20
"""Most bytes of stored products; beyond, the layer is computed at every cell like any other."""

UNDECIDED = 1e-5
"""Two largest outputs that differ by less than this share of the larger one are on the boundary; rounding reaches a tenth."""


class FirstLayer:
    """The first layer's outputs before its activation, at any place of the plane. Made before the network is moved.

    Args:
        module: The network at θ*, on the device.
        directions: δ, then η if there is one; its first tensors are the first layer's weight and, if it has one, bias.
        batches: The examples.
    """

    def __init__(self, module: Perceptron, directions: Sequence[Sequence[Tensor]], batches: Batches) -> None:
        layer = module.first
        own = [p.data.clone() for p in layer.parameters()]
        self.names = [f"layers.0.{name}" for name, _ in layer.named_parameters()]
        moved = [[tensor.to(own[0].device) for tensor in direction[: len(own)]] for direction in directions]
        self._affine = [own, *moved]
        self._batches = batches
        self._products: dict[tuple[int, int], list[Tensor]] = {}

    @classmethod
    def fits(cls, module: Perceptron, directions: int, examples: int) -> bool:
        """Whether the products of this many examples stay within `FIRST_LAYER_BYTES`."""
        return 4 * examples * module.first.out_features * (1 + directions) <= FIRST_LAYER_BYTES

    def at(self, alpha: float, beta: float, start: int, stop: int) -> Float[Tensor, "hidden n"]:
        """(W + α δ + β η) x + bias for the examples start … stop, from the stored products. Not to be changed in place."""
        own, *moved = self._stored(start, stop)
        for product, coordinate in zip(moved, (alpha, beta), strict=False):
            if coordinate != 0.0:
                own = torch.add(own, product, alpha=coordinate)
        return own

    def at_several(
        self, alphas: Float[Tensor, " cells"], betas: Float[Tensor, " cells"], start: int, stop: int
    ) -> Float[Tensor, "cells hidden n"]:
        """The same at several places.

        Args:
            alphas: Coordinates along δ, on the device.
            betas: Along η; left out for a curve.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        own, *moved = self._stored(start, stop)
        for product, coordinates in zip(moved, (alphas, betas), strict=False):
            own = torch.addcmul(own, coordinates.view(-1, 1, 1), product)
        return own

    def directly(self, alpha: float, beta: float, start: int, stop: int) -> Float[Tensor, "hidden n"]:
        """The same as the product of the moved weights, in the original's order: αδ + βη first, then the sum."""
        own, *moved = self._affine
        steps = [[c * tensor for tensor in d] for d, c in zip(moved, (alpha, beta), strict=False) if c != 0.0]
        added = [sum(parts[1:], parts[0]) for parts in zip(*steps, strict=True)]
        weight, *bias = [p + step for p, step in zip(own, added, strict=True)] if steps else own
        x, _ = self._batches.take(start, stop)
        return affine(weight, bias[0] if bias else None, x.T)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for an example that are saved at each cell."""
        return self._affine[0][0].numel()

    def forget(self) -> None:
        """Drops the stored products, to free their memory."""
        self._products.clear()

    def _stored(self, start: int, stop: int) -> list[Tensor]:
        """W x + bias, then the same of the directions, each (hidden, n)."""
        key = (start, stop)
        if key not in self._products:
            x, _ = self._batches.take(start, stop)
            self._products[key] = [affine(weight, bias[0] if bias else None, x.T) for weight, *bias in self._affine]
        return self._products[key]


def undecided(outputs: Float[Tensor, "*cells n classes"]) -> Bool[Tensor, "*cells"]:
    """Whether, at a cell, an example's two largest outputs differ by no more than rounding may."""
    if outputs.shape[-1] < 2:
        return torch.zeros(outputs.shape[:-2], dtype=torch.bool)
    largest, second = outputs.topk(2, dim=-1).values.unbind(-1)
    return (largest - second <= UNDECIDED * largest.abs()).any(dim=-1)
