"""How a surface was made: versions, device, directions. JSON-able."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

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


def about_directions(x: Sequence[np.ndarray], y: Sequence[np.ndarray] | None, moves: Sequence[bool]) -> dict[str, float]:
    """Lengths of the directions and the cosine between them, as far as they are finite.

    Args:
        x: δ, one array for each moved tensor.
        y: η likewise; None for a curve.
        moves: Which of the tensors really move (`directions.moving`): batch norm's counters have no part in a direction.
    """
    first = _flat(x, moves)
    about = {"x_norm": float(np.linalg.norm(first))}
    if y is not None:
        second = _flat(y, moves)
        about["y_norm"] = float(np.linalg.norm(second))
        lengths = about["x_norm"] * about["y_norm"]
        with np.errstate(invalid="ignore", over="ignore"):
            about["cosine"] = float(first @ second) / lengths if lengths else 0.0
    return {name: value for name, value in about.items() if np.isfinite(value)}


def _flat(direction: Sequence[np.ndarray], moves: Sequence[bool]) -> np.ndarray:
    moving = [array.ravel() for array, chosen in zip(direction, moves, strict=True) if chosen]
    return np.concatenate([*moving, np.zeros(0)]).astype(np.float64)


def own_values_of(tally: Tally, decisions: int = 1) -> dict[str, Any]:
    """What the network itself gives, and what was counted beside: `own_top5`, `own_class_accuracy` by class. Percent.

    Args:
        tally: Of shape (1,), over all examples.
        decisions: How many of each example `tally.correct` counts.
    """
    surface = surface_over(np.zeros(1), None, tally.reshaped(1, 1))
    accuracy = 100.0 * int(tally.correct[0]) / (int(tally.examples[0]) * decisions)
    found = own_values(tally.loss_sum[0] / tally.examples[0], accuracy)
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


def about_model(module: nn.Module, loss_fn: Any) -> dict[str, Any]:
    """What is to be computed in Python: the model and the values that it holds, the loss.

    Args:
        module: The network.
        loss_fn: A function, or an object that is called like one.
    """
    digest = hashlib.sha256()
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    named = loss_fn if hasattr(loss_fn, "__qualname__") else type(loss_fn)
    return {
        "source": "landscape_core.landscape",
        "model": f"{type(module).__module__}.{type(module).__qualname__}",
        "model_sha256": digest.hexdigest(),
        "parameters": sum(p.numel() for p in module.parameters()),
        "loss": f"{named.__module__}.{named.__qualname__}",
    }
