"""How much faster the engine is than a straightforward loop.

The loop does what the code of Li et al. 2018 does at each cell: it makes the moved weights and copies them into the network,
goes through a DataLoader of 128 examples a batch, and takes loss and number of right answers by `.item()` after each batch.
Both measure the same cells of the same network on the same random images in turn, so that a busy machine slows both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.comparison import Comparison
from benchmarks.material import images, request, tensors
from benchmarks.repeating import rounds, seconds
from benchmarks.table import Goal, Row, Spread
from landscape_core.compute import Evaluator, Examples, load
from landscape_core.compute.directions import directions_for

CASES = {
    "mlp 784-128-10": ("mlp", (28, 28), 60_000),
    "resnet20": ("resnet20", (32, 32, 3), 512),
    "resnet56": ("resnet56", (32, 32, 3), 256),
    "densenet121": ("densenet121", (32, 32, 3), 64),
}
"""Label -> architecture, shape of an image, examples."""

GOALS = {"mlp 784-128-10": 10.0, "resnet20": 1.5, "resnet56": 1.4}
"""How many times as fast each is to be at least."""

KINDS: tuple[str, ...] = ()
QUICK_SHARE = 8
"""A quick run takes every eighth of the examples."""
CELLS, THREADS = 3, 1
MOST, BUDGET_S = 5, 25.0
"""Rounds, and seconds, of each network."""


def plain_loop(
    network: nn.Module, directions: list[list[torch.Tensor]], data: TensorDataset, places: np.ndarray
) -> list[float]:
    """The mean loss at each place (α, 0.5), as the original measures it."""
    own = [p.data.clone() for p in network.parameters()]
    losses = []
    for alpha in places:
        for parameter, w, d, e in zip(network.parameters(), own, *directions, strict=True):
            parameter.data = w + (d * float(alpha) + e * 0.5)
        total, right = 0.0, 0
        with torch.no_grad():
            for x, y in DataLoader(data, batch_size=128, shuffle=False):
                outputs = network(x)
                total += functional.cross_entropy(outputs, y).item() * len(x)
                right += outputs.argmax(1).eq(y).sum().item()
        losses.append(total / len(data))
    return losses


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """One row a network."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        rows = []
        for label in CASES:
            comparison.tell(label)
            rows.append(row(label, comparison.quick))
        return rows, _goals(rows)
    finally:
        torch.set_num_threads(before)


def _goals(rows: Sequence[Row]) -> list[Goal]:
    """Of the speed of each network that has one, and of all values."""
    ratios = {row["network"]: row["times as fast"].median for row in rows if row["network"] in GOALS}
    found = [Goal(f"{name} {GOALS[name]:g} times as fast", ratio, ratio >= GOALS[name]) for name, ratio in ratios.items()]
    most = max(row["largest difference of a loss, relative"] for row in rows)
    return [*found, Goal("losses equal to those of the plain loop within 1e-5", most, most <= 1e-5)]


def row(label: str, quick: bool) -> Row:
    """Both, in turn, on one network."""
    architecture, shape, count = CASES[label]
    count = count // QUICK_SHARE if quick else count
    cells = 1 if quick else CELLS
    x, y = images(count, shape)
    weights, asked = tensors(architecture), request(architecture, (CELLS, 1))
    evaluator = Evaluator(asked, weights, Examples.from_arrays(x, y), threads=THREADS)
    directions = [d for d in directions_for(asked, load(asked.architecture, weights)) if d is not None]
    inputs = torch.from_numpy(x).float().div(255)
    inputs = inputs.permute(0, 3, 1, 2).contiguous() if inputs.dim() == 4 else inputs.flatten(1)
    data, places = TensorDataset(inputs, torch.from_numpy(y)), asked.grid.x.coordinates[:cells]

    def loop() -> list[float]:
        return plain_loop(load(asked.architecture, weights), directions, data, places)

    def engine() -> np.ndarray:
        return evaluator.tally([(0, column) for column in range(cells)], 0, count).loss_sum / count

    difference = float(np.abs(engine() / loop() - 1).max())  # the first time, the engine makes what is made once
    pairs = [(seconds(loop), seconds(engine)) for _ in rounds(1 if quick else 2, 2 if quick else MOST, BUDGET_S)]
    return {
        "network": label,
        "examples": count,
        "plain loop, s a cell": Spread.of(slow / cells for slow, _ in pairs).median,
        "engine, s a cell": Spread.of(fast / cells for _, fast in pairs).median,
        "times as fast": Spread.of(slow / fast for slow, fast in pairs),
        "largest difference of a loss, relative": difference,
    }
