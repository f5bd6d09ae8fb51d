"""The tables that say how networks are called on CPUs, against the fastest of a probe, and against one cell at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from benchmarks.comparison import Comparison
from benchmarks.material import convnet, images, request, tensors
from benchmarks.repeating import rounds, seconds
from benchmarks.table import Goal, Row, Spread
from landscape_core.compute import Evaluator, Examples
from landscape_core.compute.calls import Calls

CONVOLUTIONAL = {
    "resnet20": ("resnet20", (32, 32, 3), 512),
    "resnet20, 16 x 16": ("resnet20", (16, 16, 3), 512),
    "resnet56": ("resnet56", (32, 32, 3), 256),
    "resnet18": ("resnet18", (32, 32, 3), 128),
    "densenet121": ("densenet121", (32, 32, 3), 64),
}
"""Label -> architecture, shape of an image, examples."""

PERCEPTRONS = ((784, 32, 10), (784, 128, 10), (784, 256, 128, 10))
CONVNETS = {
    "convnet 3-5": convnet((1, 3, 5), 3, 28, 16),
    "convnet 6-16 (LeNet)": convnet((1, 6, 16), 5, 28, 84),
    "convnet 8-16": convnet((1, 8, 16), 3, 28, 64),
    "convnet 16-32": convnet((1, 16, 32), 3, 28, 64),
    "convnet 6-16, 3 x 32 x 32": convnet((3, 6, 16), 5, 32, 84),
    "convnet 16-32, 3 x 32 x 32": convnet((3, 16, 32), 3, 32, 64),
}
SMALL = {f"mlp {'-'.join(map(str, widths))}": ("mlp", tensors("mlp", widths), (28, 28)) for widths in PERCEPTRONS} | {
    label: ("convnet", tensors("convnet", shapes=shapes), (32, 32, 3) if "32 x 32" in label else (28, 28))
    for label, shapes in CONVNETS.items()
}
"""Label -> architecture, weights, shape of an image."""
EXAMPLES, EXAMPLES_OF_CONVNETS = (64, 256, 1024), (64, 512)
"""Of a cell: first chunks have 64, 128 and 256."""

FACTORS = (0.25, 0.5, 2, 4)
"""Batches that are tried, of the table's."""

KINDS: tuple[str, ...] = ()
SHARE, GAIN = "share of the fastest", "times as fast as one"
CELLS, THREADS, GOAL = 64, 1, 0.95
MOST, BUDGET_S = 5, 40.0
"""Rounds, and seconds, of each network."""
LEAST_S = 0.2
"""What is shorter is measured several times in a round."""


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """One row for each convolutional network, then one for each small network and number of examples."""
    before = torch.get_num_threads()
    few = 1 if comparison.quick else None
    try:
        batches = [_batch(label, comparison) for label in list(CONVOLUTIONAL)[:few]]
        cells = [(label, n) for label in SMALL for n in (EXAMPLES if SMALL[label][0] == "mlp" else EXAMPLES_OF_CONVNETS)]
        together = [_together(*cell, comparison) for cell in (cells[:3] if comparison.quick else cells)]
    finally:
        torch.set_num_threads(before)
    share = min(row[SHARE].median for row in batches)
    gain = min(row[GAIN].median for row in together if row["cells a call"] > 1)
    return [*batches, *together], [
        Goal(f"the table's batch and layout at least at {GOAL} of the fastest that was tried", share, share >= GOAL),
        Goal("several cells a call at least as fast as one, where they are taken", gain, gain >= 1),
    ]


def _batch(label: str, comparison: Comparison) -> Row:
    comparison.tell(f"batches, {label}")
    architecture, shape, count = CONVOLUTIONAL[label]
    count //= 8 if comparison.quick else 1
    asked, weights, data = request(architecture, (2, 1)), tensors(architecture), Examples.from_arrays(*images(count, shape))

    def evaluator(calls: Calls | None) -> Evaluator:
        return Evaluator(asked, weights, data, threads=THREADS, calls=calls)

    usual = evaluator(None)
    batch = int(usual.provenance()["batch"])
    sizes = [size for size in (int(batch * factor) for factor in FACTORS) if size <= count]
    tried = {f"{size}": Calls(size) for size in sizes} | {f"{batch}, channels first": Calls(batch, channels_last=False)}
    ways = {f"{batch}": usual} | {name: evaluator(calls) for name, calls in tried.items()}
    speeds = _speeds({name: partial(each.tally, [(0, 0)], 0, count) for name, each in ways.items()}, count, comparison)
    medians = {name: Spread.of(found).median for name, found in speeds.items()}
    best = max(medians, key=medians.__getitem__)
    return {
        "network": label,
        "images": count,
        "batch of the table": batch,
        "images a second": medians[f"{batch}"],
        "tried": "; ".join(f"{name}: {medians[name]:,.0f}" for name in tried),
        "fastest": best,
        SHARE: Spread.of(own / most for own, most in zip(speeds[f"{batch}"], speeds[best], strict=True)),
    }


def _together(label: str, count: int, comparison: Comparison) -> Row:
    comparison.tell(f"cells a call, {label}, {count} examples")
    architecture, weights, shape = SMALL[label]
    asked = request(architecture, (CELLS, 1))
    data, cells = Examples.from_arrays(*images(count, shape)), [(0, column) for column in range(CELLS)]
    usual = Evaluator(asked, weights, data, threads=THREADS)
    one = Evaluator(asked, weights, data, threads=THREADS, calls=Calls(usual.calls.batch))
    losses = [evaluator.tally(cells, 0, count).loss_sum for evaluator in (usual, one)]
    ways = {"usual": partial(usual.tally, cells, 0, count), "one": partial(one.tally, cells, 0, count)}
    speeds = _speeds(ways, CELLS, comparison)
    return {
        "network": label,
        "examples": count,
        "cells a call": usual.cells_a_call(count),
        "one, ms a cell": 1e3 / Spread.of(speeds["one"]).median,
        GAIN: Spread.of(own / alone for own, alone in zip(speeds["usual"], speeds["one"], strict=True)),
        "largest difference of a loss, relative": float(np.max(np.abs(losses[0] / losses[1] - 1))),
    }


def _speeds(ways: Mapping[str, Callable[[], object]], count: int, comparison: Comparison) -> dict[str, list[float]]:
    """So many things a second in each way, in turn, by round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    times = {}
    for name, once in ways.items():
        once()  # the first time, it makes what is made once
        times[name] = 1 if comparison.quick else max(1, int(LEAST_S / seconds(once)))
    for _ in rounds(1 if comparison.quick else 3, 1 if comparison.quick else MOST, BUDGET_S):
        for name, once in ways.items():
            found[name].append(count * times[name] / seconds(partial(_repeat, once, times[name])))
    return found


def _repeat(once: Callable[[], object], times: int) -> None:
    for _ in range(times):
        once()
