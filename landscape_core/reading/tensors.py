"""From a declared tensor to its numbers: every declaration is held against the storage before anything is allocated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from landscape_core.errors import CheckpointRejected
from landscape_core.reading.containers import Opened, element_bytes, run_bytes
from landscape_core.reading.dtypes import NAMES, RAW, item_bytes, widen, widened_bytes
from landscape_core.reading.limits import Limits
from landscape_core.reading.records import Tensor, UnsupportedTensor
from landscape_core.reading.refusals import damaged, too_large


def checked(tensors: Mapping[str, Tensor | UnsupportedTensor], file_bytes: int, limits: Limits) -> dict[str, Tensor]:
    """The same tensors, known to be dense, of a known type, inside their storages, and not too large together.

    Args:
        tensors: As declared, by name.
        file_bytes: Size of the file.
        limits: Bounds.

    Raises:
        CheckpointRejected: If one of them is not.
    """
    plain = {name: _plain(name, tensor) for name, tensor in tensors.items()}
    for name, tensor in plain.items():
        _check_reach(name, tensor, limits)
    total = sum(math.prod(tensor.size) * widened_bytes(tensor.kind) for tensor in plain.values())
    if total > limits.total(file_bytes):
        raise CheckpointRejected(
            f"The file's tensors hold {total:,} bytes, far more than its own {file_bytes:,}, because many of them look at the "
            "same numbers; save a .clone() of each."
        )
    return plain


def _plain(name: str, tensor: Tensor | UnsupportedTensor) -> Tensor:
    if isinstance(tensor, UnsupportedTensor):
        kinds = tensor.kind if tensor.kind.startswith(("a ", "an ", "without", "lazily")) else f"{tensor.kind} tensors"
        wording = f"{kinds} are not supported" if kinds.endswith("tensors") else f"it is {kinds}, which is not supported"
        raise CheckpointRejected(f"The tensor {name[:80]!r} cannot be read: {wording}; {tensor.remedy}.")
    if tensor.kind not in NAMES:
        what = "complex tensors" if tensor.kind.lower().startswith("complex") else f"tensors of type {tensor.kind[:40]}"
        raise CheckpointRejected(f"The tensor {name[:80]!r} cannot be read: {what} are not supported; save it as float32.")
    return tensor


def _check_reach(name: str, tensor: Tensor, limits: Limits) -> None:
    storage, numel = tensor.storage, math.prod(tensor.size)
    if len(tensor.size) != len(tensor.stride):
        raise damaged(f"the tensor {name[:80]!r} has {len(tensor.size)} dimensions but {len(tensor.stride)} strides")
    if max(tensor.size, default=0) > limits.numel:
        raise too_large(name, tensor.size, limits)
    if numel == 0:
        return
    available = run_bytes(storage) // item_bytes(tensor.kind)
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.size, tensor.stride, strict=True))
    if numel > available:
        raise CheckpointRejected(
            f"The tensor {name[:80]!r} shows {available:,} stored numbers as {numel:,} (an expanded view); "
            "save its .contiguous()."
        )
    if numel > limits.numel:
        raise too_large(name, tensor.size, limits)
    if last >= available:
        raise damaged(f"the tensor {name[:80]!r} reaches outside its storage")


class Materializer:
    """Reads the numbers of checked tensors, each storage once.

    Args:
        opened: The container.
        tensors: Those that will be asked for, so that a storage is let go after the last of them.
    """

    def __init__(self, opened: Opened, tensors: Mapping[str, Tensor]) -> None:
        self._opened = opened
        self._uses = Counter(tensor.storage.key for tensor in tensors.values())
        self._held: dict[str, bytes] = {}

    def array(self, tensor: Tensor) -> np.ndarray:
        """The numbers, in row-major order and this machine's byte order; short floats widened to float32.

        Args:
            tensor: From `checked`.

        Raises:
            CheckpointRejected: If the file is damaged.
        """
        data, storage = self._run(tensor.storage.key), tensor.storage
        if math.prod(tensor.size) == 0:
            return widen(tensor.kind, np.zeros(tensor.size, RAW[tensor.kind]))
        dtype = np.dtype(RAW[tensor.kind]).newbyteorder(">" if self._opened.big_endian else "<")
        begin = storage.start * element_bytes(storage.kind) + tensor.offset * dtype.itemsize
        strides = [step * dtype.itemsize if length > 1 else 0 for length, step in zip(tensor.size, tensor.stride, strict=True)]
        view: np.ndarray = np.ndarray(tensor.size, dtype, data, begin, strides)
        plain = np.array(view, dtype.newbyteorder("="), order="C").reshape(-1)
        return widen(tensor.kind, plain).reshape(tensor.size)

    def _run(self, key: str) -> bytes:
        if key not in self._held:
            self._held[key] = self._opened.read(key)
        data = self._held[key]
        if len(data) != run_bytes(self._opened.runs[key]):
            raise damaged("it is cut short")
        self._uses[key] -= 1
        if self._uses[key] <= 0:
            del self._held[key]
        return data
