"""Rounding more than float32 does, where that is asked for: TF32 and bfloat16, with a float32 check of some cells.

    tf32        factors of products and convolutions have 10 bits of mantissa instead of 23, sums are float32; CUDA from compute
                capability 8.0 (NVIDIA, "TensorFloat-32 in the A100 GPU", 2020)
    bfloat16    what `torch.autocast` takes to bfloat16, 7 bits of mantissa: convolutions, products, and what lies between them

Weights are moved in float32, and losses are those of float32 outputs, in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from landscape_core.compute.devices import round_factors
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Grid, Precision

CHECK_EXAMPLES = 512
"""Over how many examples a catalogued network is compared with itself in float32."""

TF32_CAPABILITY = (8, 0)


def check_precision(precision: Precision | str, device: torch.device) -> None:
    """Passes when a device has a precision.

    Args:
        precision: What is asked for.
        device: Where the network is evaluated.

    Raises:
        InvalidRequest: It has not, or there is no such precision.
    """
    if precision == "tf32":
        if device.type != "cuda":
            problem = f"TF32 is of CUDA devices, but the network is evaluated on {device}"
        elif torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
            problem = f"{torch.cuda.get_device_name(device)} has no TF32"
        else:
            return
    elif precision == "bfloat16":
        known = torch.amp.is_autocast_available(device.type)
        if known and (device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)):
            return
        problem = f"{device} does not compute in bfloat16"
    elif precision == "float32":
        return
    else:
        problem = f"precision should be float32, tf32 or bfloat16, but {precision!r} came"
    raise InvalidRequest(f"{problem}; choose precision float32.", field="precision")


def check_rounded(precision: Precision, module: nn.Module) -> None:
    """Passes when a precision rounds all of a network: what computes in float64 is left as it is.

    Args:
        precision: From `check_precision`.
        module: A network of the user's own.

    Raises:
        InvalidRequest: A parameter is float64.
    """
    wide = next((name for name, parameter in module.named_parameters() if parameter.dtype == torch.float64), None)
    if precision != "float32" and wide is not None:
        raise InvalidRequest(
            f"Precision {precision} rounds what is float32, but {wide} is float64; give model.float() with float32 inputs, or "
            "leave out precision.",
            field="precision",
        )


def check_eigenvalues(precision: Precision, curvature: int | None) -> None:
    """Passes unless eigenvalues are asked for in another precision than float32.

    Args:
        precision: Of the surface.
        curvature: Over how many examples eigenvalues are measured; None for none.

    Raises:
        InvalidRequest: They are.
    """
    if precision != "float32" and curvature is not None:
        raise InvalidRequest(
            "Eigenvalues are measured in float32; choose precision float32, or leave out curvature.", field="precision"
        )


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it, what is computed on the device is rounded so; afterwards as float32 again.

    Args:
        precision: From `check_precision`.
        device: Where the network is evaluated.
    """
    if precision == "bfloat16":
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    elif precision == "tf32":
        round_factors("tf32")
        try:
            yield
        finally:
            round_factors("ieee")
    else:
        yield


def in_float32(outputs: Any) -> Any:
    """The same with every bfloat16 tensor in it widened."""
    return tree_map(_widened, outputs)


def _widened(leaf: Any) -> Any:
    return leaf.float() if isinstance(leaf, Tensor) and leaf.dtype == torch.bfloat16 else leaf


def checked_cells(grid: Grid) -> list[tuple[int, int]]:
    """Centre and corners of a grid, as (row, column), each once."""
    rows, columns = grid.shape
    corners = [(row, column) for row in (0, rows - 1) for column in (0, columns - 1)]
    return list(dict.fromkeys([(rows // 2, columns // 2), *corners]))


def precision_check(
    cells: Sequence[tuple[int, int]], examples: int, loss: Callable[[tuple[int, int], Precision], float], precision: Precision
) -> dict[str, Any]:
    """How far some cells are from what float32 gives there. JSON-able.

    Args:
        cells: (row, column) of each.
        examples: How many each is measured over, for the record.
        loss: The mean loss at a cell in a precision.
        precision: What is held against float32.

    Returns:
        The cells, the examples, and `largest_relative_difference`: of |loss − float32| / |float32| over the cells; None where
        a cell is finite in one of the two alone.
    """
    found = np.array([[loss(cell, precision), loss(cell, "float32")] for cell in cells])
    finite = np.isfinite(found)
    differences = [abs(a - b) / max(abs(b), np.finfo(np.float32).tiny) for a, b in found[finite.all(axis=1)]]
    agrees = bool((finite[:, 0] == finite[:, 1]).all())
    return {
        "cells": [list(cell) for cell in cells],
        "examples": examples,
        "largest_relative_difference": float(max(differences, default=0.0)) if agrees else None,
    }
