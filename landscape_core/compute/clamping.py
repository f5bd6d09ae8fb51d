"""Batch norm and ReLU in front of a 1 x 1 convolution as one clamp, on CPUs (DenseNets have nothing else in front of theirs).

With s = γ / √(σ² + ε) and c = μ − β / s, the place where batch norm gives 0,

    ReLU(BN(x)) = ReLU(s (x − c)) = s max(x, c) − s c    for s > 0,   s min(x, c) − s c    for s < 0

The factor s goes into the convolution's weights, and −s c = β − s μ, which does not depend on x, into its bias, for a
convolution of one place pads nothing. So feature maps are gone through once instead of twice. Results differ by rounding.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ClampedNorm(nn.Module):
    """Stands for batch norm and ReLU in front of a convolution, which `taken_over` gives its weight and bias.

    Args:
        norm: In evaluation mode, with running statistics.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm
        self._bounds: tuple[Tensor, Tensor] | None = None

    def taken_over(
        self, weight: Float[Tensor, "out channels 1 1"], bias: Float[Tensor, " out"] | None
    ) -> tuple[Float[Tensor, "out channels 1 1"], Float[Tensor, " out"] | None]:
        """Weight and bias of the convolution behind, such that it wants clamped inputs; `forward` clamps from now on.

        Where the norm is not finite, it is left as it is, and so are weight and bias: 0 ∙ ∞ would make other numbers NaN.
        """
        mean, variance = cast("Tensor", self.norm.running_mean), cast("Tensor", self.norm.running_var)
        scale = torch.rsqrt(variance + self.norm.eps)
        if self.norm.affine:
            scale = scale * self.norm.weight
        start = self.norm.bias if self.norm.affine else torch.zeros_like(scale)
        offset, zero = start - scale * mean, mean - start / scale
        if not torch.stack([scale, start, mean, offset]).isfinite().all():
            self.leave()
            return weight, bias
        flat = ~zero.isfinite()  # s is 0, or as good as that
        scale, offset = scale.masked_fill(flat, 0.0), torch.where(flat, functional.relu(start), offset)
        zero = zero.masked_fill(flat, 0.0)
        low, high = torch.where(scale < 0, -torch.inf, zero), torch.where(scale > 0, torch.inf, zero)
        self._bounds = low.view(1, -1, 1, 1), high.view(1, -1, 1, 1)
        shift = (weight[:, :, 0, 0].double() @ offset.double()).to(weight.dtype)
        return weight * scale.view(1, -1, 1, 1), shift if bias is None else shift + bias

    def leave(self) -> None:
        """Batch norm and ReLU are done here from now on."""
        self._bounds = None

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
        """What the convolution behind wants."""
        return functional.relu(self.norm(x)) if self._bounds is None else torch.clamp(x, *self._bounds)
