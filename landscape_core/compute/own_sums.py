"""What the user's own network gave: of one batch, over some of them, and whether it is the same twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_core.compute.losses import float64_sums
from landscape_core.compute.provenance import own_quantities, own_values
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import surface_over
from landscape_core.results import Tally

AGREEMENT = 1e-5
"""Most relative difference between two evaluations of one network: float32 sums in another order differ by less."""


@dataclass(frozen=True)
class Seen:
    """What one batch gave.

    Attributes:
        examples: How many it holds.
        loss: (examples,) the loss of each, or a scalar, their mean.
        correct: How many were classified rightly; NaN where unknown.
        counts: What else was counted: () or (classes,).
    """

    examples: int
    loss: Tensor
    correct: float
    counts: dict[str, Tensor]


@dataclass(frozen=True)
class Sums:
    """What batches gave at one place; `squares` and `correct` are NaN where unknown.

    Attributes:
        examples: How many there are.
        losses: Σ loss.
        squares: Σ loss².
        correct: How many were classified rightly.
        counts: What else was counted, as in `Tally.counts`: (1,) or (1, classes).
        parts: Of which chunks it is the sum, if of several.
    """

    examples: int
    losses: float
    squares: float
    correct: float
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    parts: tuple[Sums, ...] = ()

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> Sums:
        """The sums over some batches, of which there is at least one."""
        each = [one.loss for one in seen if one.loss.dim()]
        means = [one for one in seen if not one.loss.dim()]
        losses, squares = float64_sums(each) if each else (0.0, 0.0)
        if means:
            values = torch.stack([one.loss for one in means]).cpu().to(torch.float64).numpy()
            weights = np.array([one.examples for one in means], np.float64)
            losses, squares = losses + float(values @ weights), float("nan")
        total = {name: torch.stack([one.counts[name] for one in seen]).sum(dim=0).cpu().numpy() for name in seen[0].counts}
        return cls(sum(one.examples for one in seen), losses, squares, float(sum(one.correct for one in seen)), total)

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Sums:
        """The sums over all chunks, added in their order, as tallies are."""
        total = parts[0]
        for part in parts[1:]:
            counts = {name: count + part.counts[name] for name, count in total.counts.items()}
            total = cls(
                total.examples + part.examples,
                total.losses + part.losses,
                total.squares + part.squares,
                total.correct + part.correct,
                counts,
            )
        return cls(total.examples, total.losses, total.squares, total.correct, total.counts, tuple(parts))

    @property
    def loss(self) -> float:
        """The mean over all examples."""
        return self.losses / self.examples

    @property
    def accuracy(self) -> float:
        """In percent; NaN where unknown."""
        return 100.0 * self.correct / self.examples

    @property
    def tally(self) -> Tally:
        """The same as a tally of shape (1,); where it is unknown how many were classified rightly, none were."""
        right = 0 if np.isnan(self.correct) else int(self.correct)
        examples, losses, squares, correct = (np.array([v]) for v in (self.examples, self.losses, self.squares, right))
        return Tally(examples, losses, squares, correct, self.counts)

    def provenance(self) -> dict[str, Any]:
        """Examples, loss, accuracy and what else was counted. JSON-able."""
        quantities = surface_over(np.zeros(1), None, self.tally.reshaped(1, 1)).quantities
        counted = {name: float(table[0, 0]) for name, table in quantities.items()}
        return {"examples": self.examples, **own_values(self.loss, self.accuracy), **own_quantities(counted)}


def check_same(first: Sums, second: Sums) -> None:
    """Passes if two evaluations of one network agree.

    Raises:
        InvalidRequest: They do not; the text says what may be the cause.
    """
    if _agree(first, second):
        return
    raise InvalidRequest(
        f"The loss is not deterministic: the same network gave {first.loss:.8g} on {first.examples:,} examples, then "
        f"{second.loss:.8g} on {second.examples:,}; likely causes are dropout or batch norm in training mode, sampling in the "
        "model or the loss, inputs that are changed in place, or batches that differ each time they are read "
        "(check_deterministic=False goes on regardless).",
        field="check_deterministic",
    )


def check_same_chunks(first: Sums, second: Sums) -> None:
    """Passes if two evaluations of one network agree chunk by chunk.

    Raises:
        InvalidRequest: They do not, though they do as a whole: the batches come in another order.
    """
    if len(first.parts) == len(second.parts) and all(map(_agree, first.parts, second.parts)):
        return
    raise InvalidRequest(
        "The fast budget sees batches in parts, but these hold other examples each time they are read, which they are at every "
        "cell as they take more than 1 GiB; give a DataLoader with shuffle=False, or choose budget exact.",
        field="budget",
    )


def _agree(first: Sums, second: Sums) -> bool:
    return first.examples == second.examples and bool(np.isclose(first.loss, second.loss, AGREEMENT, 1e-8, equal_nan=True))
