"""What else may be known of a surface's cells beside the loss: names, titles, units, meanings. numpy only.

    top5                                percent of the examples whose label is among the five largest outputs
    class_accuracy_0 … _99              percent of the examples of that class that were classified rightly
    estimation_error                    how far a loss of the fast budget is expected to be off
    max_eig, min_eig                    largest and smallest eigenvalue of the Hessian of the mean loss
    perplexity, negative_curvature      derived from the others, never stored

`Surface.quantities` holds the stored ones, each (ny, nx): NaN where unknown, and always where nothing was computed. The browser
has the two formulas of the derived ones again (`static/javascript/values.js`); a test holds them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64

from landscape_core.errors import InvalidRequest
from landscape_core.requests import NATS

if TYPE_CHECKING:
    from landscape_core.results import Surface

MAX_CLASSES = 100
"""Classes of which an accuracy of their own can be kept."""

Better = Literal["larger", "smaller"] | None


@dataclass(frozen=True)
class Quantity:
    """Something that a surface's cells may have a value of.

    Attributes:
        name: As in `Surface.quantities`, in files and in a View.
        title: For people, in lists and facts.
        unit: "%", or empty for a plain number; eigenvalues are loss per squared unit of parameter length.
        meaning: One line that says what the number is.
        better: Whether larger or smaller values are better; None if neither.
        axis_title: What stands at a colour bar.

    Example:
        >>> quantity("top5").unit, quantity("top5").better, quantity("top5").is_percentage
        ('%', 'larger', True)
    """

    name: str
    title: str
    unit: str
    meaning: str
    better: Better
    axis_title: str

    @property
    def is_percentage(self) -> bool:
        """Whether values are from 0 to 100."""
        return self.unit == "%"


PLAIN = {
    "loss": Quantity("loss", "Loss", "", "Mean loss over the examples.", "smaller", "loss"),
    "accuracy": Quantity(
        "accuracy", "Accuracy", "%", "Percent of the examples that were classified rightly.", "larger", "accuracy (%)"
    ),
}
"""What every surface has a table of."""

_FIXED = {
    "top5": Quantity(
        "top5", "Top-5 accuracy", "%", "Percent of the examples whose label has fewer than five outputs larger than its own.",
        "larger", "top-5 accuracy (%)",
    ),
    "estimation_error": Quantity(
        "estimation_error", "Estimation error", "", "How far an estimated loss may be from the mean over all examples.",
        "smaller", "estimation error",
    ),
    "max_eig": Quantity(
        "max_eig", "Largest eigenvalue", "", "Largest eigenvalue of the Hessian of the mean loss, per squared unit length.",
        None, "largest eigenvalue",
    ),
    "min_eig": Quantity(
        "min_eig", "Smallest eigenvalue", "", "Smallest eigenvalue of the Hessian of the mean loss, per squared unit length.",
        None, "smallest eigenvalue",
    ),
}  # fmt: skip
_CLASS = re.compile(r"class_accuracy_(0|[1-9][0-9]?)")

DERIVED = {
    "perplexity": Quantity(
        "perplexity", "Perplexity", "", "exp(mean loss): as unsure as among that many equally likely classes.",
        "smaller", "perplexity",
    ),
    "negative_curvature": Quantity(
        "negative_curvature", "Negative curvature", "",
        "|smallest / largest eigenvalue| of the Hessian where the smallest is negative, else 0 (Li et al. 2018, figure 7).",
        "smaller", "|λmin / λmax|",
    ),
}  # fmt: skip
"""What follows from other values and is never stored."""


def is_stored(name: str) -> bool:
    """Whether `Surface.quantities` may hold this name.

    Args:
        name: Of a quantity.

    Example:
        >>> [is_stored(name) for name in ("max_eig", "class_accuracy_7", "perplexity")]
        [True, True, False]
    """
    return name in _FIXED or _CLASS.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Whether cells can have a value of this name at all: the loss, the accuracy, a stored quantity or a derived one.

    Args:
        name: Of a quantity.

    Example:
        >>> is_known("loss"), is_known("perplexity"), is_known("class_accuracy_100")
        (True, True, False)
    """
    return name in PLAIN or name in DERIVED or is_stored(name)


def class_name(index: int) -> str:
    """The name of the quantity that holds the accuracy of one class.

    Args:
        index: The class, from 0.

    Example:
        >>> class_name(3)
        'class_accuracy_3'
    """
    return f"class_accuracy_{index}"


def class_of(name: str) -> int | None:
    """The class of which this quantity is the accuracy; None for other quantities.

    Args:
        name: Of a quantity.

    Example:
        >>> class_of("class_accuracy_3"), class_of("top5")
        (3, None)
    """
    return int(found[1]) if (found := _CLASS.fullmatch(name)) else None


def quantity(name: str) -> Quantity:
    """What a name stands for.

    Args:
        name: "loss", "accuracy", or the name of a quantity, stored or derived.

    Raises:
        InvalidRequest: There is none of this name.

    Example:
        >>> quantity("class_accuracy_3").meaning
        'Percent of the examples of class 3 that were classified rightly.'
    """
    if (index := class_of(name)) is not None:
        return _of_class(name, f"class {index}")
    if (found := (PLAIN | _FIXED | DERIVED).get(name)) is None:
        raise InvalidRequest(f"There is no quantity {name!r}; {known_names()}.", field="colour_by")
    return found


def _of_class(name: str, called: str) -> Quantity:
    meaning = f"Percent of the examples of {called} that were classified rightly."
    return Quantity(name, f"Accuracy, {called}", "%", meaning, "larger", f"accuracy, {called} (%)")


def described() -> dict[str, Any]:
    """What the browser is told of quantities, JSON-able.

    `known` are those by name, in the order in which they are listed; in `of_class` a `{}` stands for what a class is called.

    Example:
        >>> described()["known"]["min_eig"]["title"]
        'Smallest eigenvalue'
    """
    known = {n: asdict(found) for n, found in (PLAIN | _FIXED | DERIVED).items()}
    return {"known": known, "of_class": asdict(_of_class("", "{}"))}


def known_names() -> str:
    """What there is to choose from, as part of a sentence.

    Example:
        >>> known_names()[:40]
        'known are loss, accuracy, perplexity, ne'
    """
    return f"known are {', '.join((*PLAIN, *DERIVED))}, {_stored_list()}"


def stored_names() -> str:
    """What a surface can store, as part of a sentence.

    Example:
        >>> stored_names()
        'it stores top5, estimation_error, max_eig, min_eig and class_accuracy_0 to class_accuracy_99'
    """
    return f"it stores {_stored_list()}"


def _stored_list() -> str:
    return f"{', '.join(_FIXED)} and class_accuracy_0 to class_accuracy_{MAX_CLASSES - 1}"


def ordered(names: Iterable[str]) -> list[str]:
    """These stored names in the order in which they are written and listed: fixed ones first, then classes by number.

    Args:
        names: Stored names, each once.

    Example:
        >>> ordered(["class_accuracy_10", "class_accuracy_9", "min_eig", "top5"])
        ['top5', 'min_eig', 'class_accuracy_9', 'class_accuracy_10']
    """
    order = {name: index for index, name in enumerate(_FIXED)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), class_of(name) or 0))


def available(surface: Surface) -> list[str]:
    """What this surface's cells have values of: the loss first, then whatever is known somewhere, derived ones last.

    Args:
        surface: The surface.

    Example:
        >>> from landscape_core import Surface
        >>> one, n, eigenvalues = np.ones((1, 1)), np.ones((1, 1), np.int64), {"max_eig": np.full((1, 1), 4.0)}
        >>> surface = Surface(np.zeros(1), None, one, n.astype(np.uint8), one, n, one, quantities=eigenvalues)
        >>> available(surface)
        ['loss', 'accuracy', 'max_eig']
    """
    names = ["loss", *(["accuracy"] if np.isfinite(surface.accuracy).any() else []), *ordered(surface.quantities)]
    if surface.request is not None and surface.request.loss in NATS:
        names.append("perplexity")
    return names + (["negative_curvature"] if {"max_eig", "min_eig"} <= surface.quantities.keys() else [])


def values(surface: Surface, name: str) -> Float64[np.ndarray, "rows nx"]:
    """The values of one quantity over the surface, (ny, nx); NaN where unknown.

    Args:
        surface: The surface.
        name: One of `available(surface)`; `perplexity` is also given where no request says what the loss is.

    Raises:
        InvalidRequest: There is no such quantity, or the surface does not have it.

    Example:
        >>> from landscape_core import Surface
        >>> one, n = np.ones((1, 1)), np.ones((1, 1), np.int64)
        >>> args = (np.zeros(1), None, one, n.astype(np.uint8), one, n, one)
        >>> surface = Surface(*args, quantities={"max_eig": 4 * one, "min_eig": -one})
        >>> values(surface, "negative_curvature").tolist()  # |min / max|
        [[0.25]]
    """
    quantity(name)
    if name in PLAIN:
        return np.asarray(getattr(surface, name))
    if name in surface.quantities:
        return surface.quantities[name]
    possible = name in available(surface) or (name == "perplexity" and surface.request is None)
    if name in DERIVED and possible:
        return _FORMULAS[name](surface)
    raise InvalidRequest(f"The surface has no {name}; it has {', '.join(available(surface))}.", field="colour_by")


def _perplexity(surface: Surface) -> Float64[np.ndarray, "rows nx"]:
    with np.errstate(over="ignore"):
        found = np.exp(surface.loss)
    return np.where(np.isfinite(found), found, np.nan)


def _negative_curvature(surface: Surface) -> Float64[np.ndarray, "rows nx"]:
    """|λmin/λmax| where λmin < 0, and 0 where it is not: there is none. NaN where λmax is 0 or either is unknown."""
    lowest, highest = surface.quantities["min_eig"], surface.quantities["max_eig"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.where(lowest < 0, np.abs(lowest / highest), 0.0)
    return np.where(np.isfinite(lowest) & np.isfinite(highest) & np.isfinite(found), found, np.nan)


_FORMULAS: dict[str, Callable[[Surface], Float64[np.ndarray, "rows nx"]]] = {
    "perplexity": _perplexity,
    "negative_curvature": _negative_curvature,
}
