"""Reference networks and data, read once, and small networks and data made here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: beside other work, threads that spin are thirty times slower
import torch

if TYPE_CHECKING:
    from landscape_core.compute import Examples


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def weights(reference: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """The tensors of a reference checkpoint by its path."""
    from landscape_core.reading import read_checkpoint

    return lambda name: read_checkpoint(reference / name).tensors


@pytest.fixture(scope="session")
def arrays(reference: Path) -> Callable[[str], tuple[np.ndarray, np.ndarray]]:
    """x and y of a reference data file by its path."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(reference / name, allow_pickle=False) as file:
            return file["x"], file["y"]

    return read


class Recorded:
    """A surface that the original code recorded, and the directions that it was recorded along."""

    def __init__(self, stem: Path) -> None:
        with h5py.File(f"{stem}.directions.h5") as file:
            self.x = self._group(file["xdirection"])
            self.y = self._group(file["ydirection"]) if "ydirection" in file else None
        with h5py.File(f"{stem}.surface.h5") as file:
            nx = len(file["xcoordinates"])
            ny = len(file["ycoordinates"]) if "ycoordinates" in file else 1
            self.coordinates = file["xcoordinates"][:]
            # allocated (nx, ny), filled by flat index over (ny, nx)
            self.loss = file["train_loss"][:].ravel().reshape(ny, nx)
            self.accuracy = file["train_acc"][:].ravel().reshape(ny, nx)

    @staticmethod
    def _group(group: h5py.Group) -> list[np.ndarray]:
        return [np.asarray(group[str(index)][()]) for index in range(len(group))]


@pytest.fixture(scope="session")
def recorded(reference: Path) -> Callable[[str], Recorded]:
    """A recorded surface and its directions by their path without suffixes."""
    return lambda name: Recorded(reference / name)


@pytest.fixture
def mlp_weights() -> dict[str, np.ndarray]:
    """A network 12-7-5-4 with random weights."""
    rng = np.random.default_rng(5)
    sizes = [(7, 12), (5, 7), (4, 5)]
    tensors = {}
    for index, (outputs, inputs) in enumerate(sizes, start=1):
        tensors[f"fc{index}.weight"] = rng.normal(size=(outputs, inputs)).astype(np.float32)
        tensors[f"fc{index}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return tensors


@pytest.fixture
def resnet_weights() -> dict[str, np.ndarray]:
    """A resnet20 with PyTorch's initial weights and statistics that are not those of a fresh network."""
    from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors

    rng = np.random.default_rng(6)
    tensors = {}
    for name, shape in resnet_tensors(20, conv_shortcuts=True, channels=3, classes=4).items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = np.array(7)
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight")):
            tensors[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            fan = int(np.prod(shape[1:])) or 1
            tensors[name] = (rng.normal(size=shape) * np.sqrt(2 / fan) * (1 if len(shape) > 1 else 0.1)).astype(np.float32)
    return tensors


@pytest.fixture
def rows() -> Examples:
    """300 rows of 12 numbers in 4 classes."""
    from landscape_core.compute import Examples

    rng = np.random.default_rng(0)
    return Examples.from_arrays(rng.normal(size=(300, 12)).astype(np.float32), rng.integers(0, 4, 300))


@pytest.fixture
def images() -> Examples:
    """150 images of 9 x 8 pixels in 4 classes."""
    from landscape_core.compute import Examples

    rng = np.random.default_rng(1)
    return Examples.from_arrays(rng.integers(0, 256, (150, 9, 8, 3), np.uint8), rng.integers(0, 4, 150).astype(np.uint8))
