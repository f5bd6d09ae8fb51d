"""How a surface was made: versions, device, directions. JSON-able."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from landscape_core.estimate import surface_over
from landscape_core.quantities import class_of
from landscape_core.results import Tally


def made_with(device: torch.device) -> dict[str, Any]:
    """Versions, machine, device and threads of this process.

    Args:
        device: Where the network is evaluated.
    """
    return {
        "program": f"loss-atlas {version('loss-atlas')}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }


def about_directions(x: Sequence[np.ndarray], y: Sequence[np.ndarray] | None, floating: Sequence[bool]) -> dict[str, float]:
    """Lengths of the directions and the cosine between them, as far as they are finite.

    Args:
        x: δ, one array for each moved tensor.
        y: η likewise; None for a curve.
        floating: Which of the tensors really move: batch norm's counters have no part in a direction.
    """
    first = _flat(x, floating)
    about = {"x_norm": float(np.linalg.norm(first))}
    if y is not None:
        second = _flat(y, floating)
        about["y_norm"] = float(np.linalg.norm(second))
        lengths = about["x_norm"] * about["y_norm"]
        about["cosine"] = float(first @ second) / lengths if lengths else 0.0
    return {name: value for name, value in about.items() if np.isfinite(value)}


def _flat(direction: Sequence[np.ndarray], floating: Sequence[bool]) -> np.ndarray:
    moving = [array.ravel() for array, moves in zip(direction, floating, strict=True) if moves]
    return np.concatenate([*moving, np.zeros(0)]).astype(np.float64)


def own_values_of(tally: Tally) -> dict[str, Any]:
    """What the network itself gives, and what was counted beside: `own_top5`, `own_class_accuracy` by class. Percent.

    Args:
        tally: Of shape (1,), over all examples.
    """
    surface = surface_over(np.zeros(1), None, tally.reshaped(1, 1))
    found = own_values(tally.loss_sum[0] / tally.examples[0], 100.0 * int(tally.correct[0]) / int(tally.examples[0]))
    return found | own_quantities({name: float(table[0, 0]) for name, table in surface.quantities.items()})


def own_quantities(values: Mapping[str, float]) -> dict[str, Any]:
    """The measured metrics of the network itself, as a surface's provenance holds them.

    Args:
        values: By the names in `landscape_core.quantities`, percent; NaN where unknown.
    """
    classes = {
        str(class_of(name)): value for name, value in values.items() if class_of(name) is not None and np.isfinite(value)
    }
    return {
        **({"own_top5": values["top5"]} if np.isfinite(values.get("top5", np.nan)) else {}),
        **({"own_class_accuracy": classes} if classes else {}),
    }


def own_values(loss: float, accuracy: float) -> dict[str, float | None]:
    """What the network itself gives; None for what is not finite.

    Args:
        loss: Mean over all examples.
        accuracy: Percent.
    """
    return {
        "own_loss": float(loss) if np.isfinite(loss) else None,
        "own_accuracy": float(accuracy) if np.isfinite(accuracy) else None,
    }
