"""What the browser needs before it can draw: colour scales, and whether there is one axis.

The painting itself is `static/javascript/scene.js`: everything in a View is a matter of the browser.
"""

from __future__ import annotations

from typing import Any

from plotly.colors import get_colorscale

from landscape_core.requests import SurfaceRequest

COLOURS = ("Viridis", "Cividis", "Magma", "Inferno", "Plasma", "Turbo", "Earth", "RdBu", "Greys")
"""Colour scales to choose from; the first are even to the eye, also for people who see colours differently."""


def colour_scales() -> dict[str, list[list[Any]]]:
    """Each colour scale as [[position in 0 … 1, colour], …]."""
    scales = {name: [[stop, colour] for stop, colour in get_colorscale(name)] for name in COLOURS}
    scales["RdBu"] = [[1 - stop, colour] for stop, colour in reversed(scales["RdBu"])]
    return scales


def gradient(scale: list[list[Any]]) -> str:
    """A colour scale as a CSS background."""
    return f"linear-gradient(90deg, {', '.join(colour for _, colour in scale)})"


def is_curve(request: SurfaceRequest | None) -> bool:
    """Whether a request has only one axis; an imported file without a request is taken for a surface."""
    return request is not None and request.grid.y is None
