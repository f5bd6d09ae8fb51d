"""Batch norm's running statistics, estimated anew for a network that was moved.

The statistics that a checkpoint holds are of its own weights: a few steps away, each layer divides by a variance that is not
that of its input any more, and the loss explodes for that reason alone. Re-estimation is a pass of the moved network over fixed
examples, as `torch.optim.swa_utils.update_bn` makes it for averaged weights (Izmailov et al. 2018), here with
all examples in one batch and nothing but batch norm in training mode:

* in this pass every layer normalises with the mean and the biased variance of its input, as torch's training mode does, and so
  does every layer before it;
* afterwards it keeps that mean, and the unbiased variance n / (n − 1) of it, as torch's `running_var` does; of a layer that is
  used several times in a pass, their mean over the uses, as torch's cumulative average (`momentum=None`) has it.

One batch, because the average over small batches depends on how they are cut (Wu and Johnson 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape_core.errors import InvalidRequest

Statistics = tuple[Float64[Tensor, " channels"], Float64[Tensor, " channels"]]


class BatchNormStatistics:
    """The running statistics of a network's batch-norm layers, to be estimated anew and put back.

    Args:
        module: The network, with the statistics that it holds itself. Layers without running statistics are left alone.

    Raises:
        InvalidRequest: It has none.
    """

    def __init__(self, module: nn.Module) -> None:
        layers = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
        if not layers:
            raise InvalidRequest(
                "The network has no batch norm with running statistics, so there is nothing to re-estimate; leave batch_norm "
                "fixed.",
                field="batch_norm",
            )
        self._layers = layers
        self._own = [(_kept(layer.running_mean), _kept(layer.running_var)) for layer in layers]

    def restore(self) -> None:
        """Puts the network's own statistics back."""
        for layer, statistics in zip(self._layers, self._own, strict=True):
            _put(layer, statistics)

    @torch.inference_mode()
    def reestimate(self, evaluate: Callable[[], Any]) -> None:
        """Gives every layer the statistics of the network as it stands; see above for which.

        A layer that the pass does not reach gets its own back. A variance that overflows is NaN, not infinite, for dividing
        by infinity would make a number of it.

        Args:
            evaluate: Evaluates the network once, in evaluation mode, on all examples in one batch.
        """
        self.restore()
        seen: list[list[Statistics]] = [[] for _ in self._layers]
        hooks = [
            layer.register_forward_pre_hook(partial(_observe, uses), with_kwargs=True)
            for layer, uses in zip(self._layers, seen, strict=True)
        ]
        try:
            evaluate()
        finally:
            for hook in hooks:
                hook.remove()
        for layer, uses in zip(self._layers, seen, strict=True):
            if uses:
                _put(layer, (_mean([mean for mean, _ in uses]), _mean([variance for _, variance in uses])))


def moments(x: Float[Tensor, "n channels *places"]) -> Statistics:
    """(mean, biased variance) of each channel, float64.

    Sums over one example are float32 (of half precision too), sums over examples float64. The variance is that of what
    remains once the rounded mean is taken off, so that a large mean costs it no digits.

    Args:
        x: A batch; dimension 1 holds the channels.

    Example:
        >>> moments(torch.tensor([[1.0], [3.0]]))
        (tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    x = x if x.dtype in {torch.float32, torch.float64} else x.float()
    count, places = x.numel() // x.shape[1], tuple(range(2, x.dim()))

    def mean_of(values: Tensor) -> Tensor:
        return (values.sum(places) if places else values).double().sum(0) / count

    mean = mean_of(x)
    rest = x - mean.to(x.dtype).view(1, -1, *[1] * len(places))
    return mean, mean_of(rest.square()) - mean_of(rest).square()


def _observe(uses: list[Statistics], layer: _BatchNorm, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What a layer does before it normalises: takes its input's statistics for its own."""
    x = args[0] if args else kwargs["input"]
    mean, variance = moments(x)
    count = x.numel() // x.shape[1]
    uses.append((mean, variance * (count / max(1, count - 1))))
    _put(layer, (mean, variance))


def _put(layer: _BatchNorm, statistics: tuple[Tensor, Tensor]) -> None:
    for buffer, value in zip((layer.running_mean, layer.running_var), statistics, strict=True):
        if buffer is not None:
            buffer.copy_(value)
            buffer.masked_fill_(buffer.isinf(), torch.nan)


def _kept(buffer: Tensor | None) -> Tensor:
    return torch.empty(0) if buffer is None else buffer.clone()


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(dim=0)
