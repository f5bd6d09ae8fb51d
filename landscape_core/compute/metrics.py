"""Further metrics of a batch, at one cell or several, as whole numbers: they add over batches, chunks and workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from landscape_core.requests import Metric

LARGEST = 5


def among_largest(outputs: Float[Tensor, "*cells n classes"], labels: Int[Tensor, " n"]) -> Bool[Tensor, "*cells n"]:
    """Whether fewer than five outputs are strictly larger than that of the label.

    Unlike `torch.topk`, whose choice among equal outputs is unspecified, this depends on the values alone: a label that shares
    the fifth place is among them. With an output that is NaN it is not, as nothing is then classified rightly.
    """
    own = outputs.gather(-1, labels.expand(outputs.shape[:-1])[..., None])
    return ((outputs > own).sum(dim=-1) < LARGEST) & ~outputs.isnan().any(dim=-1)


def counts_of(
    metrics: Sequence[Metric],
    classes: int,
    outputs: Float[Tensor, "cells n outputs"],
    labels: Int[Tensor, " n"],
    right: Bool[Tensor, "cells n"],
) -> dict[str, Int[Tensor, "*_cells"]]:
    """The counts of a batch, by their names in `Tally.counts`.

    Args:
        metrics: Those that are asked for.
        classes: How many classes the data set has.
        outputs: The network's, at each of some cells.
        labels: The true classes.
        right: Whether each example was classified rightly.

    Returns:
        `top5`: (cells,) how many labels are among the five largest outputs. `class_correct`, `class_examples`: (cells, classes)
        of each class, how many examples were classified rightly, and how many there are.
    """
    found = {}
    if "top5" in metrics:
        found["top5"] = among_largest(outputs, labels).sum(dim=-1)
    if "class_accuracy" in metrics:
        places = labels.long().expand(right.shape)
        none = torch.zeros(len(right), classes, dtype=torch.int64, device=right.device)
        found["class_correct"] = none.scatter_add(1, places, right.long())
        found["class_examples"] = none.scatter_add(1, places, torch.ones_like(places))
    return found
