"""Whether what is counted beside loss and accuracy means something for so many classes, and can be held. No torch."""

from __future__ import annotations

from collections.abc import Collection

from landscape_core.errors import InvalidRequest
from landscape_core.quantities import MAX_CLASSES
from landscape_core.requests import Metric

LEAST_FOR_TOP5 = 6
"""Fewest classes of which it says something that the label is among the five largest outputs."""

MAX_CLASS_VALUES = 2_000_000
"""Most accuracies of single classes in one surface: every stage of it is sent to whoever looks at it."""


def check_metrics(metrics: Collection[Metric], classes: int, cells: int, called: str) -> None:
    """Passes when what else is to be counted means something for so many classes, and can be held.

    Args:
        metrics: Those that are asked for.
        classes: How many classes there are.
        cells: How many cells the grid has.
        called: What has the classes, for the message.

    Raises:
        InvalidRequest: It does not, or cannot.

    Example:
        >>> check_metrics(("class_accuracy", "top5"), 10, 25 * 25, "CIFAR-10")
        >>> try:
        ...     check_metrics(("top5",), 3, 25 * 25, "The model")
        ... except InvalidRequest as error:
        ...     print(error)
        The model has 3 classes, of which five are nearly all; top5 needs at least 6, so leave it out.
    """
    if "top5" in metrics and classes < LEAST_FOR_TOP5:
        raise InvalidRequest(
            f"{called} has {classes} classes, of which five are nearly all; top5 needs at least {LEAST_FOR_TOP5}, so leave it "
            "out.",
            field="metrics",
        )
    if "class_accuracy" not in metrics:
        return
    if classes > MAX_CLASSES:
        raise InvalidRequest(
            f"{called} has {classes:,} classes; class_accuracy is for at most {MAX_CLASSES}, so leave it out.",
            field="metrics",
        )
    if (values := cells * classes) > MAX_CLASS_VALUES:
        raise InvalidRequest(
            f"{cells:,} cells of {classes} classes are {values:,} accuracies, and at most {MAX_CLASS_VALUES:,} are kept; take "
            "fewer points, or leave out class_accuracy.",
            field="metrics",
        )
