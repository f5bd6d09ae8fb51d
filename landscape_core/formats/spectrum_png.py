"""A curvature as a picture: the spectral density of the Hessian, with the eigenvalues at its ends."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from landscape_core.formats.png import ACCENT, DPI, GRID, HEIGHT, INK, MUTED, WIDTH
from landscape_core.spectra import Curvature

LARGE, SMALL = "#b5367a", "#1f968b"


def render_spectrum(curvature: Curvature) -> bytes:
    """The picture as the content of a `.png` file, the same for the same curvature and matplotlib.

    The density's axis is logarithmic and ends below what a single eigenvalue of the n is worth: 1/n of a Gaussian.

    Args:
        curvature: What was found.
    """
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.045, 0.925, _title(curvature), fontsize=19, weight="bold", color=INK, parse_math=False)
    figure.text(0.045, 0.872, _subtitle(curvature), fontsize=11.5, color=MUTED, parse_math=False)
    axes: Axes = figure.add_axes((0.085, 0.135, 0.87, 0.68))
    _draw_density(axes, curvature)
    _draw_ends(axes, curvature)
    axes.set_xlabel("eigenvalue λ of the Hessian of the mean loss", fontsize=12, color=INK, labelpad=8)
    axes.set_ylabel("share of the eigenvalues per unit of λ (log scale)", fontsize=12, color=INK, labelpad=10)
    axes.grid(visible=True, which="major", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=10.5, colors=MUTED, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.legend(frameon=False, fontsize=10.5, labelcolor=INK, loc="upper right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _draw_density(axes: Axes, curvature: Curvature) -> None:
    found = curvature.density
    single = 1 / (curvature.parameters * found.width * math.sqrt(2 * math.pi))
    top = float(found.density.max())
    floor = min(single / 30, top / 100)
    density = np.maximum(found.density, floor)
    axes.fill_between(found.eigenvalues, floor, density, color=ACCENT, alpha=0.16, lw=0)
    axes.plot(
        found.eigenvalues,
        density,
        color=ACCENT,
        lw=1.9,
        label=f"density, mean of {found.probes} probe{'s' if found.probes > 1 else ''} of {found.steps} Lanczos steps",
    )
    axes.set_yscale("log")
    axes.set_ylim(floor, top * 6)
    axes.set_xlim(float(found.eigenvalues[0]), float(found.eigenvalues[-1]))
    axes.axvline(0.0, color=MUTED, lw=1.0, ls=(0, (4, 3)))


def _draw_ends(axes: Axes, curvature: Curvature) -> None:
    """The eigenvalues that were found one by one, as marks on the axis."""
    low, high = axes.get_xlim()
    ends = ((curvature.largest, LARGE, "largest"), (curvature.smallest, SMALL, "smallest"))
    for values, colour, name in ends:
        label = f"{len(values)} {name}" if len(values) > 1 else name
        axes.plot(
            values,
            np.full(len(values), 0.018),
            transform=axes.get_xaxis_transform(),
            ls="",
            marker="^",
            ms=8,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=f"{label} eigenvalue{'s' if len(values) > 1 else ''}",
            clip_on=False,
            zorder=5,
        )
    every = [*curvature.largest, *curvature.smallest]
    axes.set_xlim(min(low, *every), max(high, *every))


def _title(curvature: Curvature) -> str:
    about = curvature.provenance
    architecture = about.get("architecture")
    name = architecture["name"] if isinstance(architecture, dict) else str(about.get("model", "")).rpartition(".")[2]
    return "  ·  ".join(["Spectrum of the Hessian", *([name[:40]] if name else [])])


def _subtitle(curvature: Curvature) -> str:
    trace = curvature.trace
    parts = [
        f"{curvature.parameters:,} parameters",
        f"{curvature.examples:,} examples",
        f"λmax {curvature.largest[0]:.4g}",
        f"λmin {curvature.smallest[0]:.3g}",
        f"|λmin/λmax| {curvature.negative_share:.3g}",
        f"trace {trace.value:.4g} ± {trace.stderr:.2g}",
    ]
    return "  ·  ".join(parts).replace("-", "−")
