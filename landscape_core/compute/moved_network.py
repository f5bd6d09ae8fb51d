"""A request's network on its plane, as the evaluator runs it: moved, with batch norm's statistics, and whatever saves work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_core.compute.architectures import Perceptron
from landscape_core.compute.batch_norm import BatchNormStatistics
from landscape_core.compute.calls import Calls
from landscape_core.compute.cuda_graphs import Replayed
from landscape_core.compute.datasets import Batches
from landscape_core.compute.devices import is_out_of_memory
from landscape_core.compute.first_layer import FirstLayer, undecided
from landscape_core.compute.folding import Folding
from landscape_core.compute.fusing import Fusion, fused, packs
from landscape_core.compute.planes import Plane
from landscape_core.compute.precision import computing_in, in_float32
from landscape_core.compute.several_cells import Cells, SeveralCells
from landscape_core.compute.stacking import Stack
from landscape_core.errors import OutOfMemory
from landscape_core.requests import BATCH_NORM_EXAMPLES, Precision, SurfaceRequest


class MovedNetwork:
    """The network, moved over its plane and evaluated there.

    Args:
        request: The question.
        module: The network at θ*, on the device.
        x: δ, one tensor for each moved tensor.
        y: η likewise; None for a curve.
        batches: The examples.
        device: The PyTorch device.
        ours: Whether the network is catalogued: others are run as they are.
        calls: How it is called: whether convolutions' weights are laid out channels last, as the examples are, and whether it
            is to be taken to several places, if it can.
    """

    def __init__(
        self,
        request: SurfaceRequest,
        module: nn.Module,
        x: list[Tensor],
        y: list[Tensor] | None,
        batches: Batches,
        device: torch.device,
        *,
        ours: bool,
        calls: Calls,
    ) -> None:
        self._batches, self._device = batches, device
        self.precision: Precision = "float32"
        """How what is computed from the next place on is rounded."""
        self._first = self._first_layer(module, [x] if y is None else [x, y]) if ours else None
        fixed = () if self._first is None else self._first.names
        self._plane = Plane(module, x, y, request.plane.normalisation, device if ours else None, fixed, calls.channels_last)
        self._statistics = None if request.batch_norm == "fixed" else BatchNormStatistics(module)
        convolutional = any(p.dim() == 4 for p in module.parameters())
        example, self._place = batches.take(0, 1)[0], (0.0, 0.0)
        self._folding = Folding(module, example) if ours and convolutional else None
        self._fusion: Fusion | None = None
        self.running = module
        """What is called, where its layers can be laid out for the precision; it shares the network's tensors."""
        if self._folding is not None:
            self._folding.refold()
            self.running = self._folding.module
        self._unfused = self.running
        if ours and not isinstance(module, Perceptron) and (fusion := fused(self.running, example)) is not None:
            self._fusion, self.running = fusion, fusion.module
        self._replayed: dict[Precision, Replayed] | None = {} if ours and device.type == "cuda" else None
        wanted = calls.example_macs is not None and ours and _are_finite(x, y)
        self._several = self._for_several(example, request.precision, calls.stacked) if wanted else None
        self._places: Sequence[tuple[float, float]] = ()
        self._cells: Cells | None = None

    @property
    def module(self) -> nn.Module:
        """The network itself, where it stands."""
        return self._plane.module

    @property
    def statistics_examples(self) -> int:
        """Over how many examples batch norm is re-estimated at each place; 0 if it is not."""
        return 0 if self._statistics is None else min(len(self._batches), BATCH_NORM_EXAMPLES)

    @property
    def takes_several(self) -> bool:
        """Whether it can be taken to several places: if that is wanted, a catalogued network with its own statistics.

        A perceptron's first layer has to be stored, so that images on the boundary between two classes are decided alike.
        """
        return self._several is not None

    @property
    def saved_macs(self) -> int:
        """Multiply-accumulates for an example that are not done at each cell."""
        return 0 if self._first is None else self._first.macs

    def stand_at_origin(self) -> None:
        """Puts the network back to θ*, with its own statistics."""
        self._plane.move_to(0.0, 0.0)
        if self._statistics is not None:
            self._statistics.restore()
        self._settle((0.0, 0.0))

    def move_to(self, place: tuple[float, float]) -> None:
        """Puts the network to a place (α, β), with statistics of that place if they are to be re-estimated.

        Raises:
            OutOfMemory: The examples over which they are do not fit into memory in one batch.
        """
        self._plane.move_to(*place)
        self._reestimate()
        self._settle(place)

    def outputs(self, x: Tensor, start: int, stop: int) -> Float[Tensor, "n *places classes"]:
        """What the network gives for the examples start … stop, where it stands.

        Args:
            x: These examples.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        module = self._plane.module
        if self._first is None or not isinstance(module, Perceptron):
            if self._replayed is None:
                return self._run(x)
            return self._replayed.setdefault(self.precision, Replayed(self._run))(x)
        outputs = self._rounded(module.after_first, self._first.at(*self._place, start, stop))
        if self.precision == "float32" and bool(undecided(outputs)):
            outputs = module.after_first(self._first.directly(*self._place, start, stop))
        return outputs

    def take_to(self, places: Sequence[tuple[float, float]]) -> None:
        """Says at which places (α, β) `outputs_at` is to be; of none, frees the memory that is held for them."""
        self._places, self._cells = places, None
        if self._several is not None and not places:
            self._several.forget()

    def outputs_at(self, x: Tensor, start: int, stop: int) -> Float[Tensor, "cells n classes"]:
        """What the network gives for the examples start … stop at the places of `take_to`; it stands anywhere afterwards.

        Args:
            x: These examples.
            start: First example, in the slice's order.
            stop: One after the last.
        """
        if self._several is None:
            raise ValueError("this network is taken to one place at a time")
        if self._cells is None:
            self._cells = self._several.at(self._places)
        several, cells = self._several, self._cells
        outputs: Tensor = self._rounded(partial(several.outputs, cells), several.inputs(cells, x, start, stop))
        if self._first is not None and self.precision == "float32":
            self._decide(outputs, cells, start, stop)
        return outputs

    def _decide(self, outputs: Float[Tensor, "cells n classes"], cells: Cells, start: int, stop: int) -> None:
        """Replaces outputs in which an image is on the boundary between two classes by those of the plain product."""
        module, first, done = cast("Perceptron", self._plane.module), cast("FirstLayer", self._first), dict[object, int]()
        for cell in undecided(outputs).nonzero().flatten().tolist():
            alpha, beta = place = cells.places[cell]
            if place in done:  # a call may be filled with its last cell
                outputs[cell] = outputs[done[place]]
                continue
            self._plane.move_to(alpha, beta)
            self._place = place
            outputs[cell] = module.after_first(first.directly(alpha, beta, start, stop))
            done[place] = cell

    def _for_several(self, example: Tensor, precision: Precision, stacked: int) -> SeveralCells | None:
        """What stands at several places; None for a network that cannot."""
        computed_anew = isinstance(self._plane.module, Perceptron) and self._first is None
        if self._statistics is not None or computed_anew:
            return None
        stack = Stack.of(self._plane.module, stacked, example) if stacked > 1 else None
        if stacked > 1 and stack is None:
            return None
        several = SeveralCells(self._plane, self._first, self._device, stack)
        return several if several.agrees(example, precision) else None

    def _run(self, x: Tensor) -> Tensor:
        return self._rounded(self.running if packs(self._dtype) else self._unfused, x)

    def _rounded(self, function: Callable[[Tensor], Any], x: Tensor) -> Tensor:
        with computing_in(self.precision, self._device):
            made: Tensor = in_float32(function(x))
        return made

    def forget(self) -> None:
        """Drops what can be made again, to free its memory."""
        self._cells = None
        if self._first is not None:
            self._first.forget()
        if self._replayed is not None:
            self._replayed.clear()

    def _settle(self, place: tuple[float, float]) -> None:
        self._place = place
        if self._folding is not None:
            self._folding.refold()
        if self._fusion is not None and packs(self._dtype):
            self._fusion.repack(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def _first_layer(self, module: nn.Module, directions: Sequence[list[Tensor]]) -> FirstLayer | None:
        if isinstance(module, Perceptron) and FirstLayer.fits(module, len(directions), len(self._batches)):
            return FirstLayer(module, directions, self._batches)
        return None

    def _reestimate(self) -> None:
        if self._statistics is None:
            return
        count = self.statistics_examples
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


def _are_finite(*directions: list[Tensor] | None) -> bool:
    """Whether a coordinate of 0 leaves a direction out even where they are multiplied."""
    return all(bool(tensor.isfinite().all()) for direction in directions for tensor in direction or [])
