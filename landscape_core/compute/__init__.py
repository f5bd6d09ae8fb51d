"""Computing surfaces. The only part of the core that loads torch."""

from landscape_core.compute.architectures import CifarResNet, Perceptron, build, load, load_own
from landscape_core.compute.datasets import Examples, load_dataset, prepare
from landscape_core.compute.derivation import CheckpointReader, DerivedDirections, derive, project
from landscape_core.compute.devices import choose_device, cpu_threads
from landscape_core.compute.directions import DirectionArrays, directions_for, draw
from landscape_core.compute.evaluation import Evaluator
from landscape_core.compute.normalization import normalise
from landscape_core.compute.own_models import landscape
from landscape_core.compute.plane_curvature import PlaneCurvature
from landscape_core.compute.planes import Plane
from landscape_core.compute.reference import reference_surface
from landscape_core.compute.run_losses import Losses, with_losses
from landscape_core.compute.surface import compute_surface
from landscape_core.compute.surveys import compute_curvature

__all__ = [
    "CheckpointReader",
    "CifarResNet",
    "DerivedDirections",
    "DirectionArrays",
    "Evaluator",
    "Examples",
    "Losses",
    "Perceptron",
    "Plane",
    "PlaneCurvature",
    "build",
    "choose_device",
    "compute_curvature",
    "compute_surface",
    "cpu_threads",
    "derive",
    "directions_for",
    "draw",
    "landscape",
    "load",
    "load_dataset",
    "load_own",
    "normalise",
    "prepare",
    "project",
    "reference_surface",
    "with_losses",
]
