"""Batch norm folded into the convolution or affine layer before it, at every place of the plane.

In evaluation mode batch norm is affine, channel by channel. With s = γ / √(σ² + ε),

    BN(W ∗ x + b) = (s W) ∗ x + β − s (μ − b)

so that a network at θ* + α δ + β η needs no pass over its feature maps for it. The folded weights are made anew at each place
from those that were moved. Outputs differ from the plain ones by rounding.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class _Pair:
    """A layer, the batch norm after it, and the weight and bias that stand for both."""

    layer: Layer
    norm: _BatchNorm
    weight: Float[Tensor, "out ..."]
    bias: Float[Tensor, " out"]

    def fold(self) -> None:
        """Puts what layer and norm hold now into weight and bias."""
        mean, variance = cast("Tensor", self.norm.running_mean), cast("Tensor", self.norm.running_var)
        scale = torch.rsqrt(variance + self.norm.eps)
        if self.norm.affine:
            scale = scale * self.norm.weight
        if self.layer.bias is not None:
            mean = mean - self.layer.bias
        torch.mul(self.layer.weight, scale.view(-1, *(1,) * (self.layer.weight.dim() - 1)), out=self.weight)
        start = self.norm.bias if self.norm.affine else torch.zeros_like(scale)
        torch.addcmul(start, mean, scale, value=-1, out=self.bias)


class Folding:
    """A network without the batch norms that alone take what a convolution or an affine layer puts out.

    It shares all other tensors with the network, and moves with it; `refold` makes its own from the network's as they are then.

    Args:
        network: In evaluation mode, on its device; it is not changed. It does the same with every input.
        example: An input.
    """

    def __init__(self, network: nn.Module, example: Float[Tensor, "n ..."]) -> None:
        layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, (*_LAYERS, _BatchNorm))}
        with torch.inference_mode(), _Watch(layers.values()) as watch:
            network(example)
        names = {layer: name for name, layer in layers.items()}
        tensors = [*network.parameters(), *network.buffers()]
        self.module = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
        self._pairs = []
        for layer, norm in watch.pairs():
            weight = torch.empty_like(layer.weight)
            pair = _Pair(layer, norm, weight, weight.new_empty(len(weight)))
            self._pairs.append(pair)
            self.module.set_submodule(names[norm], nn.Identity())
            standing = cast("Layer", self.module.get_submodule(names[layer]))
            standing.weight, standing.bias = (nn.Parameter(t, requires_grad=False) for t in (pair.weight, pair.bias))

    def __len__(self) -> int:
        """How many batch norms are folded."""
        return len(self._pairs)

    @torch.inference_mode()
    def refold(self) -> None:
        """Puts the network's weights, as they are now, into `module`."""
        for pair in self._pairs:
            pair.fold()


class _Watch(TorchFunctionMode):
    """Sees which batch norms take what which layers put out, and whether anything else takes it.

    Args:
        layers: The layers and norms that are looked at.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self._layers = list(layers)
        self._calls: Counter[nn.Module] = Counter()
        self._uses: Counter[int] = Counter()
        self._outputs: dict[int, tuple[nn.Module, Tensor]] = {}
        self._follows: list[tuple[nn.Module, nn.Module, int]] = []
        self._handles: list[Any] = []

    def __enter__(self) -> _Watch:
        self._handles = [layer.register_forward_hook(self._called) for layer in self._layers]
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Counts the functions that make a tensor from a tensor."""
        del types
        given = kwargs or {}
        made = func(*args, **given)
        new = {id(leaf) for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        if new:
            taken = {id(leaf) for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)}
            self._uses.update(taken)
            for tensor in new - taken:  # its id may have been that of another, which is gone
                self._uses[tensor] = 0
        return made

    def pairs(self) -> list[tuple[Layer, _BatchNorm]]:
        """Each layer whose output goes into one batch norm and nowhere else, where both are called once."""
        return [
            (cast("Layer", layer), cast("_BatchNorm", norm))
            for layer, norm, output in self._follows
            if self._calls[layer] == self._calls[norm] == self._uses[output] == 1 and norm.running_var is not None
        ]

    def _called(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self._calls[module] += 1
        self._outputs[id(output)] = (module, output)  # kept, so that no other tensor gets its id
        before = self._outputs.get(id(args[0]))
        if isinstance(module, _BatchNorm) and before is not None and isinstance(before[0], _LAYERS):
            self._follows.append((before[0], module, id(args[0])))
