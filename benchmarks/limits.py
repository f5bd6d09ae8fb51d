"""The engine against what the machine can do: its floating-point operations a second beside those of a large matrix product.

The product is of float32 matrices, by PyTorch's `@` and by oneDNN, the library of its convolutions; the limit is the faster of
both, for a BLAS that was not made for a processor may reach less than half of what that can do. The engine's operations are two
for each multiply-accumulate of the plain network, whatever it saves: of a perceptron, whose first layer it combines from stored
products, it does few of them, so that its share says how fast it is and not how busy the processor is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.comparison import CORES, Comparison
from benchmarks.engine import CASES
from benchmarks.material import images, request, tensors
from benchmarks.repeating import rounds, seconds
from benchmarks.table import Goal, Row, Spread
from landscape_core.catalogue import macs_per_example
from landscape_core.compute import Evaluator, Examples
from landscape_core.requests import ArchitectureSpec

SIZE, QUICK_SIZE = 1024, 256
"""Rows and columns of the matrices."""
EXAMPLES, QUICK_EXAMPLES = {"mlp": 60_000, "densenet121": 64}, {"mlp": 2048, "densenet121": 4}
"""What is not listed has 256, and 16."""
KINDS: tuple[str, ...] = ()
GOAL, SHARE = 0.7, "share of the faster product"
CELLS, MOST, BUDGET_S = 2, 5, 25.0
"""Cells of a measurement, rounds, and seconds of each network and number of threads."""


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """One row for each network and number of threads."""
    before = torch.get_num_threads()
    try:
        rows = [_row(label, threads, comparison.quick) for threads in sorted({1, CORES}) for label in CASES]
    finally:
        torch.set_num_threads(before)
    least = {label: min(row[SHARE].median for row in rows if row["network"] == label) for label in CASES}
    return rows, [
        Goal(f"{label} at least at {GOAL} of a large product", share, share >= GOAL) for label, share in least.items()
    ]


def products(size: int) -> dict[str, Callable[[], object]]:
    """A square matrix product by each library that is there: name -> does it once."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    found: dict[str, Callable[[], object]] = {"@": lambda: a @ b}
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        found["oneDNN"] = lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # noqa: SLF001
    return found


def _row(label: str, threads: int, quick: bool) -> Row:
    architecture, shape, _ = CASES[label]
    count = (QUICK_EXAMPLES if quick else EXAMPLES).get(architecture, 16 if quick else 256)
    weights, data = tensors(architecture), Examples.from_arrays(*images(count, shape))
    evaluator = Evaluator(request(architecture, (CELLS, 1)), weights, data, threads=threads)
    shapes = {name: array.shape for name, array in weights.items()}
    work = 2 * CELLS * count * macs_per_example(ArchitectureSpec(name=architecture), shapes, data.facts.shape)
    size = QUICK_SIZE if quick else SIZE
    multiply = products(size)

    def engine() -> object:
        return evaluator.tally([(0, column) for column in range(CELLS)], 0, count)

    engine()  # the first time, it makes what is made once
    taken = []
    for _ in rounds(1 if quick else 3, 1 if quick else MOST, BUDGET_S):
        limits = {name: 2 * size**3 / min(seconds(once) for _ in range(3)) for name, once in multiply.items()}
        taken.append((work / seconds(engine), limits))
    return {
        "network": label,
        "threads": threads,
        "engine, GFLOP/s": Spread.of(speed / 1e9 for speed, _ in taken).median,
        **{f"{name}, GFLOP/s": Spread.of(limits[name] / 1e9 for _, limits in taken).median for name in multiply},
        SHARE: Spread.of(speed / max(limits.values()) for speed, limits in taken),
    }
