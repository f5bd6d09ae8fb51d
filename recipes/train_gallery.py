"""Trains the gallery's network on the shipped Fashion-MNIST sample, and computes the surface that the gallery opens with.

    python recipes/train_gallery.py [FOLDER]        (app/gallery/fashion-mlp unless told otherwise)

Everything that is random comes from one seed, and one thread does all sums, so the same machine gives the same files; another
processor may add in another order and end a hair elsewhere. About a quarter of a minute on one core.

    checkpoint.pt   {"state_dict", "epoch", "accuracy"}: an MLP 784-128-64-10, as PyTorch saves it
    surface.npz     51 x 51 cells, all 3,000 training images at every cell
    preview.png     the surface as a picture
    about.json      what is shown beside it
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape_core.compute import Perceptron, choose_device, compute_surface, load_dataset, prepare
from landscape_core.formats import npz
from landscape_core.formats.png import render_png
from landscape_core.reading import read_checkpoint
from landscape_core.requests import (
    ArchitectureSpec,
    Axis,
    DataSlice,
    Grid,
    PlaneSpec,
    RandomDirection,
    SurfaceRequest,
)
from landscape_core.results import Surface

HERE = Path(__file__).parent.parent / "app" / "gallery" / "fashion-mlp"
DATASET, PREPROCESSING = "fashion-mnist-sample", "fashion-mnist"
WIDTHS = (784, 128, 64, 10)
SEED, EPOCHS, BATCH, RATE, MOMENTUM, WEIGHT_DECAY = 0, 30, 50, 0.05, 0.9, 5e-4


def slice_of(split: str) -> tuple[Tensor, Tensor]:
    """All examples of one split of the sample, prepared, and their labels."""
    data = DataSlice(dataset=DATASET, split=split, seed=None, preprocessing=PREPROCESSING)
    return prepare(load_dataset(DATASET, split, Path()), data)


def train(x: Tensor, y: Tensor) -> nn.Module:
    """A network trained by SGD with momentum, the rate falling to zero along a cosine.

    Args:
        x: (n, 1, 28, 28) images.
        y: (n,) labels.
    """
    torch.manual_seed(SEED)
    network = Perceptron(WIDTHS, [True] * (len(WIDTHS) - 1), "relu").train()
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(y)).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """How many percent of the images are classified rightly."""
    return round(100 * float((network(x).argmax(dim=1) == y).double().mean()), 2)


def surface_of(checkpoint: Path) -> Surface:
    """The surface of the saved network around itself: filter-normalised random directions, [-1, 1] x [-1, 1]."""
    axis = Axis(start=-1, stop=1, points=51)
    request = SurfaceRequest(
        checkpoint=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        architecture=ArchitectureSpec(name="mlp"),
        data=DataSlice(dataset=DATASET, split="train", examples=3000, preprocessing=PREPROCESSING),
        plane=PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2)),
        grid=Grid(x=axis, y=axis),
    )
    tensors = read_checkpoint(checkpoint).tensors
    return compute_surface(request, tensors, load_dataset(DATASET, "train", Path()), device=choose_device("cpu"))


def about(figures: dict[str, float]) -> dict[str, object]:
    """What the gallery says about the network.

    Args:
        figures: Its accuracies in percent.
    """
    return {
        "title": "A small network on Fashion-MNIST",
        "description": (
            "A multi-layer perceptron that tells ten kinds of clothing apart, and the loss around it: the network stands at "
            "the centre, and every other place is the same network pushed along two random, filter-normalised directions."
        ),
        "architecture": "mlp",
        "architecture_text": "MLP " + "-".join(map(str, WIDTHS)) + ", ReLU",
        "dataset": DATASET,
        "preprocessing": PREPROCESSING,
        "loss": "cross_entropy",
        **figures,
        "made_by": (
            f"recipes/train_gallery.py: {EPOCHS} epochs of SGD on 3,000 images, batch {BATCH}, rate {RATE} falling to 0 along "
            f"a cosine, momentum {MOMENTUM}, weight decay {WEIGHT_DECAY}, seed {SEED}; PyTorch {torch.__version__}"
        ),
        "licence": "The data are from Fashion-MNIST, © 2017 Zalando SE, MIT licence. The network is part of Loss Atlas.",
    }


def main(folder: Path) -> None:
    """Trains, measures and writes the four files.

    Args:
        folder: Where; it is made if it does not exist.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    network = train(*slice_of("train"))
    figures = {f"{split}_accuracy": accuracy(network, *slice_of(split)) for split in ("train", "test")}
    print(f"trained in {time.monotonic() - began:.1f} s: {figures}")
    checkpoint = folder / "checkpoint.pt"
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": EPOCHS, "accuracy": figures["test_accuracy"]}, checkpoint)
    surface = surface_of(checkpoint)
    (folder / "surface.npz").write_bytes(npz.dump(surface))
    (folder / "preview.png").write_bytes(render_png(surface))
    (folder / "about.json").write_text(json.dumps(about(figures), indent=1, ensure_ascii=False) + "\n")
    print(f"surface in {surface.provenance['seconds']} s, loss {surface.loss.min():.4f} … {surface.loss.max():.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
