"""A small classifier, its examples, its loss."""

from __future__ import annotations

import torch
from torch import nn

cross_entropy = nn.CrossEntropyLoss(reduction="none")
GRID = "-1:1:5x-.5:1:4"


def classifier(seed: int = 0, dropout: float = 0.5) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def points(n: int = 23, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def cut(x: torch.Tensor, y: torch.Tensor, size: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(x.split(size), y.split(size), strict=True))
