"""What the `fast` budget costs, and how far its values are off.

Where it does not take long, the tallies of every chunk of examples are measured at all cells once; every tolerance is then
replayed on them, because what it sees of them and makes of them follows from the tallies alone. A surface of a larger network
is computed as `fast` computes it, and held against exact means at cells drawn at random.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.comparison import Comparison
from benchmarks.table import Goal, Row
from benchmarks.truth import Truth, forms, row, row_of_sample
from landscape_core.catalogue import macs_per_example, match
from landscape_core.compute import Evaluator, Examples, load_dataset
from landscape_core.compute.fast import FastMeasurement
from landscape_core.fast_budget import next_depths
from landscape_core.fast_surface import fast_surface
from landscape_core.ladder import Depths, Ladder
from landscape_core.reading import read_checkpoint
from landscape_core.requests import TOLERANCE, SurfaceRequest
from landscape_core.results import Surface, Tally

KINDS: tuple[str, ...] = ()

NETWORK = Path(__file__).parents[1] / "app/gallery/fashion-mlp/checkpoint.pt"
DATASET, PREPROCESSING = "fashion-mnist-sample", "fashion-mnist"
FULL, QUICK = ((25, 1000), (25, 3000), (51, 3000)), ((13, 500),)
"""Points an axis, and examples, of the gallery's network."""

GIVEN, GIVEN_QUICK = (51, 5000), (9, 256)
"""The same of networks that are given: at most so many examples."""

TOLERANCES = (4 * TOLERANCE, TOLERANCE, TOLERANCE / 5)

AFFORDABLE_MACS = 4_000_000_000_000
"""An exact surface of at most so many multiply-accumulates is measured whole."""

SAMPLED, SAMPLED_QUICK = 64, 8
"""Of one that takes more, so many cells."""


@dataclass(frozen=True)
class Trained:
    """A network with the data that it was trained on.

    Attributes:
        label: What tables call it.
        tensors: Its weights.
        examples: The data.
        request: The surface that is wanted.
    """

    label: str
    tensors: Mapping[str, np.ndarray]
    examples: Examples
    request: SurfaceRequest

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the exact surface."""
        shapes = {name: array.shape for name, array in self.tensors.items()}
        cells, examples = np.prod(self.request.grid.shape), self.request.data.examples or self.examples.facts.splits["train"]
        return int(cells) * examples * macs_per_example(self.request.architecture, shapes, self.examples.facts.shape)


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """The gallery's network, and those that were given; then what every form of interpolation makes of the same."""
    quick = comparison.quick
    found: list[Row] = []
    sampled: list[Row] = []
    compared: list[Row] = []
    for trained in [*_gallery(quick), *comparison.trained]:
        ny, nx = trained.request.grid.shape
        comparison.tell(f"{trained.label}, {nx} × {ny}")
        if trained.macs <= AFFORDABLE_MACS:
            rows, told = _whole(trained)
            found += rows
        else:
            rows, told = _sample(trained, comparison)
            sampled += rows
        compared += told
    return [*found, *sampled, *compared], _goals([*found, *sampled])


def asked(trained: Trained, tolerance: float) -> SurfaceRequest:
    """The same surface by the fast budget."""
    return trained.request.model_copy(update={"budget": "fast", "tolerance": tolerance})


def _gallery(quick: bool) -> Iterator[Trained]:
    tensors, examples = read_checkpoint(NETWORK).tensors, load_dataset(DATASET, "train", Path())
    architecture = match({name: array.shape for name, array in tensors.items()})[0].architecture
    for points, count in QUICK if quick else FULL:
        axis = {"start": -1, "stop": 1, "points": points}
        request = {
            "checkpoint": "0" * 64,
            "architecture": architecture.model_dump(),
            "data": {"dataset": DATASET, "examples": count, "preprocessing": PREPROCESSING},
            "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
            "grid": {"x": axis, "y": axis},
        }
        yield Trained("gallery's MLP", tensors, examples, SurfaceRequest.model_validate(request))


def _whole(trained: Trained) -> tuple[list[Row], list[Row]]:
    """A row for each tolerance, held against all cells; what the forms make of what the usual one sees."""
    evaluator = Evaluator(trained.request, trained.tensors, trained.examples)
    ladder = Ladder.for_request(trained.request, evaluator.examples)
    cells = _every(ladder)
    tallies = [evaluator.tally(cells, *bounds).reshaped(*ladder.shape) for bounds in ladder.bounds]
    truth = Truth.of(cells, [tally.reshaped(len(cells)) for tally in tallies], evaluator.decisions)
    rows: list[Row] = []
    told: list[Row] = []
    for tolerance in TOLERANCES:
        fast, seen = _replayed(asked(trained, tolerance), tallies, evaluator.decisions)
        rows.append(row(trained.label, truth, fast))
        if tolerance == TOLERANCE:
            told = forms(trained.label, truth, fast, ladder, seen, tallies)
    return rows, told


def _replayed(request: SurfaceRequest, tallies: Sequence[Tally], decisions: int) -> tuple[Surface, Depths]:
    """The fast surface of this request, of tallies over all cells, and what it sees of them."""
    ladder = Ladder.for_request(request, request.data.examples or 0)
    depths = ladder.nothing
    while (wanted := next_depths(ladder, depths, tallies)) is not None:
        depths = wanted
    return fast_surface(request, ladder, depths, tallies, {}, decisions), depths


def _sample(trained: Trained, comparison: Comparison) -> tuple[list[Row], list[Row]]:
    """The surface at the usual tolerance, held against some cells."""
    request = asked(trained, TOLERANCE)
    evaluator = Evaluator(request, trained.tensors, trained.examples)
    ladder = Ladder.for_request(request, evaluator.examples)
    evaluator.tally([(0, 0)], *ladder.bounds[0])  # the first time, it makes what is made once
    fast = FastMeasurement(ladder, lambda cells, chunk, _: evaluator.tally(cells, *ladder.bounds[chunk]))
    began = time.perf_counter()
    fast.measure()
    surface = fast_surface(request, ladder, fast.depths, fast.tallies, {}, evaluator.decisions)
    fast_s = time.perf_counter() - began
    comparison.tell(f"{trained.label}: exact means at some cells")
    every = _every(ladder)
    chosen = np.random.default_rng(0).permutation(len(every))[: SAMPLED_QUICK if comparison.quick else SAMPLED]
    cells = [every[index] for index in sorted(chosen)]
    began = time.perf_counter()
    tallies = [evaluator.tally(cells, *bounds) for bounds in ladder.bounds]
    exact_s = (time.perf_counter() - began) * len(every) / len(cells)
    truth = Truth.of(cells, tallies, evaluator.decisions)
    told = forms(trained.label, truth, surface, ladder, fast.depths, fast.tallies)
    return [row_of_sample(trained.label, truth, surface, 100 * fast_s / exact_s)], told


def _every(ladder: Ladder) -> list[tuple[int, int]]:
    rows, columns = ladder.shape
    return [(row, column) for row in range(rows) for column in range(columns)]


def _goals(rows: Sequence[Row]) -> list[Goal]:
    """Of surfaces of the usual size at the usual tolerance."""
    usual = [row for row in rows if row["cells"] == "51 x 51" and row["tolerance, %"] == 100 * TOLERANCE]
    if not usual:
        return []
    where = "at the usual tolerance and 51 x 51 cells"
    found = []
    for name, least, text in (
        ("cost, %", 10.0, "at most a tenth of the cost"),
        ("error of the loss, %", 0.5, "an error of at most 0.5 % of the range"),
        ("error of its log, %", 1.5, "an error of the logarithm of at most 1.5 %"),
    ):
        most = float(np.max([_middle(row[name]) for row in usual]))  # NaN where one is
        found.append(Goal(f"{text} {where}, in per cent", most, most <= least))
    for name, told, text in (
        ("error of the loss, %", "estimated", "the error"),
        ("error of its log, %", "estimated log", "the logarithm's"),
    ):
        ratios = [_ratio(row[told], _middle(row[name])) for row in usual]
        worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio) if ratio > 0 else np.inf)
        found.append(Goal(f"{text} estimated within a factor 2 {where}, the farthest", worst, 0.5 <= worst <= 2))
    return found


def _ratio(told: float, found: float) -> float:
    """What was estimated, made of what came; 1 where neither is there."""
    if told == found == 0:
        return 1.0
    return told / found if found else float("inf")


def _middle(value: object) -> float:
    return float(getattr(value, "median", value))  # type: ignore[arg-type]
