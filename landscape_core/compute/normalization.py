"""Scaling a random direction to a network: the arithmetic of `net_plotter.py` in the code of Li et al. 2018."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from landscape_core.requests import Norm, Normalisation

TINY = 1e-10
"""What the original adds to a filter's norm before dividing by it (`normalize_direction`)."""


def _filter_norms(tensor: Float[Tensor, "filters ..."]) -> Float[Tensor, "filters ..."]:
    """‖tensor[i]‖ for each i, shaped so that it multiplies the tensor."""
    norms = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (tensor.dim() - 1))


def normalise(d: Float[Tensor, "*shape"], w: Float[Tensor, "*shape"], how: Normalisation) -> Float[Tensor, "*shape"]:
    """The direction d of one tensor, scaled to the network's tensor w.

    With at most one dimension (biases, batch norm) d becomes zero for `ignore="biasbn"`, otherwise a copy of w. Else, by
    `how.norm` (Li et al. 2018, section 4; `normalize_direction` in their code):

        filter   d[i] ‖w[i]‖ / (‖d[i]‖ + 1e-10)    for each i of the first dimension: an output channel, a neuron
        layer    d ‖w‖ / ‖d‖
        weight   d w
        dfilter  d[i] / (‖d[i]‖ + 1e-10)
        dlayer   d / ‖d‖
        none     d

    A filter that is zero in the network gets a zero direction. What is not finite in w is not finite in the result.

    Args:
        d: Random direction; not changed.
        w: The network's tensor.
        how: Which norm, and what becomes of tensors with at most one dimension.

    Example:
        >>> w = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> normalise(torch.tensor([[0.0, 2.0], [1.0, 1.0]]), w, Normalisation(norm="filter"))
        tensor([[0., 5.],
                [0., 0.]])
    """
    if w.dim() <= 1:
        return torch.zeros_like(w) if how.ignore == "biasbn" else w.clone()
    if w.numel() == 0:
        return d.clone()
    return _scaled(d, w, how.norm)


def _scaled(d: Tensor, w: Tensor, norm: Norm) -> Tensor:
    if norm == "filter":
        return d * (_filter_norms(w) / (_filter_norms(d) + TINY))
    if norm == "layer":
        return d * (torch.linalg.vector_norm(w) / torch.linalg.vector_norm(d))
    if norm == "weight":
        return d * w
    if norm == "dfilter":
        return d / (_filter_norms(d) + TINY)
    if norm == "dlayer":
        return d / torch.linalg.vector_norm(d)
    return d.clone()
