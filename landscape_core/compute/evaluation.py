"""Measuring a network over a plane: tallies per cell, from one fixed way of cutting batches.

What a cell's tally holds depends on the request, the cell and the range of examples alone: batches are cut from `start` in
one size per network and size of image (64 to 256 examples channels-last for convolutional networks, the more the smaller they
are, 1,024 for MLPs: measured fastest on CPUs), losses are float32 per example (never TF32), and sums are float64. Only where
memory runs out is the batch halved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from landscape_core.catalogue import check_data, check_request, macs_per_example
from landscape_core.compute.architectures import Perceptron, load
from landscape_core.compute.datasets import Batches, Examples
from landscape_core.compute.devices import compute_exactly, is_out_of_memory
from landscape_core.compute.directions import DirectionArrays, directions_for, moved_tensors
from landscape_core.compute.first_layer import FirstLayer
from landscape_core.compute.losses import classified_rightly, float64_sums, per_example
from landscape_core.compute.metrics import counts_of
from landscape_core.compute.planes import Plane
from landscape_core.compute.provenance import about_directions, made_with
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import SurfaceRequest
from landscape_core.results import Tally

CONVOLUTION_BATCH, SMALL_BATCH = 64, 256
PERCEPTRON_BATCH = 1024
SMALL_MACS = 1 << 25
"""Convolutional networks of fewer multiply-accumulates per example get larger batches: their cost is in the calls."""


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
        module = load(request.architecture, tensors) if own is None else own
        x, y = directions_for(request, module, direction_arrays)
        self._floating = [t.is_floating_point() for t in moved_tensors(module, request.plane.normalisation).values()]
        self._about = dict(about or {})
        self._x, self._y = [tensor.numpy() for tensor in x], None if y is None else [tensor.numpy() for tensor in y]
        convolutional, ours = any(p.dim() == 4 for p in module.parameters()), own is None
        macs = _macs(request, tensors, examples) if ours else SMALL_MACS
        self._loss, self._batch = per_example(request.loss), _batch_size(macs) if convolutional else PERCEPTRON_BATCH
        try:
            flat = ours and not convolutional
            self._batches = Batches(examples, request.data, self._device, flat=flat, channels_last=ours)
            module.to(self._device)
            self._first = self._first_layer(module, [x] if y is None else [x, y]) if ours else None
            fixed = () if self._first is None else self._first.names
            self._plane = Plane(module, x, y, request.plane.normalisation, self._device if ours else None, fixed)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"The memory of {device} does not suffice for the network and {self._wanted(examples):,} examples of "
                f"{examples.facts.shape}; ask for fewer examples."
            ) from error
        if own is not None:
            self._check_outputs()
        self._alphas = request.grid.x.coordinates
        self._betas = np.zeros(1) if request.grid.y is None else request.grid.y.coordinates

    @property
    def examples(self) -> int:
        """How many examples the request's slice has."""
        return len(self._batches)

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
        seen = []
        for index, (row, column) in enumerate(cells):
            place = (float(self._alphas[column]), float(self._betas[row]))
            seen.append(self._tally_at(place, start, stop, should_stop))
            if progress is not None:
                progress((index + 1) / len(cells))
        return Tally.joined(seen)

    def own_loss(self, should_stop: Callable[[], bool] | None = None) -> Tally:
        """What the checkpoint itself gives over the whole slice: a tally of shape (1,).

        Args:
            should_stop: Asked before every batch.

        Raises:
            Cancelled: `should_stop` said so.
            OutOfMemory: The device's memory does not suffice for one example.
        """
        total = Tally.zeros(1)
        for start, stop in chunk_bounds(self.examples):
            total += self._tally_at((0.0, 0.0), start, stop, should_stop)
        return total

    def provenance(self) -> dict[str, Any]:
        """How this evaluator measures: versions, device, data, directions. JSON-able."""
        return {
            **made_with(self._device),
            "batch": self._batch,
            "dataset": self._facts.title,
            "data_sha256": self._batches.sha256(),
            **self._about,
            "directions": about_directions(self._x, self._y, self._floating) | self._about.get("directions", {}),
        }

    def _wanted(self, examples: Examples) -> int:
        return len(examples.y) if self.request.data.examples is None else self.request.data.examples

    def _first_layer(self, module: nn.Module, directions: list[list[Tensor]]) -> FirstLayer | None:
        if isinstance(module, Perceptron) and FirstLayer.fits(module, len(directions), self.examples):
            return FirstLayer(module, directions, self._batches)
        return None

    def _tally_at(self, place: tuple[float, float], start: int, stop: int, should_stop: Callable[[], bool] | None) -> Tally:
        """What the examples start … stop give at the place (α, β): a tally of shape (1,)."""
        self._plane.move_to(*place)
        losses, right, counted = [], [], []
        position = start
        while position < stop:
            if should_stop is not None and should_stop():
                raise Cancelled("The computation was cancelled.")
            end = min(position + self._batch, stop)
            try:
                loss, correct, counts = self._measured(place, position, end)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch(end - position, error)
                continue
            losses.append(loss)
            right.append(correct)
            counted.append(counts)
            position = end
        loss_sum, loss_sq = float64_sums(losses)
        return Tally(
            np.array([stop - start]),
            np.array([loss_sum]),
            np.array([loss_sq]),
            np.array([int(torch.cat(right).sum())]),
            {name: torch.stack([counts[name] for counts in counted]).sum(dim=0).cpu().numpy() for name in counted[0]},
        )

    @torch.inference_mode()
    def _measured(
        self, place: tuple[float, float], start: int, stop: int
    ) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"], dict[str, Int[Tensor, "*_cells"]]]:
        """The loss of each example, whether it was classified rightly, and what else is counted of the batch."""
        x, labels = self._batches.take(start, stop)
        module = self._plane.module
        if self._first is not None and isinstance(module, Perceptron):
            outputs = module.after_first(self._first.at(*place, start, stop))
        else:
            outputs = module(x)
        right = classified_rightly(outputs, labels)
        counts = counts_of(self.request.metrics, self._facts.classes, outputs, labels, right)
        return self._loss(outputs, labels), right, counts

    @torch.inference_mode()
    def _check_outputs(self) -> None:
        """Passes when the network gives one row of classes for each example."""
        x, _ = self._batches.take(0, min(2, self.examples))
        outputs, least = self._plane.module(x), self._facts.classes
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"something of type {type(outputs).__name__}"
        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != len(x) or outputs.shape[1] < least:
            raise InvalidRequest(
                f"{self.request.architecture.name} should give outputs of shape ({len(x)}, {least} or more) for inputs "
                f"of shape {tuple(x.shape)}, but gave {found}.",
                field="architecture",
            )

    def _halve_batch(self, tried: int, error: BaseException) -> None:
        if tried <= 1:
            raise OutOfMemory(
                f"The memory of {self._device} does not suffice for one example of {self._facts.shape} through "
                f"{self.request.architecture} ({sum(a.size for a in self._x):,} parameters); use a device with more memory."
            ) from error
        if self._first is not None:
            self._first.forget()
        self._batch = max(tried // 2, self._batch // 4)  # a short last batch may fail by chance


def _batch_size(macs: int) -> int:
    """Of a convolutional network: 64 examples, twice as many for each halving of its work below `SMALL_MACS`, at most 256."""
    return min(SMALL_BATCH, CONVOLUTION_BATCH << max(0, (SMALL_MACS // max(1, macs)).bit_length() - 1))


def _macs(request: SurfaceRequest, tensors: Mapping[str, np.ndarray], examples: Examples) -> int:
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    return macs_per_example(request.architecture, shapes, examples.facts.shape)


def _check(request: SurfaceRequest, tensors: Mapping[str, np.ndarray], examples: Examples, own: nn.Module | None) -> None:
    """Passes when the request can be computed, as far as can be told before anything is."""
    if own is None:
        check_request(request, {name: tuple(array.shape) for name, array in tensors.items()}, examples.facts)
    else:
        check_data(request, examples.facts)
