"""Plain convolutional networks: convolutions, then affine layers, each perhaps with batch norm."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape_core.catalogue import Candidate
from landscape_core.catalogue.convolution_chains import ChainLayer, ConvolutionChain, convolution_chain
from landscape_core.catalogue.convolution_geometry import Step, Window, geometry
from landscape_core.catalogue.families.convnets import own_names
from landscape_core.catalogue.family import Options, Shapes
from landscape_core.compute.architectures.activations import FUNCTIONS
from landscape_core.compute.architectures.pooling import max_pool

fx.wrap("max_pool")  # it looks at shapes, which a traced network has none of


class ConvNet(nn.Module):
    """A chain of convolutions and affine layers, with an activation after each but the last.

    Its modules are registered in the order that the chain gives, so that `parameters()` is in the order of direction files.

    Args:
        chain: The layers.
        options: Values of all of the catalogue's options.
    """

    def __init__(self, chain: ConvolutionChain, options: Options) -> None:
        super().__init__()
        self.chain, self._names = chain, own_names(chain)
        self.steps = geometry(chain, options)
        layers = {layer.name: layer for layer in chain.layers}
        windows = {layer.name: step.convolution for layer, step in zip(chain.convolutions, self.steps, strict=True)}
        norms = {layer.norm: layer for layer in chain.layers}
        for name in chain.order:
            module = _layer(layers[name], windows.get(name)) if name in layers else _norm(norms[name])
            self.add_module(self._names[name], module)
        self.activation = FUNCTIONS[options["activation"]]
        self._averages_pool, self._norm_first = options["pool"] == "average", options["norm"] == "before"
        self.averages = self._averages_pool or options["head"] == "average"
        self._side = math.isqrt(chain.places) if options["head"] == "average" else None

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n classes"]:
        """The outputs of the last layer."""
        for layer, step in zip(self.chain.convolutions, self.steps, strict=True):
            x = self.pooled(step, self._activated(layer, x))
        x = torch.flatten(self.averaged(x), 1)
        *hidden, last = self.chain.affine
        for layer in hidden:
            x = self._activated(layer, x)
        x = self._module(last.name)(x)
        return x if last.norm is None else self._module(last.norm)(x)

    def pooled(self, step: Step, x: Tensor) -> Tensor:
        """What the pooling after a convolution makes of its feature maps; they themselves if there is none."""
        if step.pool is None:
            return x
        size, stride, _ = step.pool
        return functional.avg_pool2d(x, size, stride) if self._averages_pool else max_pool(x, size, stride)

    def averaged(self, x: Tensor) -> Tensor:
        """What the first affine layer takes of the last feature maps, not flattened yet."""
        return x if self._side is None else functional.adaptive_avg_pool2d(x, self._side)

    def name_of(self, layer: ChainLayer) -> str:
        """The name of a layer's module."""
        return self._names[layer.name]

    def _activated(self, layer: ChainLayer, x: Tensor) -> Tensor:
        x = self._module(layer.name)(x)
        if layer.norm is None:
            return self.activation(x)
        norm = self._module(layer.norm)
        return self.activation(norm(x)) if self._norm_first else norm(self.activation(x))

    def _module(self, name: str) -> nn.Module:
        return self.get_submodule(self._names[name])


def _layer(layer: ChainLayer, window: Window | None) -> nn.Module:
    if window is None:
        return nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    size, stride, padding = window
    return nn.Conv2d(layer.inputs, layer.outputs, size, stride=stride, padding=padding, bias=layer.bias)


def _norm(layer: ChainLayer) -> nn.Module:
    kind = nn.BatchNorm2d if layer.kernel else nn.BatchNorm1d
    return kind(layer.outputs, affine=layer.scaled)


def build(candidate: Candidate, options: Options, shapes: Shapes) -> ConvNet:
    """The network with the layers that the file has."""
    del candidate
    return ConvNet(convolution_chain(shapes), options)
