"""Scaling a random direction to a network: the arithmetic of `net_plotter.py` in the code of Li et al. 2018."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from landscape_core.requests import Norm, Normalisation

TINY = 1e-10
"""What the original adds to a filter's norm before dividing by it (`normalize_direction`)."""


def transposed_groups(module: nn.Module) -> dict[str, int]:
    """The weights of transposed convolutions, (in, out / groups, …), by name, with their number of groups.

    Parametrised ones are found too (spectral and weight norm, old and new). A weight that is tied goes by its first name.
    """
    found = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        if isinstance(part, _ConvTransposeNd):
            shape = (part.in_channels, part.out_channels // part.groups, *part.kernel_size)
            for name, tensor in (*part.named_parameters(), *part.named_buffers()):
                if tuple(tensor.shape) == shape:
                    found[f"{prefix}.{name}" if prefix else name] = part.groups
    return found


def _filter_norms(tensor: Float64[Tensor, "*shape"], groups: int | None) -> Float64[Tensor, "*norms"]:
    """The norm of each filter, shaped so that it multiplies the tensor; see `normalise`."""
    if groups is None:
        norms = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
        return norms.reshape(-1, *[1] * (tensor.dim() - 1))
    per_group = tensor.unflatten(0, (groups, -1)).flatten(3)
    norms = torch.linalg.vector_norm(per_group, dim=(1, 3), keepdim=True).expand(-1, per_group.shape[1], -1, -1)
    return norms.flatten(0, 1).reshape(*tensor.shape[:2], *[1] * (tensor.dim() - 2))


def normalise(
    d: Float[Tensor, "*shape"], w: Float[Tensor, "*shape"], how: Normalisation, groups: int | None = None
) -> Float[Tensor, "*shape"]:
    """The direction d of one tensor, scaled to the network's tensor w.

    With at most one dimension (biases, batch norm) d becomes zero for `ignore="biasbn"`, otherwise a copy of w. Else, by
    `how.norm` (Li et al. 2018, section 4; `normalize_direction` in their code):

        filter   d[i] ‖w[i]‖ / (‖d[i]‖ + 1e-10)    for each i of the first dimension: an output channel, a neuron, a row
        layer    d ‖w‖ / ‖d‖
        weight   d w
        dfilter  d[i] / (‖d[i]‖ + 1e-10)
        dlayer   d / ‖d‖
        none     d

    A transposed convolution has its output channels along the second dimension, and a filter is what makes one of them
    (as for an affine layer it is the weights that give one neuron; section 4), so there i runs along that one, in each group.
    docs/normalisation.md lists every kind of layer.

    A filter that is zero in the network gets a zero direction. What is not finite in w is not finite in the result. Norms are
    float64, so that no square overflows or vanishes.

    Args:
        d: Random direction; not changed.
        w: The network's tensor.
        how: Which norm, and what becomes of tensors with at most one dimension.
        groups: How many groups of channels w has, if it is of a transposed convolution (`transposed_groups`).

    Returns:
        float32.

    Example:
        >>> w = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> normalise(torch.tensor([[0.0, 2.0], [1.0, 1.0]]), w, Normalisation(norm="filter"))
        tensor([[0., 5.],
                [0., 0.]])
    """
    if w.dim() <= 1:
        return torch.zeros(w.shape) if how.ignore == "biasbn" else w.to(torch.float32, copy=True)
    if w.numel() == 0 or how.norm == "none":
        return d.clone()
    return _scaled(d.double(), w.double(), how.norm, groups).to(torch.float32)


def _scaled(d: Tensor, w: Tensor, norm: Norm, groups: int | None) -> Tensor:
    if norm == "filter":
        return d * (_filter_norms(w, groups) / (_filter_norms(d, groups) + TINY))
    if norm == "layer":
        return d * (torch.linalg.vector_norm(w) / torch.linalg.vector_norm(d))
    if norm == "weight":
        return d * w
    if norm == "dfilter":
        return d / (_filter_norms(d, groups) + TINY)
    return d / torch.linalg.vector_norm(d)
