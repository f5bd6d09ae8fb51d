"""A picture of a surface, 1200 x 630 pixels: what a link shows where it is pasted, and what the gallery lists.

Drawn by matplotlib's object interface on the Agg canvas: no global state, so threads may draw at once. Nothing is smoothed:
a facet is drawn where its four corners were measured, every other one is a hole. Where positive losses span more than
two decades, height and colour are logarithmic, and the axis says so.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from landscape_core.drawn_way import DrawnWay, drawn_way
from landscape_core.projection import run_of
from landscape_core.requests import (
    DirectionSpec,
    HessianDirection,
    PrincipalDirection,
    RandomDirection,
    SurfaceRequest,
    TowardsDirection,
)
from landscape_core.results import NOT_COMPUTED, Surface

WIDTH, HEIGHT, DPI = 1200, 630, 100
DECADES = 2.0
"""Above so many decades between the smallest and the largest loss the scale is logarithmic."""

MAX_LINES = 121
"""Most grid lines an axis that are drawn: finer facets are smaller than a pixel. Every k-th line is taken, none is averaged."""

FINE_LINES = 61
"""With more lines than this the mesh is not drawn over the facets: it would be all that one sees."""

INK, MUTED, GRID, ACCENT = "#1f2430", "#667085", "#d5d9e2", "#3b528b"
_PANE = (0.965, 0.97, 0.98, 1.0)


def render_png(surface: Surface) -> bytes:
    """The picture as the content of a `.png` file, the same for the same surface and matplotlib.

    Args:
        surface: Whole or with holes; a curve is drawn as a line with a band of two standard errors.
    """
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    title = _title(surface)
    figure.text(0.045, 0.925, title, fontsize=min(19, 19 * 66 / len(title)), weight="bold", color=INK, parse_math=False)
    figure.text(0.045, 0.878, _subtitle(surface), fontsize=11.5, color=MUTED, parse_math=False)
    if not np.isfinite(surface.loss).any():
        figure.text(0.5, 0.45, "no finite loss yet", fontsize=16, color=MUTED, ha="center")
    elif min(surface.loss.shape) == 1:
        _draw_curve(figure, surface)
    else:
        _draw_surface(figure, surface)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@dataclass(frozen=True)
class _Scale:
    """How losses become heights and colours: as they are, or as log10."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, losses: np.ndarray) -> _Scale:
        finite = losses[np.isfinite(losses)]
        low, high = float(finite.min()), float(finite.max())
        log = low > 0 and math.log10(high) - math.log10(low) > DECADES
        return cls(low, high, log)

    @property
    def title(self) -> str:
        return "mean loss (log scale)" if self.log else "mean loss"

    @property
    def norm(self) -> Normalize:
        high = self.high if self.high > self.low else self.low + (abs(self.low) or 1.0)
        return LogNorm(self.low, high) if self.log else Normalize(self.low, high)

    def heights(self, losses: np.ndarray) -> np.ndarray:
        return np.log10(losses, where=losses > 0, out=np.full_like(losses, np.nan)) if self.log else losses


def _title(surface: Surface) -> str:
    request = surface.request
    if request is None:
        return "Loss curve" if surface.is_curve else "Loss surface"
    count = "" if request.data.examples is None else f", {request.data.examples:,} examples"
    dataset = request.data.dataset
    name = f"data set {dataset[:8]}…" if len(dataset) == 64 else dataset
    return f"{request.architecture}  ·  {name} {request.data.split}{count}"


def _subtitle(surface: Surface) -> str:
    ny, nx = surface.loss.shape
    parts = [] if surface.request is None else [_directions(surface.request)]
    parts.append(f"{nx} points" if surface.is_curve else f"{nx} × {ny} points")
    if surface.estimated:
        parts.append(f"{surface.estimated:,} estimated")
    unfinished = int((surface.state == NOT_COMPUTED).sum())
    if unfinished:
        parts.append(f"{unfinished:,} not computed")
    if surface.not_finite:
        parts.append(f"{surface.not_finite:,} not finite")
    run = run_of(surface)
    if run is not None:
        missing = int((~run.inside(surface.x, surface.y)).sum())
        parts.append(f"run of {len(run):,} checkpoints{f', {missing:,} outside the range' if missing else ''}")
    return "  ·  ".join(parts)


def _directions(request: SurfaceRequest) -> str:
    directions = [d for d in (request.plane.x, request.plane.y) if d is not None]
    named = [_direction(d) for d in directions]
    norm = request.plane.normalisation.norm
    how = f"{norm}-normalised " if norm != "none" and any(isinstance(d, RandomDirection) for d in directions) else ""
    return f"{how}direction{'s' if len(directions) > 1 else ''}: {', '.join(dict.fromkeys(named))}"


def _direction(spec: DirectionSpec) -> str:
    if isinstance(spec, RandomDirection):
        return f"random {spec.seed}"
    if isinstance(spec, PrincipalDirection):
        return f"principal {spec.index} of a run"
    if isinstance(spec, HessianDirection):
        return f"Hessian {spec.index}".replace("-", "−")
    if not isinstance(spec, TowardsDirection):
        return "from a file"
    return f"towards {spec.checkpoint[:8]}…{', aligned' if spec.aligned else ''}"


def _draw_curve(figure: Figure, surface: Surface) -> None:
    along_x = surface.loss.shape[0] == 1
    at = surface.x if along_x else surface.y
    assert at is not None  # noqa: S101  a grid with one column has a second axis
    loss, band = surface.loss.ravel(), 2 * np.nan_to_num(surface.stderr.ravel(), posinf=0.0)
    scale = _Scale.of(loss)
    axes: Axes = figure.add_axes((0.085, 0.135, 0.87, 0.68))
    low = np.maximum(loss - band, scale.low / 10) if scale.log else loss - band
    if band.any():
        axes.fill_between(at, low, loss + band, color=ACCENT, alpha=0.18, lw=0, label="± 2 standard errors")
    marker = "o" if at.size <= 60 else ("." if at.size <= 200 else None)
    axes.plot(at, loss, color=ACCENT, lw=2.2, marker=marker, ms=5, label="mean loss")
    if surface.is_curve and (run := run_of(surface)) is not None:
        _draw_way(axes, drawn_way(surface.x, None, surface.loss, run))
    if scale.log:
        axes.set_yscale("log")
    axes.set_xlabel("α along δ" if along_x else "β along η", fontsize=12, color=INK, labelpad=8)
    axes.set_ylabel(scale.title, fontsize=12, color=INK, labelpad=10)
    axes.grid(visible=True, which="major", color=GRID, lw=0.8)
    axes.tick_params(which="both", labelsize=10.5, colors=MUTED, length=0)
    axes.margins(x=0.02)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if band.any():
        axes.legend(frameon=False, fontsize=10.5, labelcolor=MUTED, loc="best")


def _draw_surface(figure: Figure, surface: Surface) -> None:
    assert surface.y is not None  # noqa: S101  two rows have two coordinates
    rows, columns = _lines(surface.y.size), _lines(surface.x.size)
    x, y, loss = surface.x[columns], surface.y[rows], surface.loss[np.ix_(rows, columns)]
    scale = _Scale.of(surface.loss)
    axes: Axes3D = figure.add_axes((-0.05, -0.035, 0.96, 1.0), projection="3d", computed_zorder=False)
    axes.add_collection3d(_facets(x, y, loss, scale))
    bottom, top = (float(v) for v in scale.heights(np.array([scale.low, scale.norm.vmax])))
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), zlim=(bottom, top))
    axes.set_box_aspect((1.5, 1.5, 0.82), zoom=0.98)
    axes.view_init(elev=30, azim=-58)
    if (run := run_of(surface)) is not None:
        _draw_way(axes, drawn_way(surface.x, surface.y, scale.heights(surface.loss), run))
    _label(axes, scale)
    bar = figure.add_axes((0.9, 0.18, 0.014, 0.52))
    figure.colorbar(ScalarMappable(scale.norm, "viridis"), cax=bar)
    bar.tick_params(labelsize=10, colors=MUTED, length=0)
    bar.set_title(scale.title.replace(" (", "\n("), fontsize=10.5, color=INK, pad=12, loc="center")
    bar.spines[:].set_visible(False)
    bar.minorticks_off()


def _draw_way(axes: Axes, way: DrawnWay) -> None:
    """The way of a training run, over the facets: a square begins it, a diamond ends it."""
    solid = isinstance(axes, Axes3D)
    line, marks = (part if solid else part[:, [0, 2]] for part in (way.line, way.marks))
    axes.plot(*line.T, color="white", lw=3.4, zorder=5)
    axes.plot(*line.T, color=INK, lw=1.8, zorder=6)
    last = len(marks) - 1
    for first, after, marker, size, face in (
        (1, last, "o", 4, INK),
        (0, min(1, last), "s", 7, "white"),
        (last, last + 1, "D", 7, INK),
    ):
        part = marks[first:after].T
        axes.plot(*part, ls="", marker=marker, ms=size, mfc=face, mec=INK if face == "white" else "white", mew=1, zorder=7)


def _lines(count: int) -> np.ndarray:
    """Indices of the grid lines to draw: all, or every k-th and the last."""
    step = -(-count // MAX_LINES)
    return np.unique(np.append(np.arange(0, count, step), count - 1))


def _facets(x: np.ndarray, y: np.ndarray, loss: np.ndarray, scale: _Scale) -> Poly3DCollection:
    """The measured facets, coloured by the mean of their corners and lit from the north-west."""
    z = scale.heights(loss)
    mesh_x, mesh_y = np.meshgrid(x, y)
    points = np.stack([mesh_x, mesh_y, z], axis=-1)
    corners = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)
    whole = np.isfinite(corners[..., 2]).all(axis=-1)
    height = corners[..., 2].mean(axis=-1)
    span = (np.nanmax(z) - np.nanmin(z)) or 1.0
    colour = mpl.colormaps["viridis"]((np.where(whole, height, np.nanmin(z)) - np.nanmin(z)) / span)
    relief = np.nan_to_num(z, nan=float(np.nanmin(z)))
    relief = (relief - relief.min()) / span * 0.45 * max(z.shape)
    intensity = LightSource(azdeg=300, altdeg=50).hillshade(relief)
    shade = 0.72 + 0.36 * ((intensity[:-1, :-1] + intensity[1:, 1:]) / 2)
    colour[..., :3] = np.clip(colour[..., :3] * shade[..., None], 0, 1)
    faces = colour[whole]
    fine = max(z.shape) > FINE_LINES
    edges = faces if fine else np.broadcast_to((1, 1, 1, 0.28), faces.shape)
    return Poly3DCollection(corners[whole], facecolors=faces, edgecolors=edges, linewidths=0.2 if fine else 0.45)


def _label(axes: Axes3D, scale: _Scale) -> None:
    axes.set_xlabel("α along δ", fontsize=12, color=INK, labelpad=8)
    axes.set_ylabel("β along η", fontsize=12, color=INK, labelpad=13)
    axes.set_zlabel(scale.title, fontsize=12, color=INK, labelpad=8)
    for axis, bins in ((axes.xaxis, 4), (axes.yaxis, 4), (axes.zaxis, 6)):
        axis.set_major_locator(MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]))
    if scale.log:
        axes.zaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.zaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:g}}}$"))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(_PANE)
        axis.line.set_color(GRID)
        axis.set_tick_params(labelsize=10, labelcolor=MUTED)
        axis._axinfo["grid"].update(color=GRID, linewidth=0.7)  # noqa: SLF001  the only handle on a 3-D grid's colour
        axis._axinfo["tick"].update(inward_factor=0.0, outward_factor=0.0)  # noqa: SLF001
    for labels, side in ((axes.get_xticklabels(), "right"), (axes.get_yticklabels(), "left")):
        for label in labels:  # so that the two do not meet at the corner
            label.set_horizontalalignment(side)
