"""Matching the hidden units of two networks (Ainsworth, Hayase, Srinivasa 2023, Git Re-Basin, section 3.2, algorithm 1).

Of all orders of the other network's hidden units, which all compute the same function, those are sought in which its weights
and biases are nearest to the first network's. Layer by layer the best order is found exactly, by linear assignment, while the
others are held; that is repeated until no layer can be bettered. The result is a local optimum: to find the best of all is
NP-hard (ibid., lemma 1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from landscape_core.catalogue.family import COUNTER
from landscape_core.catalogue.symmetry import Place, Symmetry
from landscape_core.errors import Cancelled, InvalidRequest

SEED = 0
"""Of the order in which the layers of each sweep are taken."""

MOST_SWEEPS = 100
UNTRAINED = ("running_mean", "running_var", COUNTER)
"""What goes with its channels but says nothing of their order: running statistics follow from the weights and the data."""

NEGLIGIBLE = 1e-12
"""A gain below this share of ‖θ‖ ‖θ'‖ is rounding."""

Tensors = Mapping[str, np.ndarray]
Orders = Mapping[str, Int64[np.ndarray, " units"]]


@dataclass(frozen=True)
class Alignment:
    """How the hidden units of a network are matched with those of another.

    Attributes:
        orders: For each hidden layer, which unit of the other network takes each place.
        distance_before: ‖θ' − θ‖ over weights and biases with the other network as it came.
        distance: The same with its units in the new order; never larger.
        sweeps: How often all layers were gone through.
    """

    orders: dict[str, Int64[np.ndarray, " units"]]
    distance_before: float
    distance: float
    sweeps: int

    @property
    def units(self) -> int:
        """How many hidden units there are."""
        return sum(order.size for order in self.orders.values())

    @property
    def moved(self) -> int:
        """How many of them have another place than they had."""
        return sum(int((order != np.arange(order.size)).sum()) for order in self.orders.values())


def align(
    symmetry: Symmetry, own: Tensors, other: Tensors, should_stop: Callable[[], bool] | None = None, field: str | None = None
) -> Alignment:
    """Matches the other network's hidden units with one's own by their weights.

    Deterministic: coordinate descent from two starts, of which the nearer end is taken. One is the order as it came, so that
    the distance never grows; the other matches each layer once from input to output, by what is settled before it, which
    finds a mere change of places again. Each sweep takes the layers in an order drawn from `SEED`.

    Args:
        symmetry: Which units may change places.
        own: The network at θ, by its own names.
        other: The one at θ', of the same names and shapes.
        should_stop: Asked before every layer.
        field: The part of a request that names the other, for the message.

    Raises:
        InvalidRequest: A weight of either is not finite.
        Cancelled: `should_stop` said so.
    """
    trained = [name for name in own if not name.endswith(UNTRAINED)]
    if broken := next(
        (name for name in trained if not (np.isfinite(own[name]).all() and np.isfinite(other[name]).all())), None
    ):
        raise InvalidRequest(
            f"Hidden units are matched by their weights, but {broken} holds values that are not finite in one of the two "
            "checkpoints; ask for the direction without matching.",
            field=field,
        )
    starts = [_Descent(symmetry, own, other, trained, should_stop) for _ in range(2)]
    before = starts[0].distance
    starts[1].go_forward()
    sweeps = sum(start.descend() for start in starts)
    best = min(starts, key=lambda start: start.distance)
    return Alignment(best.orders, before, best.distance, sweeps)


def permuted(symmetry: Symmetry, tensors: Tensors, orders: Orders) -> dict[str, np.ndarray]:
    """The same network with its hidden units in another order: it computes the same function.

    Args:
        symmetry: Which units may change places.
        tensors: By the network's own names; they are not changed.
        orders: For each hidden layer, which of its units takes each place.
    """
    made = {name: np.array(array) for name, array in tensors.items()}
    for layer, order in orders.items():
        _reorder(made, symmetry.layers[layer], order)
    return made


class _Descent:
    """The other network on its way to one's own."""

    def __init__(
        self,
        symmetry: Symmetry,
        own: Tensors,
        other: Tensors,
        trained: list[str],
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._own = {name: own[name].astype(np.float64) for name in trained}
        self._other = {name: other[name].astype(np.float64) for name in trained}
        self._places = {
            layer: [place for place in places if place.tensor in self._own] for layer, places in symmetry.layers.items()
        }
        self._should_stop = should_stop
        lengths = [np.sqrt(sum(float((a**2).sum()) for a in net.values())) for net in (self._own, self._other)]
        self._negligible = NEGLIGIBLE * lengths[0] * lengths[1]
        self.orders = {layer: np.arange(len(places[0].at)) for layer, places in symmetry.layers.items()}

    @property
    def distance(self) -> float:
        """‖θ' − θ‖ as it is now."""
        return float(np.sqrt(sum(float(((self._other[name] - array) ** 2).sum()) for name, array in self._own.items())))

    def go_forward(self) -> None:
        """Matches each layer once, by what reads only inputs and layers that are matched already."""
        standing: dict[str, dict[int, set[str]]] = {}
        for layer, places in self._places.items():
            for place in places:
                standing.setdefault(place.tensor, {}).setdefault(place.axis, set()).add(layer)
        settled: set[str] = set()
        for layer, places in self._places.items():
            ready = [
                place
                for place in places
                if all(layers <= settled for axis, layers in standing[place.tensor].items() if axis != place.axis)
            ]
            self._match(layer, ready)
            settled.add(layer)

    def descend(self) -> int:
        """Sweeps over the layers until none can be bettered; gives how often."""
        generator, layers = np.random.Generator(np.random.PCG64(SEED)), list(self._places)
        for sweep in range(1, MOST_SWEEPS + 1):
            bettered = [self._match(layers[index], self._places[layers[index]]) for index in generator.permutation(len(layers))]
            if not any(bettered):
                return sweep
        return MOST_SWEEPS

    def _match(self, layer: str, places: Collection[Place]) -> bool:
        """Puts the units of a layer into the best order, judged by these places; says whether it was another one."""
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  a third of a second that no other surface needs

        if self._should_stop is not None and self._should_stop():
            raise Cancelled("The computation was cancelled.")
        if not places:
            return False
        likeness = sum(_rows(self._own[p.tensor], p) @ _rows(self._other[p.tensor], p).T for p in places)
        order = linear_sum_assignment(likeness, maximize=True)[1].astype(np.int64)
        here = np.arange(order.size)
        if likeness[here, order].sum() - likeness[here, here].sum() <= self._negligible:
            return False
        _reorder(self._other, self._places[layer], order)
        self.orders[layer] = self.orders[layer][order]
        return True


def _entries(place: Place) -> Int64[np.ndarray, "units span"]:
    """The entries of each unit along its axis."""
    return np.array(place.at)[:, None] * place.span + np.arange(place.span)


def _rows(array: np.ndarray, place: Place) -> Float[np.ndarray, "units numbers"]:
    """The numbers that belong to each unit."""
    taken = np.moveaxis(array, place.axis, 0)[_entries(place).ravel()]
    return taken.reshape(len(place.at), -1)


def _reorder(tensors: dict[str, np.ndarray], places: Collection[Place], order: np.ndarray) -> None:
    """Puts unit order[u] where unit u stands."""
    for place in places:
        entries, array = _entries(place), np.moveaxis(tensors[place.tensor], place.axis, 0)
        array[entries.ravel()] = array[entries[order].ravel()]
