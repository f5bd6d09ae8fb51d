"""A training run on a Plotly figure: a line with marks that lies on the surface, and what is not drawn in words."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import plotly.graph_objects as go

from landscape_core.drawn_way import DrawnWay, drawn_way
from landscape_core.projection import Projection, run_of
from landscape_core.results import Surface

WAY, EDGE = "#111827", "#ffffff"


def with_way(made: go.Figure, surface: Surface, heights: np.ndarray, projection: Projection | None) -> go.Figure:
    """The figure with a run on it: squares begin it, diamonds end it; hovering says number, name, losses and distance.

    Args:
        made: Of the surface.
        surface: What it shows.
        heights: (ny, nx) as they are drawn.
        projection: The run; None takes that of the surface's provenance, if there is one.
    """
    run = run_of(surface) if projection is None else projection
    if run is None:
        return made
    solid = min(surface.loss.shape) > 1
    if run.coordinates.shape[1] != (1 if surface.is_curve else 2) or not (solid or surface.is_curve):
        return made
    way = drawn_way(surface.x, surface.y, heights, run)
    symbols = ["square", *["circle"] * (len(run) - 2), "diamond"][-len(run) :] if len(run) > 1 else ["diamond"]
    lift = 0.012 * float(np.nanmax(heights) - np.nanmin(heights)) if np.isfinite(heights).any() else 0.0
    parts = {"line": way.line, "marks": way.marks}
    at = {name: {"x": part[:, 0], "y": part[:, 1], "z": part[:, 2] + lift} for name, part in parts.items()}
    if not solid:
        at = {name: {"x": part[:, 0], "y": part[:, 2]} for name, part in parts.items()}
    kind = go.Scatter3d if solid else go.Scatter
    made.add_trace(
        kind(**at["line"], mode="lines", line={"color": WAY, "width": 5 if solid else 2}, hoverinfo="skip", name="run")
    )
    mark = {"color": [EDGE] + [WAY] * (len(run) - 1), "symbol": symbols, "size": 4 if solid else 9}
    edge = {"line": {"color": WAY, "width": 1}}
    texts = [told(run, index) for index in range(len(run))]
    made.add_trace(kind(**at["marks"], mode="markers", marker=mark | edge, text=texts, hovertemplate="%{text}<extra></extra>"))
    return made.update_layout(annotations=[_words(run, way)], margin_b=36)


def told(run: Projection, index: int) -> str:
    """What is said of one checkpoint: which, its own loss, the plane's, how far off the plane it is.

    Args:
        run: The run.
        index: From 0.
    """
    parts = [f"checkpoint {escape(run.called(index))}"]
    for what, value in (
        ("own loss", run.own_loss[index]),
        ("the plane's loss here", run.plane_loss[index]),
        ("distance off the plane", run.off_plane[index]),
    ):
        parts.append(f"{what} {value:.4g}" if math.isfinite(value) else f"{what} not known")
    return "<br>".join(parts)


def _words(run: Projection, way: DrawnWay) -> dict[str, object]:
    shares = [
        f"{letter} {100 * share:.3g} %" for letter, share in zip("δη", run.explained_variance_ratio, strict=False) if share >= 0
    ]
    parts = [
        f"run of {len(run)} checkpoints: □ first, ◆ last",
        *([f"variance along {', '.join(shares)}"] if shares else []),
        *([way.left_out] if way.left_out else []),
    ]
    return {
        "text": "  ·  ".join(parts),
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.0,
        "xanchor": "center",
        "yanchor": "top",
        "yshift": -6,
        "font": {"size": 11, "color": "#475467"},
    }
