"""The examples of a request in the slice's order, standardised, in the layout that the network's kernels like.

uint8 images become float32 in [0, 1], channels first, then (x − mean) / std by channel. Floating data are used as they are,
then standardised alike. Token ids become int64, and nothing else is done to them. Up to `RESIDENT_BYTES` the slice is prepared
once and stays on the device as float32 (60,000 MNIST images: 188 MB; 50,000 CIFAR-10 images: 614 MB); beyond, each batch is
prepared from the stored type by the same arithmetic.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Int64, Num
from torch import Tensor

from landscape_core.catalogue import standardisation
from landscape_core.catalogue.data import holds_tokens
from landscape_core.compute.datasets.sources import Examples
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import example_order
from landscape_core.requests import DataSlice

RESIDENT_BYTES = 1 << 30
"""Most float32 bytes of a slice that are prepared once and kept on the device."""


class Batches:
    """The examples of a slice, in its order, to be taken by position.

    Args:
        examples: The split.
        data: Which of its examples, in which order, and how they are prepared.
        device: Where batches are wanted.
        flat: Whether examples are wanted as rows of numbers (C, H, W order), as an MLP takes them.
        channels_last: Whether images are laid out channels-last, which convolutions like; else as most code expects them.

    Raises:
        InvalidRequest: More examples are asked for than there are, or the preprocessing is unknown or of other channels.
    """

    def __init__(
        self, examples: Examples, data: DataSlice, device: torch.device, *, flat: bool = False, channels_last: bool = True
    ) -> None:
        order = _slice_order(examples, data)
        self._device, self._flat, self._channels_last = device, flat, channels_last
        self._scaling = _scaling(examples, data)
        self._x = examples.x[order]
        labels = torch.from_numpy(examples.y[order].astype(np.int64))
        self._y = labels.to(device)
        self._resident: Tensor | None = None
        if (8 if examples.facts.holds_tokens else 4) * self._x.size <= RESIDENT_BYTES:
            self._resident = self._prepared(self._x).to(device)

    def __len__(self) -> int:
        return len(self._x)

    @property
    def resident(self) -> bool:
        """Whether the whole slice is kept prepared on the device."""
        return self._resident is not None

    def take(self, start: int, stop: int) -> tuple[Num[Tensor, "n ..."], Int64[Tensor, "*places"]]:
        """The examples start … stop of the slice and their labels, on the device; of tokens, the ids and those that follow."""
        if self._resident is not None:
            return self._resident[start:stop], self._y[start:stop]
        return self._prepared(self._x[start:stop]).to(self._device), self._y[start:stop]

    def sha256(self) -> str:
        """SHA-256 of the slice's stored examples and labels, in its order."""
        digest = hashlib.sha256(np.ascontiguousarray(self._x).tobytes())
        digest.update(self._y.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _prepared(self, stored: np.ndarray) -> Tensor:
        if holds_tokens(stored.dtype.name):
            return torch.from_numpy(stored.astype(np.int64))
        x = torch.from_numpy(np.require(stored, requirements=["C", "W"]))
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(255)
            x = x.permute(0, 3, 1, 2) if x.dim() == 4 else x
        else:
            x = x.to(torch.float32, copy=True)
        x = x.unsqueeze(1) if x.dim() == 3 else x
        if self._scaling is not None:
            mean, std = self._scaling
            view = (1, -1, *[1] * (x.dim() - 2))
            x = x.sub_(mean.view(view)).div_(std.view(view))
        if self._flat or x.dim() != 4:
            return x.flatten(1).contiguous()
        return x.contiguous(memory_format=torch.channels_last if self._channels_last else torch.contiguous_format)


def _slice_order(examples: Examples, data: DataSlice) -> slice | np.ndarray:
    available = len(examples.y)
    wanted = available if data.examples is None else data.examples
    if wanted > available:
        raise InvalidRequest(
            f"{wanted:,} examples were asked for, but {examples.facts.title} has {available:,} in this split.",
            field="data.examples",
        )
    return slice(0, wanted) if data.seed is None else example_order(available, data.seed)[:wanted]


def _scaling(examples: Examples, data: DataSlice) -> tuple[Tensor, Tensor] | None:
    chosen = standardisation(data.preprocessing)
    if chosen is None:
        return None
    channels = examples.facts.shape[0]
    if len(chosen.mean) not in {1, channels} or (len(chosen.mean) == 1 and len(examples.facts.shape) == 3 and channels != 1):
        raise InvalidRequest(
            f"The preprocessing has {len(chosen.mean)} channels, but {examples.facts.title} has {channels}.",
            field="data.preprocessing",
        )
    return torch.tensor(chosen.mean, dtype=torch.float32), torch.tensor(chosen.std, dtype=torch.float32)


def prepare(examples: Examples, data: DataSlice) -> tuple[Num[Tensor, "n ..."], Int64[Tensor, "*places"]]:
    """All examples of a slice and their labels, in its order, standardised, channels first, float32 on the CPU; tokens int64.

    Args:
        examples: The split.
        data: Which of its examples, in which order, and how they are prepared.

    Returns:
        x, (n, C, H, W), (n, F) or (n, tokens); y, (n,) or (n, tokens).

    Raises:
        InvalidRequest: More examples are asked for than there are, or the preprocessing is unknown or of other channels.

    Example:
        >>> images = np.full((3, 4, 4, 1), 255, np.uint8)
        >>> x, y = prepare(Examples.from_arrays(images, np.array([0, 1, 2])), DataSlice(dataset="mine", examples=2, seed=None))
        >>> x.shape, float(x.max()), y.tolist()  # channels first; 255 becomes 1.0
        (torch.Size([2, 1, 4, 4]), 1.0, [0, 1])
    """
    batches = Batches(examples, data, torch.device("cpu"))
    return batches.take(0, len(batches))
