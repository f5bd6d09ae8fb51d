"""Computing surfaces. The only part of the core that loads torch."""

from landscape_core.compute.architectures import CifarResNet, Perceptron, build, load
from landscape_core.compute.datasets import Examples, load_dataset, prepare
from landscape_core.compute.derivation import CheckpointReader, DerivedDirections, derive
from landscape_core.compute.devices import choose_device
from landscape_core.compute.directions import DirectionArrays, directions_for, draw
from landscape_core.compute.evaluation import Evaluator
from landscape_core.compute.normalization import normalise
from landscape_core.compute.planes import Plane
from landscape_core.compute.reference import reference_surface
from landscape_core.compute.surface import compute_surface

__all__ = [
    "CheckpointReader",
    "CifarResNet",
    "DerivedDirections",
    "DirectionArrays",
    "Evaluator",
    "Examples",
    "Perceptron",
    "Plane",
    "build",
    "choose_device",
    "compute_surface",
    "derive",
    "directions_for",
    "draw",
    "load",
    "load_dataset",
    "normalise",
    "prepare",
    "reference_surface",
]
