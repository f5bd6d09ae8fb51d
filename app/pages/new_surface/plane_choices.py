"""What of a plane is chosen beside its directions: the angle between them, and batch norm's statistics on it."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from app.pages.new_surface.controls import Values, either


def angle_and_statistics(values: Values) -> list[Component]:
    """The two controls."""
    return [
        html.Div(
            either(
                values, "plane.orthogonal", "Angle between δ and η", (("false", "As it is"), ("true", "Right angle")),
                "A right angle takes η's component along δ off it. Random directions nearly have one anyway.",
            ),
            className="only-surface",
        ),
        either(
            values, "batch_norm", "Batch norm's statistics", (("fixed", "The network's own"), ("reestimated", "Re-estimated")),
            "Re-estimated at every cell: those of the moved network itself, over up to 512 examples, which costs their passes.",
        ),
    ]  # fmt: skip
