"""What must hold before a network is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_core.catalogue import check_data, check_request
from landscape_core.compute.datasets import Examples
from landscape_core.compute.precision import check_precision
from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest


def check_asked(
    request: SurfaceRequest, tensors: Mapping[str, np.ndarray], examples: Examples, own: nn.Module | None, device: str
) -> None:
    """Passes when the request can be computed, as far as can be told before anything is.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        own: The network itself, where the request's architecture is not catalogued.
        device: A PyTorch device.

    Raises:
        InvalidRequest: It cannot.
    """
    if own is None:
        check_request(request, {name: tuple(array.shape) for name, array in tensors.items()}, examples.facts)
    else:
        check_data(request, examples.facts)
    check_precision(request.precision, torch.device(device))


def check_outputs(network: str, outputs: Any, x: Tensor, labels: Tensor, least: int) -> None:
    """Passes when a network gives one row of classes for each example, or for each token of it.

    Args:
        network: What it is called.
        outputs: What it gave.
        x: For these inputs.
        labels: One for each example, or for each token of it.
        least: How many classes there are.

    Raises:
        InvalidRequest: It does not.
    """
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"something of type {type(outputs).__name__}"
    if not isinstance(outputs, Tensor) or outputs.shape[:-1] != labels.shape or outputs.shape[-1] < least:
        rows = ", ".join(str(length) for length in labels.shape)
        raise InvalidRequest(
            f"{network} should give outputs of shape ({rows}, {least} or more) for inputs of shape {tuple(x.shape)}, "
            f"but gave {found}.",
            field="architecture",
        )
