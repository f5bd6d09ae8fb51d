"""Measuring a network over a plane: tallies per cell, from one fixed way of cutting batches.

What a cell's tally holds depends on the request, the cell and the range of examples alone: batches are cut from `start` in
one size per network and size of example, a call of several cells always has as many (`calls`), losses are float32 per example
(never TF32), and sums are float64. Only where memory runs out is the batch halved, and on other devices than CPUs a probe
chooses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape_core.compute.architectures import load
from landscape_core.compute.batch_sizes import sequences
from landscape_core.compute.calls import Calls, calls_for
from landscape_core.compute.datasets import Batches, Examples
from landscape_core.compute.devices import compute_exactly, is_out_of_memory
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors, moving
from landscape_core.compute.measuring import Measured, Measuring
from landscape_core.compute.moved_network import MovedNetwork
from landscape_core.compute.pending import Pending, one_behind, pending
from landscape_core.compute.precision import CHECK_EXAMPLES, checked_cells, precision_check
from landscape_core.compute.premises import check_asked, check_outputs
from landscape_core.compute.provenance import about_directions, made_with
from landscape_core.errors import Cancelled, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import Precision, SurfaceRequest
from landscape_core.results import Tally

_Measure = Callable[[int, int], Measured]
"""Measures the examples start … stop."""

_Places = Sequence[tuple[float, float]]
_ShouldStop = Callable[[], bool] | None
_Progress = Callable[[float], None] | None


class Evaluator:
    """A request made ready: network, directions and examples on the device, to be measured at any of its cells.

    Args:
        request: The question.
        tensors: The checkpoint's names and arrays, in the file's order.
        examples: The split that the request names.
        direction_arrays: What the direction file holds, or `derive` made, for directions that are not random.
        device: A PyTorch device.
        threads: How many CPU threads PyTorch uses, for the whole process; None leaves it as it is.
        own: The network itself, from `load_own`, where the request's architecture is not catalogued.
        about: What `derive` has to say of the directions, for the provenance.
        calls: How the network is called; None for what suits it and the device.

    Raises:
        InvalidRequest: The request does not go with the checkpoint or the data set, or a direction was not given.
        DirectionsRejected: The direction file does not belong to the network.
        OutOfMemory: Network or examples do not fit into the device's memory.

    Example:
        >>> request = SurfaceRequest.model_validate({
        ...     "checkpoint": "0" * 64, "architecture": {"name": "mlp"}, "data": {"dataset": "mine"}, "loss": "mse",
        ...     "plane": {"x": {"kind": "random", "seed": 1}}, "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
        ... })
        >>> tensors = {"w.weight": np.eye(2, dtype=np.float32)}
        >>> examples = Examples.from_arrays(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> tally = Evaluator(request, tensors, examples).tally([(0, 0), (0, 1)], 0, 2)  # two cells, both examples
        >>> tally.examples.tolist(), float(tally.loss_sum[1]), int(tally.correct[1])
        ([2, 2], 0.0, 2)
    """

    def __init__(
        self,
        request: SurfaceRequest,
        tensors: Mapping[str, np.ndarray],
        examples: Examples,
        direction_arrays: DirectionArrays | None = None,
        device: str = "cpu",
        threads: int | None = None,
        own: nn.Module | None = None,
        about: Mapping[str, Any] | None = None,
        calls: Calls | None = None,
    ) -> None:
        check_asked(request, tensors, examples, own, device)
        compute_exactly(threads)
        self.request, self._facts, self._device = request, examples.facts, torch.device(device)
        module, ours = load(request.architecture, tensors) if own is None else own, own is None
        x, y = directions_for(request, module, direction_arrays)
        self._moving = moving(moved_tensors(module, request.plane.normalisation))
        self._about = dict(about or {})
        self._x, self._y = [tensor.numpy() for tensor in x], None if y is None else [tensor.numpy() for tensor in y]
        try:
            self.calls = calls or calls_for(request, tensors, examples, module, self._device, ours=ours)
            flat = ours and not examples.facts.holds_tokens and not any(p.dim() == 4 for p in module.parameters())
            last, self._batch = self.calls.channels_last, self.calls.batch
            self._batches = Batches(examples, request.data, self._device, flat=flat, channels_last=last)
            given = module.to(self._device), x, y, self._batches, self._device
            self._network = MovedNetwork(request, *given, ours=ours, calls=self.calls)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            wanted = request.data.examples or len(examples.y)
            raise OutOfMemory(
                f"The memory of {device} does not suffice for the network and {wanted:,} examples of {examples.facts.shape}; "
                "ask for fewer examples."
            ) from error
        self._network.precision = request.precision
        self._measuring = Measuring(request, examples.facts.classes, self._batches, self._network)
        if own is not None:
            self._check_outputs()
        self._alphas, self._betas = request.grid.coordinates

    @property
    def examples(self) -> int:
        """How many examples the request's slice has."""
        return len(self._batches)

    @property
    def decisions(self) -> int:
        """How many decisions of each example `Tally.correct` counts: 1, or the tokens of a sequence."""
        return self._facts.decisions

    def directions(self) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        """The directions (δ, η), one float32 array for each moved tensor; η is None for a curve."""
        return self._x, self._y

    def cells_a_call(self, examples: int) -> int:
        """How many cells are measured in one call on so many examples: 1 unless the network is small for the device."""
        return self.calls.cells(examples, self._network.saved_macs) if self._network.takes_several else 1

    def tally(
        self,
        cells: Sequence[tuple[int, int]],
        start: int,
        stop: int,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Tally:
        """What the examples start … stop of the slice give at some cells.

        Args:
            cells: (row, column) of each cell: indices into grid.y and grid.x.
            start: First example, in the slice's order.
            stop: One after the last.
            should_stop: Asked before every batch.
            progress: Told after every call which share of the cells is done; a GPU may still be at the last ones.

        Returns:
            A tally of shape (len(cells),), in the order of the cells.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        places = [(float(self._alphas[column]), float(self._betas[row])) for row, column in cells]
        return self._tally(places, start, stop, should_stop, progress)

    def own_loss(self, should_stop: Callable[[], bool] | None = None) -> Tally:
        """What the checkpoint itself gives over the whole slice, with its own statistics: a tally of shape (1,).

        Where a cell's statistics are its own too, it is that of the origin, bit for bit while memory suffices.

        Args:
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        if self._network.takes_several:
            chunks = chunk_bounds(self.examples)
            return sum((self._tally([(0.0, 0.0)], *chunk, should_stop) for chunk in chunks), start=Tally.zeros(1))
        self._network.stand_at_origin()
        return self._over_all(self._measuring.here, should_stop)

    def loss_at(self, place: tuple[float, float], should_stop: Callable[[], bool] | None = None) -> Tally:
        """What the plane gives over the whole slice at any place, on the grid or not: a tally of shape (1,).

        Args:
            place: (α, β) in grid units; β is 0 for a curve.
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        if self._network.takes_several and place == (0.0, 0.0):
            return self.own_loss(should_stop)
        self._move_to(place, should_stop)
        return self._over_all(self._measuring.here, should_stop)

    def loss_of(self, module: nn.Module, should_stop: Callable[[], bool] | None = None) -> Tally:
        """What another network of the same kind gives over the whole slice: a tally of shape (1,).

        Args:
            module: From `load`; it is moved to the device.
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        module.to(self._device)
        if self.calls.channels_last and any(parameter.dim() == 4 for parameter in module.parameters()):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._over_all(partial(self._measuring.of, module), should_stop)

    def provenance(self) -> dict[str, Any]:
        """How this evaluator measures: versions, device, data, directions; how far it is from float32. JSON-able."""
        return {
            **made_with(self._device),
            "batch": self._batch,
            **({"layout": self.calls.layout} if self.calls.probed else {}),
            "dataset": self._facts.title,
            "data_sha256": self._batches.sha256(),
            **({"batch_norm_examples": count} if (count := self._network.statistics_examples) else {}),
            **({} if self.request.precision == "float32" else {"precision_check": self._precision_check()}),
            **self._about,
            "directions": about_directions(self._x, self._y, self._moving) | self._about.get("directions", {}),
        }

    def _precision_check(self) -> dict[str, Any]:
        examples = min(self.examples, CHECK_EXAMPLES)

        def loss(cell: tuple[int, int], precision: Precision) -> float:
            self._network.precision = precision
            chunks = chunk_bounds(examples)
            return sum(float(self.tally([cell], start, stop).loss_sum[0]) for start, stop in chunks) / examples

        try:
            return precision_check(checked_cells(self.request.grid), examples, loss, self.request.precision)
        finally:
            self._network.precision = self.request.precision

    def _move_to(self, place: tuple[float, float], should_stop: _ShouldStop) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("The computation was cancelled.")
        self._network.move_to(place)

    def _over_all(self, measure: _Measure, should_stop: _ShouldStop) -> Tally:
        """The tally, of shape (1,), of all examples, added in chunks as at every cell."""
        chunks = chunk_bounds(self.examples)
        return sum((self._started(measure, *chunk, should_stop)() for chunk in chunks), start=Tally.zeros(1))

    def _tally(self, places: _Places, start: int, stop: int, should_stop: _ShouldStop, progress: _Progress = None) -> Tally:
        together = self.cells_a_call(stop - start)

        def started() -> Iterator[Pending]:
            for first in range(0, len(places), together):
                call = list(places[first : first + together])
                if together == 1:
                    self._move_to(call[0], should_stop)
                    yield self._started(self._measuring.here, start, stop, should_stop)
                else:
                    self._network.take_to(call + call[-1:] * (together - len(call)))
                    yield self._started(self._measuring.at_several, start, stop, should_stop, len(call))
                if progress is not None:
                    progress((first + len(call)) / len(places))
            self._network.take_to(())

        return Tally.joined(list(one_behind(started())))

    def _started(self, measure: _Measure, start: int, stop: int, should_stop: _ShouldStop, kept: int = 1) -> Pending:
        """What the examples start … stop give at the first so many cells of a call, by batches; a GPU may still be at it."""
        batches, position = list[Measured](), start
        most = self.calls.shared_batch if measure == self._measuring.at_several else self._batch
        while position < stop:
            if should_stop is not None and should_stop():
                raise Cancelled("The computation was cancelled.")
            end = min(position + (size := min(self._batch, most)), stop)
            try:
                batches.append(measure(position, end))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch(end - position, size, error)
                continue
            position = end
        return pending(batches, kept)

    @torch.inference_mode()
    def _check_outputs(self) -> None:
        """Passes when the network gives one row of classes for each example, or for each token of it."""
        x, labels = self._batches.take(0, min(2, self.examples))
        outputs = self._network.module(x)
        check_outputs(self.request.architecture.name, outputs, x, labels, self._facts.classes)
        if self._facts.holds_tokens:
            self._batch = sequences(self._facts.shape[0], outputs.shape[-1])

    def _halve_batch(self, tried: int, usual: int, error: BaseException) -> None:
        if tried <= 1:
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice for one example of {self._facts.shape} through "
                f"{self.request.architecture} ({sum(a.size for a in self._x):,} parameters); use a device with more memory."
            ) from error
        self._network.forget()
        self._batch = max(tried // 2, usual // 4)  # a short last batch may fail by chance
