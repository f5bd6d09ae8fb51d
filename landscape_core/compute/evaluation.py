"""Measuring a network over a plane: tallies per cell, from one fixed way of cutting batches.

What a cell's tally holds depends on the request, the cell and the range of examples alone: batches are cut from `start` in
one size per network and size of image (64 to 256 examples channels-last for convolutional networks, the more the smaller they
are, 1,024 for MLPs: measured fastest on CPUs; for language models as many sequences as have `SEQUENCES_TOKENS` tokens and
`LOGITS_BYTES` of logits, but at least one), losses are float32 per example (never TF32), and sums are float64. Only where
memory runs out is the batch halved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from landscape_core.catalogue import check_data, check_request, fit, macs_per_example
from landscape_core.compute.architectures import Perceptron, load
from landscape_core.compute.batch_norm import BatchNormStatistics
from landscape_core.compute.datasets import Batches, Examples
from landscape_core.compute.devices import compute_exactly, is_out_of_memory
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors, moving
from landscape_core.compute.first_layer import FirstLayer, undecided
from landscape_core.compute.folding import Folding
from landscape_core.compute.losses import classified_rightly, float64_sums, per_example
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import about_directions, made_with
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import BATCH_NORM_EXAMPLES, Grid, SurfaceRequest
from landscape_core.results import Tally

CONVOLUTION_BATCH, SMALL_BATCH = 64, 256
PERCEPTRON_BATCH = 1024
SEQUENCES_TOKENS, LOGITS_BYTES = 8192, 128 << 20
"""Most tokens of a language model's batch, and most bytes of its outputs: a float32 for each token of the vocabulary."""

SMALL_MACS = 1 << 25
"""Convolutional networks of fewer multiply-accumulates per example get larger batches: their cost is in the calls."""

_Measured = Callable[[int, int], tuple[Tensor, Tensor]]
"""Gives the loss of each example start … stop, and whether it was classified rightly."""


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

    Raises:
        InvalidRequest: The request does not go with the checkpoint or the data set, or a direction was not given.
        DirectionsRejected: The direction file does not belong to the network.
        OutOfMemory: Network or examples do not fit into the device's memory.
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
    ) -> None:
        _check(request, tensors, examples, own)
        compute_exactly(threads)
        self.request, self._facts, self._device = request, examples.facts, torch.device(device)
        module, ours = load(request.architecture, tensors) if own is None else own, own is None
        x, y = directions_for(request, module, direction_arrays)
        self._moving = moving(moved_tensors(module, request.plane.normalisation))
        self._about = dict(about or {})
        self._x, self._y = [tensor.numpy() for tensor in x], None if y is None else [tensor.numpy() for tensor in y]
        self._loss, self._batch = per_example(request.loss), _first_batch(request, tensors, examples, module, ours=ours)
        try:
            self._prepare(module, x, y, examples, ours=ours)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"The memory of {device} does not suffice for the network and {self._wanted(examples):,} examples of "
                f"{examples.facts.shape}; ask for fewer examples."
            ) from error
        if own is not None:
            self._check_outputs()
        self._alphas, self._betas = _coordinates(request.grid)

    def _prepare(self, module: nn.Module, x: list[Tensor], y: list[Tensor] | None, examples: Examples, *, ours: bool) -> None:
        """Puts examples and network on the device, and makes whatever is made once for all cells."""
        convolutional = any(p.dim() == 4 for p in module.parameters())
        flat = ours and not convolutional and not examples.facts.holds_tokens
        self._batches = Batches(examples, self.request.data, self._device, flat=flat, channels_last=ours)
        module.to(self._device)
        self._first = self._first_layer(module, [x] if y is None else [x, y]) if ours else None
        fixed = () if self._first is None else self._first.names
        how = self.request.plane.normalisation
        self._plane = Plane(module, x, y, how, self._device if ours else None, fixed)
        self._statistics = None if self.request.batch_norm == "fixed" else BatchNormStatistics(module)
        self._folding = Folding(module, self._batches.take(0, 1)[0]) if ours and convolutional else None
        self._network = module if self._folding is None else self._folding.module

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
            progress: Told after every cell which share of the cells is done.

        Returns:
            A tally of shape (len(cells),), in the order of the cells.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        n = len(cells)
        sums, squares, correct = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
        for index, (row, column) in enumerate(cells):
            place = (float(self._alphas[column]), float(self._betas[row]))
            self._move_to(place, should_stop)
            sums[index], squares[index], correct[index] = self._sums_at(place, start, stop, should_stop)
            if progress is not None:
                progress((index + 1) / n)
        return Tally(np.full(n, stop - start, np.int64), sums, squares, correct)

    def own_loss(self, should_stop: Callable[[], bool] | None = None) -> Tally:
        """What the checkpoint itself gives over the whole slice, with its own statistics: a tally of shape (1,).

        Args:
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        self._plane.move_to(0.0, 0.0)
        if self._statistics is not None:
            self._statistics.restore()
        self._refold()
        return self._over_all(lambda start, stop: self._measured((0.0, 0.0), start, stop), should_stop)

    def loss_at(self, place: tuple[float, float], should_stop: Callable[[], bool] | None = None) -> Tally:
        """What the plane gives over the whole slice at any place, on the grid or not: a tally of shape (1,).

        Args:
            place: (α, β) in grid units; β is 0 for a curve.
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        self._move_to(place, should_stop)
        return self._over_all(lambda start, stop: self._measured(place, start, stop), should_stop)

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
        if any(parameter.dim() == 4 for parameter in module.parameters()):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        @torch.inference_mode()
        def measured(start: int, stop: int) -> tuple[Tensor, Tensor]:
            x, labels = self._batches.take(start, stop)
            outputs = module(x)
            return self._loss(outputs, labels), classified_rightly(outputs, labels)

        return self._over_all(measured, should_stop)

    def provenance(self) -> dict[str, Any]:
        """How this evaluator measures: versions, device, data, directions. JSON-able."""
        return {
            **made_with(self._device),
            "batch": self._batch,
            "dataset": self._facts.title,
            "data_sha256": self._batches.sha256(),
            **({} if self._statistics is None else {"batch_norm_examples": min(self.examples, BATCH_NORM_EXAMPLES)}),
            **self._about,
            "directions": about_directions(self._x, self._y, self._moving) | self._about.get("directions", {}),
        }

    def _wanted(self, examples: Examples) -> int:
        return len(examples.y) if self.request.data.examples is None else self.request.data.examples

    def _first_layer(self, module: nn.Module, directions: list[list[Tensor]]) -> FirstLayer | None:
        if isinstance(module, Perceptron) and FirstLayer.fits(module, len(directions), self.examples):
            return FirstLayer(module, directions, self._batches)
        return None

    def _move_to(self, place: tuple[float, float], should_stop: Callable[[], bool] | None) -> None:
        self._plane.move_to(*place)
        self._reestimate(should_stop)
        self._refold()

    def _refold(self) -> None:
        if self._folding is not None:
            self._folding.refold()

    def _sums_at(
        self, place: tuple[float, float], start: int, stop: int, should_stop: Callable[[], bool] | None
    ) -> tuple[float, float, int]:
        """Σ loss, Σ loss², how many right: of the examples start … stop, at the place (α, β) where the network stands."""
        return self._sums(lambda first, last: self._measured(place, first, last), start, stop, should_stop)

    def _over_all(self, measured: _Measured, should_stop: Callable[[], bool] | None) -> Tally:
        """The tally, of shape (1,), of all examples, added in chunks as at every cell."""
        total = Tally.zeros(1)
        for start, stop in chunk_bounds(self.examples):
            losses, squares, correct = self._sums(measured, start, stop, should_stop)
            total += Tally(np.array([stop - start]), np.array([losses]), np.array([squares]), np.array([correct]))
        return total

    def _sums(
        self, measured: _Measured, start: int, stop: int, should_stop: Callable[[], bool] | None
    ) -> tuple[float, float, int]:
        """Σ loss, Σ loss², how many right, batch by batch."""
        losses, right = [], []
        position = start
        while position < stop:
            if should_stop is not None and should_stop():
                raise Cancelled("The computation was cancelled.")
            end = min(position + self._batch, stop)
            try:
                loss, correct = measured(position, end)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch(end - position, error)
                continue
            losses.append(loss)
            right.append(correct)
            position = end
        return *float64_sums(losses), int(torch.cat(right).sum())

    def _reestimate(self, should_stop: Callable[[], bool] | None) -> None:
        """Gives the moved network's batch norm statistics of its own, if the request says so."""
        if self._statistics is None:
            return
        if should_stop is not None and should_stop():
            raise Cancelled("The computation was cancelled.")
        count = min(self.examples, BATCH_NORM_EXAMPLES)
        try:
            x, _ = self._batches.take(0, count)
            self._statistics.reestimate(lambda: self._plane.module(x))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice to re-estimate batch norm over {count} examples in one batch; "
                "choose batch_norm fixed, or a device with more memory."
            ) from error

    @torch.inference_mode()
    def _measured(
        self, place: tuple[float, float], start: int, stop: int
    ) -> tuple[Float[Tensor, " n"], Bool[Tensor, "*places"]]:
        """The loss of each example, and whether it was classified rightly, or each of its tokens."""
        x, labels = self._batches.take(start, stop)
        module = self._plane.module
        if self._first is not None and isinstance(module, Perceptron):
            outputs = module.after_first(self._first.at(*place, start, stop))
            if undecided(outputs):
                outputs = module.after_first(self._first.directly(*place, start, stop))
        else:
            outputs = self._network(x)
        return self._loss(outputs, labels), classified_rightly(outputs, labels)

    @torch.inference_mode()
    def _check_outputs(self) -> None:
        """Passes when the network gives one row of classes for each example, or for each token of it."""
        x, labels = self._batches.take(0, min(2, self.examples))
        outputs, least = self._plane.module(x), self._facts.classes
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"something of type {type(outputs).__name__}"
        if not isinstance(outputs, Tensor) or outputs.shape[:-1] != labels.shape or outputs.shape[-1] < least:
            rows = ", ".join(str(length) for length in labels.shape)
            raise InvalidRequest(
                f"{self.request.architecture.name} should give outputs of shape ({rows}, {least} or more) for inputs "
                f"of shape {tuple(x.shape)}, but gave {found}.",
                field="architecture",
            )
        if self._facts.holds_tokens:
            self._batch = _sequences(self._facts.shape[0], outputs.shape[-1])

    def _halve_batch(self, tried: int, error: BaseException) -> None:
        if tried <= 1:
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice for one example of {self._facts.shape} through "
                f"{self.request.architecture} ({sum(a.size for a in self._x):,} parameters); use a device with more memory."
            ) from error
        if self._first is not None:
            self._first.forget()
        self._batch = max(tried // 2, self._batch // 4)  # a short last batch may fail by chance


def _first_batch(
    request: SurfaceRequest, tensors: Mapping[str, np.ndarray], examples: Examples, module: nn.Module, *, ours: bool
) -> int:
    """How many examples are taken at a time, while memory suffices."""
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    if examples.facts.holds_tokens:
        vocabulary = fit(request.architecture, shapes).classes if ours else examples.facts.classes
        return _sequences(examples.facts.shape[0], vocabulary)
    if not any(p.dim() == 4 for p in module.parameters()):
        return PERCEPTRON_BATCH
    return _batch_size(macs_per_example(request.architecture, shapes, examples.facts.shape) if ours else SMALL_MACS)


def _sequences(tokens: int, vocabulary: int) -> int:
    """How many sequences of so many tokens a language model gets at a time."""
    return max(1, min(SEQUENCES_TOKENS // tokens, LOGITS_BYTES // (4 * tokens * vocabulary)))


def _coordinates(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Of the columns and of the rows; a curve has the row 0."""
    return grid.x.coordinates, np.zeros(1) if grid.y is None else grid.y.coordinates


def _batch_size(macs: int) -> int:
    """Of a convolutional network: 64 examples, twice as many for each halving of its work below `SMALL_MACS`, at most 256."""
    return min(SMALL_BATCH, CONVOLUTION_BATCH << max(0, (SMALL_MACS // max(1, macs)).bit_length() - 1))


def _check(request: SurfaceRequest, tensors: Mapping[str, np.ndarray], examples: Examples, own: nn.Module | None) -> None:
    """Passes when the request can be computed, as far as can be told before anything is."""
    if own is None:
        check_request(request, {name: tuple(array.shape) for name, array in tensors.items()}, examples.facts)
    else:
        check_data(request, examples.facts)
