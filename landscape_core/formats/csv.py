"""A surface as a table: one row per cell, y slowest, for spreadsheets and other languages.

Columns: `x`, `y` (empty for a curve), `loss`, `accuracy` (percent), `stderr`, `examples`, `state`, which is one of
`not_computed`, `measured`, `not_finite`, `estimated`; then one for each further quantity that the surface has
(`landscape_core.quantities`), by its name. What is unknown or not finite is an empty field, never a number. Numbers
are written with as many digits as bring back the same float64.
"""

from __future__ import annotations

import csv
import io
import math

from landscape_core.quantities import ordered
from landscape_core.results import Surface

COLUMNS = ("x", "y", "loss", "accuracy", "stderr", "examples", "state")
STATES = ("not_computed", "measured", "not_finite", "estimated")
"""Names of the values 0 … 3 of `Surface.state`."""


def dump(surface: Surface) -> bytes:
    """The content of the surface's `.csv`, ASCII with the line ends of RFC 4180 (carriage return, line feed)."""
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer)
    more = ordered(surface.quantities)
    table.writerow((*COLUMNS, *more))
    rows: list[float | None] = [None] if surface.y is None else surface.y.tolist()
    for j, y in enumerate(rows):
        columns = (surface.loss[j], surface.accuracy[j], surface.stderr[j], surface.examples[j], surface.state[j])
        further = (surface.quantities[name][j] for name in more)
        for x, loss, accuracy, stderr, examples, state, *rest in zip(
            surface.x.tolist(), *(c.tolist() for c in (*columns, *further)), strict=True
        ):
            place = (repr(x), "" if y is None else repr(y))
            known = (_number(loss), _number(accuracy), _number(stderr), examples, STATES[state])
            table.writerow((*place, *known, *(_number(value) for value in rest)))
    return buffer.getvalue().encode()


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""
