"""Each loss per example, against PyTorch's own means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape_core.compute.losses import per_example

OUTPUTS = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 1])
ONE_HOT = nn.functional.one_hot(LABELS, 4).float()


@pytest.mark.parametrize(
    ("loss", "mean"),
    [
        ("cross_entropy", nn.CrossEntropyLoss()(OUTPUTS, LABELS)),
        ("mse", nn.MSELoss()(OUTPUTS, ONE_HOT)),
        ("mse_softmax", nn.MSELoss()(OUTPUTS.softmax(1), ONE_HOT)),
        ("multi_margin", nn.MultiMarginLoss()(OUTPUTS, LABELS)),
        ("nll", nn.NLLLoss()(OUTPUTS, LABELS)),
    ],
)
def test_the_mean_of_a_loss_is_pytorchs(loss, mean):
    losses = per_example(loss)(OUTPUTS, LABELS)
    assert losses.shape == (9,)
    torch.testing.assert_close(losses.mean(), mean)
    alone = torch.cat([per_example(loss)(OUTPUTS[i : i + 1], LABELS[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(losses, alone)
