"""What the `fast` budget costs, and how far its values are off: for the network that comes with Loss Atlas, or your own.

    python -m benchmarks.fast_budget NETWORK.pt DATA.npz [--points 25] [--examples 2000] [--preprocessing none]
        [--loss …] [--architecture …]

The tallies of every chunk of examples are measured at all cells once; every tolerance is then replayed on them, because what it
sees of them and makes of them follows from the tallies alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.table import Row, table
from landscape_core.catalogue import match
from landscape_core.compute import Evaluator, Examples, load_dataset
from landscape_core.estimate import surface_from_tally
from landscape_core.fast_budget import next_depths
from landscape_core.fast_surface import fast_surface
from landscape_core.ladder import Ladder
from landscape_core.reading import read_checkpoint
from landscape_core.requests import TOLERANCE, ArchitectureSpec, SurfaceRequest
from landscape_core.results import Surface, Tally

NETWORK = Path(__file__).parents[1] / "app/gallery/fashion-mlp/checkpoint.pt"
DATASET, PREPROCESSING = "fashion-mnist-sample", "fashion-mnist"
FULL, QUICK = ((25, 1000), (25, 3000), (51, 3000)), ((13, 500),)
"""Points an axis, and examples."""

TOLERANCES = (4 * TOLERANCE, TOLERANCE, TOLERANCE / 5)


def run(quick: bool) -> list[Row]:
    """Rows for the network of the gallery.

    Args:
        quick: One small grid.
    """
    tensors, examples = read_checkpoint(NETWORK).tensors, load_dataset(DATASET, "train", Path())
    return [
        row
        for points, count in (QUICK if quick else FULL)
        for row in rows("gallery's MLP", tensors, examples, asked(tensors, points, count, PREPROCESSING))
    ]


def asked(
    tensors: Mapping[str, np.ndarray],
    points: int,
    examples: int,
    preprocessing: str,
    loss: str = "cross_entropy",
    architecture: ArchitectureSpec | None = None,
) -> SurfaceRequest:
    """The exact surface of a network, along random directions; of the first architecture that fits unless one is named."""
    axis = {"start": -1, "stop": 1, "points": points}
    found = architecture or match({name: array.shape for name, array in tensors.items()})[0].architecture
    return SurfaceRequest.model_validate(
        {
            "checkpoint": "0" * 64,
            "architecture": found.model_dump(),
            "data": {"dataset": "given", "examples": examples, "preprocessing": preprocessing},
            "loss": loss,
            "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
            "grid": {"x": axis, "y": axis},
        }
    )


def rows(
    label: str,
    tensors: Mapping[str, np.ndarray],
    examples: Examples,
    request: SurfaceRequest,
    tolerances: Sequence[float] = TOLERANCES,
) -> list[Row]:
    """One row for each tolerance."""
    evaluator = Evaluator(request, tensors, examples)
    ny, nx = request.grid.shape
    cells = [(row, column) for row in range(ny) for column in range(nx)]
    ladder = Ladder.for_request(request, evaluator.examples)
    tallies = [evaluator.tally(cells, *bounds).reshaped(ny, nx) for bounds in ladder.bounds]
    total = tallies[0]
    for tally in tallies[1:]:
        total = total + tally
    exact = surface_from_tally(request, total, {}, evaluator.decisions)
    return [row(label, exact, replayed(request, tolerance, tallies, evaluator.decisions)) for tolerance in tolerances]


def replayed(request: SurfaceRequest, tolerance: float, tallies: Sequence[Tally], decisions: int) -> Surface:
    """The fast surface of this tolerance, of tallies over all cells."""
    fast = request.model_copy(update={"budget": "fast", "tolerance": tolerance})
    ladder = Ladder.for_request(fast, request.data.examples or 0)
    depths = ladder.nothing
    while (wanted := next_depths(ladder, depths, tallies)) is not None:
        depths = wanted
    return fast_surface(fast, ladder, depths, tallies, {}, decisions)


def row(label: str, exact: Surface, fast: Surface) -> Row:
    """How a fast surface compares with the exact one."""
    assert fast.request is not None
    about, known = fast.provenance["fast"], np.isfinite(exact.loss) & np.isfinite(fast.loss)
    true, most, told = {}, {}, about["estimated_rmse"]
    for name, values in (("linear", (exact.loss[known], fast.loss[known])), ("log", ())):
        right, found = values or (np.log(exact.loss[known]), np.log(fast.loss[known]))
        true[name] = float(np.sqrt(np.mean((found - right) ** 2)) / np.ptp(right))
        most[name] = float(np.abs(found - right).max() / np.ptp(right))
    points = float(np.sqrt(np.nanmean((fast.accuracy - exact.accuracy) ** 2)))
    return {
        "network": label,
        "cells": f"{exact.x.size} x {exact.loss.shape[0]}",
        "examples": int(exact.examples.max()),
        "tolerance, %": 100 * fast.request.tolerance,
        "cost, %": 100 * about["cost_share"],
        "error of the loss, %": 100 * true["linear"],
        "at most, %": 100 * most["linear"],
        "estimated": 100 * (told["share_of_range"] or 0.0),
        "error of its log, %": 100 * true["log"],
        "log at most, %": 100 * most["log"],
        "estimated log": 100 * (told["share_of_log_range"] or 0.0),
        "error of the accuracy, points": points,
        "form": about["form"],
    }


def main() -> None:
    """Prints the table of a network of one's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--preprocessing", default="none")
    parser.add_argument("--loss", default="cross_entropy")
    parser.add_argument("--architecture", type=ArchitectureSpec.parse, help="where several fit, as resnet56_noshort")
    given = parser.parse_args()
    tensors, examples = read_checkpoint(given.network).tensors, load_dataset(given.data, "train", Path())
    request = asked(tensors, given.points, given.examples, given.preprocessing, given.loss, given.architecture)
    sys.stdout.write("\n".join(table(rows(given.network.stem, tensors, examples, request))) + "\n")


if __name__ == "__main__":
    main()
