"""Whether everything is measured, or only as much as an estimate of a wished accuracy takes."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from app import ids
from app.pages.new_surface.controls import Values, either, number
from landscape_core.requests import LEAST_TOLERANCE, MOST_TOLERANCE

FAST = (
    "Every cell sees a few examples, a coarse grid all of them; what that changes is interpolated in between. How far the "
    "result may be off is measured too, and shown at every cell. An exact surface goes on from it later."
)


def budget(values: Values) -> list[Component]:
    """The two controls."""
    return [
        either(values, "budget", "Values", (("exact", "Exact"), ("fast", "Fast")), "Exact sees every example at every cell."),
        html.Div(
            [
                number(
                    values, "tolerance", "Tolerance", min=100 * LEAST_TOLERANCE, max=100 * MOST_TOLERANCE, step=0.1,
                    decimalScale=2, suffix=" %",
                    description="Root mean square error, of the losses' range; of their logarithm's three times as much",
                ),
                html.Div(FAST, className="field-note"),
            ],
            id=ids.NEW_TOLERANCE,
            className="stack",
        ),
    ]  # fmt: skip
