"""A plane through a network: θ(α, β) = θ* + α δ + β η (Li et al. 2018, equation 1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from landscape_core.compute.directions import moved_tensors
from landscape_core.requests import Normalisation


def _laid_out(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; convolution kernels channels-last, so that foreach kernels meet one layout."""
    if tensor.dim() == 4:
        return tensor.to(device, memory_format=torch.channels_last)
    return tensor.to(device)


class Plane:
    """A network that can be moved over the plane that its parameters and one or two directions span.

    Every position is reached from θ* itself, never from the position before, so that a position's parameters do not depend
    on the way there. A direction whose coordinate is 0 is left out, so that (0, 0) is θ* bit for bit. Integer buffers (batch
    norm's counters) stay: evaluation does not use them.

    Args:
        module: The network; it is moved in place, and to the device.
        x: δ, one tensor for each of `moved_tensors`.
        y: η likewise; None for a curve.
        normalisation: Says which of the network's tensors move.
        device: Where the network is evaluated.
        fixed: Names of tensors that are left at θ* because the evaluator moves them by other means (`first_layer`).
    """

    def __init__(
        self,
        module: nn.Module,
        x: Sequence[Tensor],
        y: Sequence[Tensor] | None,
        normalisation: Normalisation,
        device: torch.device,
        fixed: Collection[str] = (),
    ) -> None:
        self.module = module.to(device)
        if any(p.dim() == 4 for p in module.parameters()):
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        tensors = list(moved_tensors(module, normalisation).items())
        floating = [i for i, (name, tensor) in enumerate(tensors) if tensor.is_floating_point() and name not in fixed]
        self._moved = [tensors[index][1].data for index in floating]
        self._origin = [tensor.clone() for tensor in self._moved]
        self._x = [_laid_out(x[index], device) for index in floating]
        self._y = None if y is None else [_laid_out(y[index], device) for index in floating]

    def move_to(self, alpha: float, beta: float = 0.0) -> None:
        """Puts θ* + α δ + β η into the network.

        Args:
            alpha: Coordinate along δ.
            beta: Coordinate along η; left out for a curve.
        """
        if not self._moved:  # a single layer without a bias, which `first_layer` moves
            return
        # In the original's order (net_plotter.py, set_weights): αδ + βη first, then the sum. The foreach functions have no
        # public names yet; torch.optim uses these too.
        torch._foreach_copy_(self._moved, self._origin)
        terms = []
        if alpha != 0.0:
            terms.append(torch._foreach_mul(self._x, alpha))  # noqa: SLF001
        if beta != 0.0 and self._y is not None:
            terms.append(torch._foreach_mul(self._y, beta))  # noqa: SLF001
        if len(terms) == 2:
            torch._foreach_add_(terms[0], terms[1])
        if terms:
            torch._foreach_add_(self._moved, terms[0])
