"""The loss of each example, not their mean: a mean and its standard error follow from Σ loss and Σ loss².

Of a language model an example is a sequence: its loss is the mean over its tokens, each against the one that follows. All
sequences of a data set are of one length, so that the mean over sequences is the mean over tokens, and exp of the mean
cross-entropy is the perplexity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from landscape_core.requests import Loss

PerExample = Callable[[Float[Tensor, "*places classes"], Int[Tensor, "*places"]], Float[Tensor, " n"]]


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none")


def _multi_margin(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.multi_margin_loss(outputs, labels, reduction="none")


def _nll(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.nll_loss(outputs, labels, reduction="none")


def _mse(outputs: Tensor, labels: Tensor) -> Tensor:
    one_hot = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return ((outputs - one_hot) ** 2).mean(dim=1)


def _mse_softmax(outputs: Tensor, labels: Tensor) -> Tensor:
    return _mse(torch.softmax(outputs, dim=1), labels)


def per_example(loss: Loss) -> PerExample:
    """The function (outputs, labels) -> loss of each example.

        cross_entropy   −log softmax(outputs)[label]
        nll             −outputs[label]: the network puts out log-probabilities
        multi_margin    mean over classes of max(0, 1 − outputs[label] + outputs[k]), k ≠ label
        mse             mean over classes of (outputs − one-hot)²
        mse_softmax     the same of softmax(outputs): the original code's `mse` (evaluation.py)

    Args:
        loss: One of the losses that a request can name.
    """
    functions: dict[Loss, PerExample] = {
        "cross_entropy": _cross_entropy,
        "mse_softmax": _mse_softmax,
        "mse": _mse,
        "multi_margin": _multi_margin,
        "nll": _nll,
    }
    return _over_tokens(functions[loss])


def _over_tokens(each: PerExample) -> PerExample:
    """The same function for outputs (n, classes), and for (n, tokens, classes) its mean over the tokens."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        if labels.dim() == 1:
            return each(outputs, labels)
        return each(outputs.flatten(0, 1), labels.flatten()).view(labels.shape).mean(dim=1)

    return loss


def classified_rightly(outputs: Float[Tensor, "*places classes"], labels: Int[Tensor, "*places"]) -> Bool[Tensor, "*places"]:
    """Whether the largest output is that of the label, of each token if there are any; one that is NaN is never right."""
    best, predicted = outputs.max(dim=-1)
    return (predicted == labels) & ~best.isnan()


def float64_sums(losses: Sequence[Shaped[Tensor, " _"]]) -> tuple[float, float]:
    """Σ loss and Σ loss² of losses that were measured batch by batch, summed in float64."""
    values = torch.cat(list(losses)).cpu().to(torch.float64).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum()), float((values * values).sum())


def twice_differentiable(loss: Loss) -> PerExample:
    """The same function in operations of which PyTorch knows the second derivatives.

    Args:
        loss: One of the losses that a request can name.
    """
    return _over_tokens(_multi_margin_in_steps) if loss == "multi_margin" else per_example(loss)


def _multi_margin_in_steps(outputs: Tensor, labels: Tensor) -> Tensor:
    margins = torch.relu(1 - outputs.gather(1, labels[:, None]) + outputs)
    return margins.scatter(1, labels[:, None], 0.0).mean(dim=1)
