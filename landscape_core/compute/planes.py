"""A plane through a network: θ(α, β) = θ* + α δ + β η (Li et al. 2018, equation 1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from landscape_core.compute.directions import moved_tensors, moving
from landscape_core.requests import Normalisation


def _like(direction: Tensor, moved: Tensor) -> Tensor:
    """The direction where the moved tensor is and laid out like it, so that foreach kernels meet one layout.

    It keeps float32 beside tensors of half precision, whose sums are then rounded once, and is widened to float64 beside those.
    """
    dtype = torch.promote_types(moved.dtype, direction.dtype if direction.dtype == torch.float64 else torch.float32)
    if moved.dim() == 4 and moved.is_contiguous(memory_format=torch.channels_last):
        return direction.to(moved.device, dtype, memory_format=torch.channels_last)
    return direction.to(moved.device, dtype)


class Plane:
    """A network that can be moved over the plane that its parameters and one or two directions span.

    Every position is reached from θ* itself, never from the position before, so that a position's parameters do not depend
    on the way there. A direction whose coordinate is 0 is left out, so that (0, 0) is θ* bit for bit. Integer buffers (batch
    norm's counters) stay: evaluation does not use them. A tensor that has several names (tied weights) is moved once, along
    the direction of its first name.

    Args:
        module: The network; it is moved in place, and to the device.
        x: δ, one tensor for each of `moved_tensors`.
        y: η likewise; None for a curve.
        normalisation: Says which of the network's tensors move.
        device: Where the network is evaluated; None leaves it where and laid out as it is.
        fixed: Names of tensors that are left at θ* because the evaluator moves them by other means (`first_layer`).
        channels_last: Whether convolutions' weights are laid out so on the device.

    Example:
        >>> line = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(line.weight, 2.0)
        >>> plane = Plane(line, [torch.tensor([[1.0]])], None, Normalisation(), None)
        >>> plane.move_to(0.5)
        >>> line.weight.item()
        2.5
    """

    def __init__(
        self,
        module: nn.Module,
        x: Sequence[Tensor],
        y: Sequence[Tensor] | None,
        normalisation: Normalisation,
        device: torch.device | None,
        fixed: Collection[str] = (),
        channels_last: bool = True,
    ) -> None:
        self.module = module if device is None else module.to(device)
        if device is not None and channels_last and any(p.dim() == 4 for p in module.parameters()):
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        named = moved_tensors(module, normalisation)
        tensors, moves = list(named.items()), moving(named)
        floating = [index for index, (name, _) in enumerate(tensors) if moves[index] and name not in fixed]
        self._names = [tensors[index][0] for index in floating]
        self._moved = [tensors[index][1].data for index in floating]
        self._origin = [tensor.clone() for tensor in self._moved]
        self._x = [_like(x[index], tensors[index][1].data) for index in floating]
        self._y = None if y is None else [_like(y[index], tensors[index][1].data) for index in floating]

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

    def several(
        self, alphas: Float[Tensor, " cells"], betas: Float[Tensor, " cells"]
    ) -> dict[str, Shaped[Tensor, "cells ..."]]:
        """The moved tensors at several places, by their names; the network stays where it is.

        Args:
            alphas: Coordinates along δ, on the network's device.
            betas: Along η; left out for a curve.
        """
        found = {}
        for index, (name, origin) in enumerate(zip(self._names, self._origin, strict=True)):
            view = (-1, *[1] * origin.dim())
            step = alphas.view(view) * self._x[index]
            if self._y is not None:
                step += betas.view(view) * self._y[index]
            found[name] = (origin + step).to(origin.dtype)
        return found
