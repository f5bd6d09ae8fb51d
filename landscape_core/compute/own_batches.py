"""Batches of the user's own: any iterable of (inputs, targets), read once and kept where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, pairwise
from typing import Any

import torch
from torch import Tensor

from landscape_core.compute.datasets.preparation import RESIDENT_BYTES
from landscape_core.compute.own_chunks import in_chunks
from landscape_core.errors import InvalidRequest


@dataclass(frozen=True)
class OwnBatch:
    """One (inputs, targets) pair.

    Attributes:
        inputs: What the model takes: a tensor, a tuple of arguments, or a mapping of named ones.
        targets: What the loss takes beside the outputs.
        examples: How many examples it holds: the length of the first tensor of the inputs, else of the targets.
    """

    inputs: Any
    targets: Any
    examples: int


class OwnBatches:
    """The batches of a measurement, the same at every cell.

    They are read once and kept, on the device up to `RESIDENT_BYTES`. Beyond, what can be read again (a list, a `DataLoader`)
    is read again at every cell; a one-shot iterator is kept in memory, and moved to the device batch by batch.

    Args:
        batches: Any finite iterable of (inputs, targets).
        device: Where the model is.

    Raises:
        InvalidRequest: They are no such batches, or none.
    """

    def __init__(self, batches: Iterable[Any], device: torch.device) -> None:
        if not isinstance(batches, Iterable):
            raise InvalidRequest(
                f"The batches should be an iterable of (inputs, targets), but are of type {type(batches).__name__}.",
                field="batches",
            )
        self._device, self._source = device, batches
        self._kept: list[OwnBatch] | None = None
        self._sizes: list[int] | None = None
        once = iter(batches)
        self._kept, self.where = self._read(once, again=once is not batches)
        if self._kept is not None and not any(batch.examples for batch in self._kept):
            raise InvalidRequest("The batches hold no examples; an iterator may have been used up before.", field="batches")

    def __iter__(self) -> Iterator[OwnBatch]:
        sizes = []
        for batch in self._filled():
            sizes.append(batch.examples)
            yield self._here(batch)
        self._sizes = self._sizes or sizes

    @property
    def are_kept(self) -> bool:
        """Whether they are kept, on the device or in memory; else they are read again."""
        return self._kept is not None

    @cached_property
    def chunks(self) -> list[list[int]]:
        """Positions of the batches of each chunk (`in_chunks`): in a drawn order if they are kept, else as they come."""
        return in_chunks(self._known_sizes(), permuted=self.are_kept)

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """Examples start … stop of each chunk, counted through all chunks."""
        sizes = self._known_sizes()
        return tuple(pairwise([0, *accumulate(sum(sizes[position] for position in chunk) for chunk in self.chunks)]))

    def of_chunk(self, number: int) -> Iterator[OwnBatch]:
        """The batches of a chunk; where they are read again, reading ends with its last one.

        Raises:
            InvalidRequest: They hold other numbers of examples than before.
        """
        wanted = set(self.chunks[number])
        examples = 0
        for position, batch in enumerate(islice(self._filled(), max(wanted) + 1)):
            if position in wanted:
                examples += batch.examples
                yield self._here(batch)
        start, stop = self.bounds[number]
        if examples != stop - start:
            raise InvalidRequest(
                f"The batches held {stop - start:,} examples in one part when they were read first, and {examples:,} now; give "
                "the same ones each time, or choose budget exact.",
                field="batches",
            )

    def _known_sizes(self) -> list[int]:
        """How many examples each has; where they are read again, as they were read to the end first."""
        if self._sizes is None:
            self._sizes = [batch.examples for batch in self._filled()]
        return self._sizes

    def _filled(self) -> Iterator[OwnBatch]:
        """Those with examples, where they are."""
        source = map(checked_batch, self._source) if self._kept is None else self._kept
        return (batch for batch in source if batch.examples)

    def _here(self, batch: OwnBatch) -> OwnBatch:
        return OwnBatch(on_device(batch.inputs, self._device), on_device(batch.targets, self._device), batch.examples)

    def _read(self, once: Iterator[Any], *, again: bool) -> tuple[list[OwnBatch] | None, str]:
        kept, used = [], 0
        for item in once:
            batch = checked_batch(item)
            used += size_bytes(batch.inputs) + size_bytes(batch.targets)
            if used > RESIDENT_BYTES and again:
                return None, "read again at every cell"
            kept.append(self._here(batch) if used <= RESIDENT_BYTES else batch)
        return kept, "read once, kept on the device" if used <= RESIDENT_BYTES else "read once, kept in memory"


def checked_batch(item: Any) -> OwnBatch:
    """The (inputs, targets) pair that a batch should be.

    Args:
        item: As it came.

    Raises:
        InvalidRequest: It is something else, or the number of its examples cannot be told.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        came = f"{len(item)} things" if isinstance(item, tuple | list) else f"something of type {type(item).__name__}"
        raise InvalidRequest(
            f"Each batch should be a pair (inputs, targets), but {came} came; write ((b['x'], b['y']) for b in batches).",
            field="batches",
        )
    inputs, targets = item
    first = next((t for t in (*tensors_in(inputs), *tensors_in(targets)) if t.dim() > 0), None)
    if first is None:
        raise InvalidRequest(
            "A batch should hold tensors, from whose first dimension the examples are counted, but none came.", field="batches"
        )
    return OwnBatch(inputs, targets, first.shape[0])


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of a tensor, tuple, list or mapping, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)


def size_bytes(value: Any) -> int:
    """How many bytes the tensors in a value take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(value))


def on_device(value: Any, device: torch.device) -> Any:
    """The same value with its tensors on the device; what is there already is not copied."""
    if hasattr(value, "to"):  # a tensor, a packed sequence, the batch of a tokeniser
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: on_device(item, device) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(on_device(item, device) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(on_device(item, device) for item in value)
    return value


def outputs_for(module: torch.nn.Module, inputs: Any) -> Any:
    """What the model makes of a batch's inputs: a mapping is given by name, a tuple or list as several arguments."""
    if isinstance(inputs, Mapping):
        return module(**inputs)
    if isinstance(inputs, tuple | list) and not hasattr(inputs, "to"):
        return module(*inputs)
    return module(inputs)


def first_of(batches: Iterable[OwnBatch], most: int) -> Iterator[OwnBatch]:
    """The first examples of some batches; the last one is cut where need be.

    Args:
        batches: Where they are taken from.
        most: How many examples at most.
    """
    left = most
    for batch in batches:
        if batch.examples <= left:
            yield batch
        else:
            yield OwnBatch(cut(batch.inputs, batch.examples, left), cut(batch.targets, batch.examples, left), left)
        left -= min(left, batch.examples)
        if not left:
            return


def cut(value: Any, examples: int, taken: int) -> Any:
    """The first examples of a batch's inputs or targets, as plain containers.

    Args:
        value: Tensors whose first dimension counts the examples, in any containers; what is no such tensor stays.
        examples: How many there are.
        taken: How many are taken.
    """
    if isinstance(value, Tensor):
        return value[:taken] if value.dim() and len(value) == examples else value
    if isinstance(value, Mapping):
        return {name: cut(item, examples, taken) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [cut(item, examples, taken) for item in value]
    return value
