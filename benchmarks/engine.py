"""How much faster the engine is than a straightforward loop: cells a second, as ratios measured side by side in one run.

    python benchmarks/engine.py [--cells 3] [--repeats 5] [--threads 1]

The loop does what the code of Li et al. 2018 does at each cell: it makes the moved weights and copies them into the network,
goes through a DataLoader of 128 examples a batch, and takes loss and number of right answers by `.item()` after each batch.
Both measure the same cells of the same network on the same random images in turn, so that a busy machine slows both.
Networks have random weights: what is in them does not change their cost.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from landscape_core.catalogue import resolve
from landscape_core.catalogue.family import NamedFamily
from landscape_core.catalogue.networks import family_of
from landscape_core.compute import Evaluator, Examples, load
from landscape_core.compute.directions import directions_for
from landscape_core.requests import ArchitectureSpec, SurfaceRequest

CASES = {
    "mlp 784-128-10": ("mlp", (28, 28), 60_000),
    "resnet20": ("resnet20", (32, 32, 3), 512),
    "resnet56": ("resnet56", (32, 32, 3), 256),
    "densenet121": ("densenet121", (32, 32, 3), 64),
}
"""Label -> architecture, shape of an image, examples."""


def _tensors(architecture: str) -> dict[str, np.ndarray]:
    """Random weights under the architecture's names, of a size that keeps what goes through them."""
    spec, rng = ArchitectureSpec(name=architecture), np.random.default_rng(0)
    family = family_of(architecture)
    shapes: dict[str, tuple[int, ...]] = {"0.weight": (128, 784), "0.bias": (128,), "1.weight": (10, 128), "1.bias": (10,)}
    if isinstance(family, NamedFamily):
        shapes = dict(family.layout(spec, resolve(spec), {}).tensors)
    made = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        middle = 1.0 if len(shape) == 1 and name.endswith(("running_var", "weight")) else 0.0
        made[name] = (middle + spread * rng.standard_normal(shape)).astype(np.float32)
    return made


def _request(architecture: str, cells: int) -> SurfaceRequest:
    axis = {"start": -1, "stop": 1, "points": cells}
    return SurfaceRequest.model_validate(
        {
            "checkpoint": "0" * 64,
            "architecture": {"name": architecture},
            "data": {"dataset": "random", "seed": None},
            "plane": {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}},
            "grid": {"x": axis, "y": {"start": 0.5, "stop": 0.5, "points": 1}},
        }
    )


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


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def row(label: str, typed: argparse.Namespace) -> str:
    """One line of the table."""
    architecture, shape, count = CASES[label]
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count)
    tensors, request = _tensors(architecture), _request(architecture, typed.cells)
    evaluator = Evaluator(request, tensors, Examples.from_arrays(x, y), threads=typed.threads)
    directions = [d for d in directions_for(request, load(request.architecture, tensors)) if d is not None]
    images = torch.from_numpy(x).float().div(255)
    images = images.permute(0, 3, 1, 2).contiguous() if images.dim() == 4 else images.flatten(1)
    data, places = TensorDataset(images, torch.from_numpy(y)), request.grid.x.coordinates

    def loop() -> list[float]:
        return plain_loop(load(request.architecture, tensors), directions, data, places)

    def engine() -> np.ndarray:
        return evaluator.tally([(0, column) for column in range(typed.cells)], 0, count).loss_sum / count

    difference = np.abs(engine() / loop() - 1).max()  # the first time, the engine makes what is made once
    pairs = [(_seconds(loop), _seconds(engine)) for _ in range(typed.repeats)]
    slow, fast = (statistics.median(part) / typed.cells for part in zip(*pairs, strict=True))
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    return f"| {label} | {count:,} | {slow:.3f} | {fast:.3f} | {ratio:.2f} | {difference:.1e} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("--cells", 3), ("--repeats", 5), ("--threads", 1)):
        parser.add_argument(name, type=int, default=usual)
    typed = parser.parse_args()
    torch.set_num_threads(typed.threads)
    print(f"{platform.machine()}, torch {torch.__version__}, {typed.threads} thread(s); medians of {typed.repeats} pairs\n")
    print("| network | examples | plain loop, s a cell | engine, s a cell | times as fast | largest difference of a loss |")
    print("|---|---|---|---|---|---|")
    for label in CASES:
        print(row(label, typed), flush=True)


if __name__ == "__main__":
    main()
