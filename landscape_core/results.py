"""What is answered: tallies per cell, and the surface made of them.

`Z[j, i] = L(x[i], y[j])` everywhere: files, REST and figures. Arrays are always (ny, nx); a curve has ny = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from landscape_core.requests import NATS, SurfaceRequest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from landscape_core.flatness import Flatness
    from landscape_core.projection import Projection

NOT_COMPUTED, MEASURED, NOT_FINITE, ESTIMATED = 0, 1, 2, 3
"""Values of `Surface.state`: a hole, a measurement, a measurement that is not finite, an estimate (fast budget)."""

TOKENS = "tokens_per_example"
"""Where the provenance of a language model's surface says how many tokens each sequence has."""


ESTIMATION_ERROR = "estimation_error"
"""The quantity that holds each cell's estimated error, of surfaces of the `fast` budget."""

PARTS = ("examples", "loss_sum", "loss_sq", "correct")
"""What every tally has of each cell."""


@dataclass(frozen=True)
class Tally:
    """What was seen at some cells. Tallies add; a mean and its standard error follow (see `estimate`).

    Attributes:
        examples: (*cells,) number of examples seen.
        loss_sum: (*cells,) Σ loss over these examples; not finite where a loss was not.
        loss_sq: (*cells,) Σ loss².
        correct: (*cells,) how many examples were classified rightly; of sequences, how many of all their tokens.
        counts: What else was asked for. `top5` (*cells,): how many labels are among the five largest outputs. `class_correct`
            and `class_examples` (*cells, classes): of each class, how many were classified rightly, and how many there are.
    """

    examples: Int64[np.ndarray, "*cells"]
    loss_sum: Float64[np.ndarray, "*cells"]
    loss_sq: Float64[np.ndarray, "*cells"]
    correct: Int64[np.ndarray, "*cells"]
    counts: dict[str, Int64[np.ndarray, "*_cells"]] = field(default_factory=dict)

    @classmethod
    def zeros(cls, *shape: int) -> Tally:
        """A tally of nothing, for cells of this shape."""
        return cls(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64))

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.examples + other.examples,
            self.loss_sum + other.loss_sum,
            self.loss_sq + other.loss_sq,
            self.correct + other.correct,
            {name: np.asarray(self.counts.get(name, 0) + other.counts.get(name, 0)) for name in self.counts | other.counts},
        )

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """One row of cells after the other; of none, no cells."""
        if not tallies:
            return cls.zeros(0)
        counts = {name: np.concatenate([tally.counts[name] for tally in tallies]) for name in tallies[0].counts}
        examples, loss_sum, loss_sq, correct = (np.concatenate([getattr(t, name) for t in tallies]) for name in PARTS)
        return cls(examples, loss_sum, loss_sq, correct, counts)

    def reshaped(self, *shape: int) -> Tally:
        """The same cells, so far in one row, in another shape."""
        counts = {name: array.reshape(*shape, *array.shape[1:]) for name, array in self.counts.items()}
        examples, loss_sum, loss_sq, correct = (getattr(self, name).reshape(shape) for name in PARTS)
        return Tally(examples, loss_sum, loss_sq, correct, counts)

    def at(self, part: Any) -> Tally:
        """The cells that an index of their arrays, as from `numpy.ix_`, takes."""
        examples, loss_sum, loss_sq, correct = (getattr(self, name)[part] for name in PARTS)
        return Tally(examples, loss_sum, loss_sq, correct, {name: array[part] for name, array in self.counts.items()})

    def within(self, inside: Bool[np.ndarray, "*cells"]) -> Tally:
        """The same at these cells, and nothing seen at the others."""
        counts = {n: a * inside.reshape(inside.shape + (1,) * (a.ndim - inside.ndim)) for n, a in self.counts.items()}
        examples, loss_sum, loss_sq, correct = (np.where(inside, getattr(self, name), 0) for name in PARTS)
        return Tally(examples, loss_sum, loss_sq, correct, counts)

    def put(self, rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"], seen: Tally) -> None:
        """Overwrites cells of this tally (ny, nx) in place.

        Args:
            rows: Index of each cell's row.
            columns: Index of each cell's column.
            seen: What was seen at these cells, of shape (n,).
        """
        for name in PARTS:
            getattr(self, name)[rows, columns] = getattr(seen, name)
        for name, array in seen.counts.items():
            if name not in self.counts:
                self.counts[name] = np.zeros((*self.examples.shape, *array.shape[1:]), np.int64)
            self.counts[name][rows, columns] = array


@dataclass(frozen=True)
class Surface:
    """A measured surface with the request and provenance that reproduce it.

    Attributes:
        x: (nx,) coordinates along the first direction.
        y: (ny,) coordinates along the second; None for a curve.
        loss: (ny, nx) mean loss; NaN where not computed or not finite.
        state: (ny, nx) NOT_COMPUTED, MEASURED, NOT_FINITE or ESTIMATED.
        accuracy: (ny, nx) percent; NaN where not computed.
        examples: (ny, nx) how many examples each mean is over; of an estimated cell, how many it has seen itself.
        stderr: (ny, nx) standard error of `loss`, s/√n, NaN for fewer than two examples; of an estimated cell √(s²/N + e²)
            with all N examples and the estimation error e (`landscape_core.fast_surface`).
        request: The question; None for an imported file that does not carry one, and for a model of one's own in Python.
        provenance: How it was made: versions, device, hashes, times. JSON-able.
        quantities: What else is known of the cells, by the names in `landscape_core.quantities`: (ny, nx) each, NaN where
            unknown and where nothing was computed.

    Example:
        >>> x = np.linspace(-1, 1, 3)
        >>> state = np.array([[MEASURED, MEASURED, NOT_COMPUTED]], np.uint8)
        >>> loss, n = np.array([[1.0, 0.0, np.nan]]), np.array([[10, 10, 0]])
        >>> curve = Surface(x, None, loss, state, loss * 0 + 50, n, loss * 0)
        >>> curve.is_curve, curve.not_finite, float(curve.loss[0, 0])
        (True, 0, 1.0)
        >>> curve.save("curve.npz")
        >>> from landscape_core import load
        >>> load("curve.npz").loss.tolist()
        [[1.0, 0.0, nan]]
    """

    x: Float64[np.ndarray, " nx"]
    y: Float64[np.ndarray, " ny"] | None
    loss: Float64[np.ndarray, "rows nx"]
    state: UInt8[np.ndarray, "rows nx"]
    accuracy: Float64[np.ndarray, "rows nx"]
    examples: Int64[np.ndarray, "rows nx"]
    stderr: Float64[np.ndarray, "rows nx"]
    request: SurfaceRequest | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    quantities: dict[str, Float64[np.ndarray, "rows nx"]] = field(default_factory=dict)

    @property
    def is_curve(self) -> bool:
        """Whether there is only one axis."""
        return self.y is None

    @property
    def not_finite(self) -> int:
        """How many cells were measured and gave a loss that is not finite."""
        return int((self.state == NOT_FINITE).sum())

    @property
    def estimated(self) -> int:
        """How many cells are estimated (`fast` budget)."""
        return int((self.state == ESTIMATED).sum())

    @property
    def said_of_estimates(self) -> str:
        """How many cells are estimated and how far they may be off, as a sentence for what rests on them; "" if none is."""
        if not self.estimated:
            return ""
        errors = self.quantities.get(ESTIMATION_ERROR, np.full(self.state.shape, np.nan))[self.state == ESTIMATED]
        off = ""
        if np.isfinite(errors).all():
            off = f"; their losses may be off by {np.sqrt((errors**2).mean()):.2g} (root mean square)"
        return (
            f"{self.estimated:,} of {self.state.size:,} cells are estimated, not measured{off}. These numbers rest on them too."
        )

    @property
    def has_perplexity(self) -> bool:
        """Whether exp(loss) is a language model's perplexity: the loss is −log of each next token's probability."""
        return TOKENS in self.provenance and self.request is not None and self.request.loss in NATS

    def figure(
        self, *, log: bool = False, colour: str = "Viridis", colour_by: str = "loss", projection: Projection | None = None
    ) -> Figure:
        """The surface as a Plotly figure, to be turned in a notebook; a curve if there is only one axis.

        Args:
            log: Whether heights and colours are log10 of the loss; what is not positive is then a hole.
            colour: A colour scale that Plotly knows.
            colour_by: What the colour shows while heights stay the loss: `loss`, `accuracy`, or a quantity that the surface
                has (`landscape_core.quantities.available`).
            projection: A training run to draw on it, as from `load_projection`; None draws that of the provenance, if any.

        Raises:
            InvalidRequest: The surface has no such quantity.
        """
        from landscape_core.figures import figure  # noqa: PLC0415  Plotly takes a third of a second to import

        return figure(self, log=log, colour=colour, colour_by=colour_by, projection=projection)

    def flatness(self, level: float | None = None, epsilon: float | None = None) -> Flatness:
        """How flat the surface is around the network: basin, ε-sharpness, and the barrier to another checkpoint.

        Args:
            level: The loss up to which the basin reaches; if None, ln 2 above the centre's, or twice it (see `flatness_of`).
            epsilon: Half the side of the box of ε-sharpness, in units of the directions; 0.25 if None.

        Raises:
            InvalidRequest: The level is not above the centre's loss, or a number is not finite, or epsilon not positive.
        """
        from landscape_core.flatness import flatness_of  # noqa: PLC0415  it needs this module

        return flatness_of(self, level, epsilon)

    def save(self, path: str | Path) -> None:
        """Writes the surface in the form that the path's suffix names; the file is there whole or not at all.

        Args:
            path: Ends in .npz (lossless), .h5, .csv, .json, .png, .vtp, .stl or .glb. An existing file is replaced.

        Raises:
            SurfaceRejected: If there is no such form.
        """
        from landscape_core import formats  # noqa: PLC0415  h5py takes a tenth of a second to import

        formats.save(self, Path(path))
