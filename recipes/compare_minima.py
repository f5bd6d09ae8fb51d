"""Trains pairs of networks on the shipped Fashion-MNIST sample and measures what lies between them and around them.

    python recipes/compare_minima.py [FOLDER]        (a folder `minima` here unless told otherwise)

Two pairs: the same network from two seeds, and from one seed with small and with large batches. Everything that is random comes
from these seeds, and one thread does all sums. Some minutes on one core.

    seed_0.pt seed_1.pt                MLPs 784-512-512-512-10 that differ in their seed alone
    barrier.npz barrier_aligned.npz    the loss on the way from one to the other, as it is and with hidden units matched
    barrier.png                        both as a picture
    batch_32.pt batch_1000.pt          MLPs 784-128-64-10 after equally many steps with batches of these sizes
    batch_32.npz batch_1000.npz        the surface around each, 31 x 31 cells
"""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional
from train_gallery import DATASET, PREPROCESSING, accuracy, slice_of

from landscape_core.compute import Perceptron, compute_surface, load_dataset
from landscape_core.reading import read_checkpoint
from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    DataSlice,
    DirectionSpec,
    Grid,
    PlaneSpec,
    RandomDirection,
    SurfaceRequest,
    TowardsDirection,
)
from landscape_core.results import Surface

WIDE, SMALL = (784, 512, 512, 512, 10), (784, 128, 64, 10)
SEEDS, BATCHES = (0, 1), (32, 1000)
EPOCHS, RATE, MOMENTUM = 30, 0.05, 0.9


def train(folder: Path, name: str, widths: tuple[int, ...], seed: int, batch: int, epochs: int = EPOCHS) -> Path:
    """Trains a network by SGD with momentum, the rate falling to zero along a cosine, and saves it.

    Args:
        folder: Where.
        name: Of the file.
        widths: (inputs, hidden …, outputs).
        seed: Of the first weights and of the order of the examples.
        batch: Examples in a step.
        epochs: How often all examples are gone through.
    """
    torch.manual_seed(seed)
    network: nn.Module = Perceptron(widths, [True] * (len(widths) - 1), "relu").train()
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    x, y = slice_of("train")
    for _ in range(epochs):
        for chosen in torch.randperm(len(y)).split(batch):
            optimiser.zero_grad()
            functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimiser.step()
        schedule.step()
    network.eval()
    print(f"{name}: accuracy {accuracy(network, x, y)} % in training, {accuracy(network, *slice_of('test'))} % on test images")
    path = folder / f"{name}.pt"
    torch.save({"state_dict": {n: tensor.detach().clone() for n, tensor in network.state_dict().items()}}, path)
    return path


def sha256(path: Path) -> str:
    """By which a request names a checkpoint."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measured(checkpoint: Path, plane: PlaneSpec, axis: Axis, split: str, other: Path | None = None) -> Surface:
    """The surface or curve around a saved network, over all examples of a split.

    Args:
        checkpoint: The network.
        plane: Its directions.
        axis: Of both directions, or of the one.
        split: `train` or `test`.
        other: The network that a direction leads to.
    """
    request = SurfaceRequest(
        checkpoint=sha256(checkpoint),
        architecture=ArchitectureSpec(name="mlp"),
        data=DataSlice(dataset=DATASET, split=split, preprocessing=PREPROCESSING),
        plane=plane,
        grid=Grid(x=axis, y=None if plane.y is None else axis),
    )
    tensors, examples = read_checkpoint(checkpoint).tensors, load_dataset(DATASET, split, Path())
    return compute_surface(request, tensors, examples, checkpoints=lambda _: read_checkpoint(other or checkpoint).tensors)


def between(folder: Path) -> None:
    """The way between two networks of different seeds, before and after their hidden units are matched."""
    one, other = (train(folder, f"seed_{seed}", WIDE, seed, 50) for seed in SEEDS)
    axis = Axis(start=0, stop=1, points=25)
    curves: dict[str, Surface] = {}
    for split in ("train", "test"):
        for aligned in (False, True):
            towards: DirectionSpec = TowardsDirection(checkpoint=sha256(other), aligned=aligned)
            curve = measured(one, PlaneSpec(x=towards), axis, split, other)
            barrier = curve.flatness().barriers[0]
            name = "hidden units matched" if aligned else "as they came"
            print(f"{split}, {name}: barrier {barrier.above_line:.4f} above the line, {barrier.above_mean:.4f} above the mean,")
            print(f"    {barrier.above_higher_end:.4f} above the higher end; {curve.provenance['directions']}")
            if split == "test":
                curves[name] = curve
                curve.save(folder / ("barrier_aligned.npz" if aligned else "barrier.npz"))
    draw(curves, folder / "barrier.png")


def draw(curves: dict[str, Surface], path: Path) -> None:
    """The curves in one picture."""
    figure = Figure(figsize=(7, 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, curve), colour in zip(curves.items(), ("#d1495b", "#3b528b"), strict=True):
        axes.plot(curve.x, curve.loss[0], "o-", color=colour, markersize=3.5, label=name)
    ends = next(iter(curves.values()))
    axes.plot([0, 1], ends.loss[0][[0, -1]], "--", color="#8a8f98", linewidth=1, label="line between the ends")
    axes.set_xlabel("t, from the network of seed 0 to that of seed 1")
    axes.set_ylabel("mean loss on test images (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def around(folder: Path) -> None:
    """The surfaces around networks of small and of large batches, and how flat they are."""
    axis = Axis(start=-1, stop=1, points=31)
    for batch in BATCHES:
        epochs = round(EPOCHS * math.ceil(3000 / BATCHES[0]) / math.ceil(3000 / batch))  # as many steps for each
        checkpoint = train(folder, f"batch_{batch}", SMALL, 0, batch, epochs)
        for seeds in ((1, 2), (3, 4), (5, 6)):
            plane = PlaneSpec(x=RandomDirection(seed=seeds[0]), y=RandomDirection(seed=seeds[1]))
            surface = measured(checkpoint, plane, axis, "train")
            found = surface.flatness(level=0.5)
            print(f"batch {batch}, directions {seeds}: loss at the centre {found.centre_loss:.4f}; up to a loss of 0.5:")
            print(f"    widths {found.width_x}, {found.width_y}; area {found.area}; ε-sharpness {found.sharpness}")
            if seeds == (1, 2):
                surface.save(folder / f"batch_{batch}.npz")


def main(folder: Path) -> None:
    """Trains, measures and writes the files.

    Args:
        folder: Where; it is made if it does not exist.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    between(folder)
    around(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("minima"))
