"""Networks with random weights and images that are noise: what is in them does not change what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from landscape_core.catalogue import resolve
from landscape_core.catalogue.family import NamedFamily
from landscape_core.catalogue.networks import family_of
from landscape_core.requests import ArchitectureSpec, SurfaceRequest


def convnet(channels: tuple[int, int, int], kernel: int, side: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a `convnet` with two convolutions, each pooled by two, and two affine layers for ten classes.

    Args:
        channels: Of an image, and of both convolutions.
        kernel: Their side.
        side: Of an image.
        hidden: Units between the affine layers.
    """
    places = ((side - kernel + 1) // 2 - kernel + 1) // 2
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (before, after) in enumerate(itertools.pairwise(channels)):
        shapes |= {f"conv{index}.weight": (after, before, kernel, kernel), f"conv{index}.bias": (after,)}
    for index, (before, after) in enumerate(itertools.pairwise((channels[-1] * places**2, hidden, 10))):
        shapes |= {f"fc{index}.weight": (after, before), f"fc{index}.bias": (after,)}
    return shapes


def tensors(
    architecture: str,
    widths: tuple[int, ...] = (784, 128, 10),
    seed: int = 0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """Random weights under the architecture's names, of a size that keeps what goes through them.

    Args:
        architecture: A catalogued name.
        widths: Of a perceptron, from the input to the output.
        seed: Of the weights.
        shapes: Of all tensors, where the name does not say them.
    """
    spec, rng = ArchitectureSpec(name=architecture), np.random.default_rng(seed)
    family = family_of(architecture)
    if shapes is not None:
        shapes = dict(shapes)
    elif isinstance(family, NamedFamily):
        shapes = dict(family.layout(spec, resolve(spec), {}).tensors)
    else:
        shapes = {}
        for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            shapes |= {f"{index}.weight": (outputs, inputs), f"{index}.bias": (outputs,)}
    made = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        middle = 1.0 if len(shape) == 1 and name.endswith(("running_var", "weight")) else 0.0
        made[name] = np.asarray(middle + spread * rng.standard_normal(shape), np.float32)
    return made


def images(count: int, shape: tuple[int, ...], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise (count, *shape) uint8 and labels (count,) int64 of ten classes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count)


def request(
    architecture: str,
    points: int | tuple[int, int],
    *,
    examples: int | None = None,
    checkpoint: str = "0" * 64,
    dataset: str = "random",
    seed: int = 1,
) -> SurfaceRequest:
    """A surface along two random directions, the examples in their own order.

    Args:
        architecture: A catalogued name.
        points: Of both axes, or of the first and the second.
        examples: How many of them; None for all.
        checkpoint: Its id.
        dataset: Its id.
        seed: Of the first direction; the second has the next.
    """
    nx, ny = (points, points) if isinstance(points, int) else points
    return SurfaceRequest.model_validate(
        {
            "checkpoint": checkpoint,
            "architecture": {"name": architecture},
            "data": {"dataset": dataset, "seed": None, "examples": examples, "preprocessing": "none"},
            "plane": {"x": {"kind": "random", "seed": seed}, "y": {"kind": "random", "seed": seed + 1}},
            "grid": {
                "x": {"start": -1, "stop": 1, "points": nx},
                "y": {"start": -1, "stop": 1, "points": ny} if ny > 1 else {"start": 0.5, "stop": 0.5, "points": 1},
            },
        }
    )
