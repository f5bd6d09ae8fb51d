"""A surface as a Plotly figure, for notebooks. Nothing is smoothed: a cell without a finite loss is a hole.

The pages' own figure is painted in the browser (`static/javascript/scene.js`); both have their titles from here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape_core.projection import Projection
from landscape_core.quantities import quantity, values
from landscape_core.requests import NATS, SurfaceRequest
from landscape_core.results import Surface
from landscape_core.way_figures import with_way

UNKNOWN = "#9aa3b2"
"""Where a surface has a loss but not the quantity by which it is coloured."""

LINE, BAND, MARK = "#3b528b", "rgba(59, 82, 139, 0.18)", "#d1495b"


def axis_titles(request: SurfaceRequest | None) -> dict[str, str]:
    """Titles of the axes: the coordinates along the directions, the loss with its unit, and its logarithm."""
    unit = " (nats)" if request is not None and request.loss in NATS else ""
    return {"x": "α along δ", "y": "β along η", "z": f"mean loss{unit}", "log": "log₁₀ loss", "short": f"loss{unit}"}


def figure(
    surface: Surface,
    *,
    log: bool = False,
    colour: str = "Viridis",
    colour_by: str = "loss",
    projection: Projection | None = None,
) -> go.Figure:
    """The surface turned by hand, or a curve with a band of two standard errors where they are known.

    Heights are `surface.loss`, or its logarithm to base 10; what has none (not computed, not finite, with `log` not positive)
    is a hole. A mark stands at the network itself if the grid has the cell (0, 0).

    Args:
        surface: Whole or with holes.
        log: Whether heights and colours are log10 of the loss.
        colour: A colour scale that Plotly knows.
        colour_by: What the colour of a surface shows; heights stay the loss. Grey where the loss is known and this is not.
        projection: A training run to draw on it; None draws that of its provenance, if there is one.

    Raises:
        InvalidRequest: The surface has no such quantity.
    """
    titles = axis_titles(surface.request)
    heights, shown = _heights(surface.loss, log=log), values(surface, colour_by)
    if min(surface.loss.shape) == 1:
        made = _curve(surface, heights, titles, log=log)
    else:
        made = _landscape(surface, heights, titles, log=log, colour=colour)
        if colour_by != "loss":
            _colour(made, surface, heights, shown, colour_by)
    made.update_layout(template="plotly_white", showlegend=False, margin={"l": 0, "r": 0, "t": 24, "b": 0})
    return with_way(made, surface, heights, projection)


def _heights(losses: np.ndarray, *, log: bool) -> np.ndarray:
    finite = np.where(np.isfinite(losses), losses, np.nan)
    if not log:
        return finite
    return np.log10(finite, where=finite > 0, out=np.full_like(finite, np.nan))


def _landscape(surface: Surface, z: np.ndarray, titles: dict[str, str], *, log: bool, colour: str) -> go.Figure:
    name = titles["log"] if log else titles["z"]
    made = go.Figure(
        go.Surface(
            x=surface.x,
            y=surface.y,
            z=z,
            customdata=np.dstack([surface.accuracy, surface.examples, surface.stderr]),
            colorscale=colour,
            connectgaps=False,
            colorbar={"title": {"text": titles["log"] if log else titles["short"]}, "thickness": 14, "len": 0.6},
            hovertemplate=f"α %{{x:.3~g}} · β %{{y:.3~g}}<br>{name} %{{z:.4~g}}<br>"
            "accuracy %{customdata[0]:.4~g} %<br>%{customdata[1]} examples<br>± %{customdata[2]:.2~g}<extra></extra>",
        )
    )
    row, column = _origin(surface.y), _origin(surface.x)
    if row is not None and column is not None and np.isfinite(z[row, column]):
        mark = {"x": [0.0], "y": [0.0], "z": [z[row, column]], "marker": {"color": MARK, "size": 5}}
        made.add_trace(
            go.Scatter3d(**mark, mode="markers", hovertemplate=f"the network itself: {name} %{{z:.4~g}}<extra></extra>")
        )
    return made.update_scenes(
        xaxis_title_text=titles["x"],
        yaxis_title_text=titles["y"],
        zaxis_title_text=name,
        aspectmode="manual",
        aspectratio={"x": 1, "y": 1, "z": 0.7},
        camera={"eye": {"x": 1.42, "y": 1.54, "z": 1.02}},
    )


def _colour(made: go.Figure, surface: Surface, z: np.ndarray, shown: np.ndarray, name: str) -> None:
    """Colours the surface by a quantity; what lies at a cell where it is unknown becomes grey."""
    about, known = quantity(name), np.isfinite(shown)
    solid = made.data[0]
    grey = go.Surface(
        x=surface.x, y=surface.y, z=np.where(_around(np.isfinite(z) & ~known), z, np.nan), connectgaps=False, showscale=False,
        colorscale=[[0, UNKNOWN], [1, UNKNOWN]], hovertemplate=f"{about.title}: unknown<extra></extra>",
    )  # fmt: skip
    solid.z, solid.surfacecolor = np.where(known, z, np.nan), shown
    solid.customdata = np.dstack([surface.accuracy, surface.examples, surface.stderr, shown])
    solid.hovertemplate = solid.hovertemplate.replace(
        "<extra>", f"<br>{about.title} %{{customdata[3]:.4~g}} {about.unit}<extra>"
    )
    solid.colorbar.title.text = about.axis_title
    if np.isfinite(grey.z).any():
        made.add_trace(grey)


def _around(cells: np.ndarray) -> np.ndarray:
    """These cells and their eight neighbours: the corners of every patch that touches one of them."""
    padded = np.pad(cells, 1)
    rows, columns = cells.shape
    return np.logical_or.reduce([padded[j : j + rows, i : i + columns] for j in range(3) for i in range(3)])


def _curve(surface: Surface, heights: np.ndarray, titles: dict[str, str], *, log: bool) -> go.Figure:
    along_y = surface.loss.shape[1] == 1 and surface.y is not None and surface.y.size > 1
    at = surface.y if along_y and surface.y is not None else surface.x
    z, stderr = heights.ravel(), surface.stderr.ravel()
    made = go.Figure()
    if not log and np.isfinite(stderr).any():
        made.add_traces([_band(at, z, 2 * stderr)])
    made.add_trace(
        go.Scatter(
            x=at,
            y=z,
            mode="lines+markers",
            connectgaps=False,
            line={"color": LINE},
            hovertemplate="%{x:.3~g}: %{y:.4~g}<extra></extra>",
        )
    )
    index = _origin(at)
    if index is not None and np.isfinite(z[index]) and _crosses_origin(surface, along_y=along_y):
        made.add_trace(
            go.Scatter(x=[0.0], y=[z[index]], mode="markers", marker={"color": MARK, "size": 10}, name="the network itself")
        )
    made.update_xaxes(title_text=titles["y"] if along_y else titles["x"])
    return made.update_yaxes(title_text=titles["log"] if log else titles["z"])


def _band(at: np.ndarray, z: np.ndarray, reach: np.ndarray) -> go.Scatter:
    """± reach around z as one closed outline; where either is unknown the band is left out."""
    known = np.isfinite(z) & np.isfinite(reach)
    x, low, high = at[known], (z - reach)[known], (z + reach)[known]
    outline: dict[str, Any] = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
    return go.Scatter(**outline, fill="toself", fillcolor=BAND, line={"width": 0}, hoverinfo="skip", name="± 2 standard errors")


def _origin(axis: np.ndarray | None) -> int | None:
    """The index of coordinate 0, if the axis has it to rounding."""
    if axis is None:
        return None
    index = int(np.abs(axis).argmin())
    return index if abs(axis[index]) < 1e-9 else None


def _crosses_origin(surface: Surface, *, along_y: bool) -> bool:
    """Whether a curve runs through (0, 0): the coordinate that it keeps is 0."""
    kept = surface.x if along_y else surface.y
    return kept is None or _origin(kept) is not None
