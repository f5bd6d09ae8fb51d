"""What comes of `lossatlas compute`: the surface files, and a line about each surface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landscape_core.errors import SurfaceRejected

if TYPE_CHECKING:
    from landscape_core.results import Surface


def save_answers(surfaces: list[Surface], out: Path) -> list[Path]:
    """Writes the surface, or those of both splits; the files that were written.

    Raises:
        SurfaceRejected: If the form cannot hold it; what was computed is then kept in one that can.
    """
    from landscape_core import formats  # noqa: PLC0415

    try:
        if len(surfaces) > 1:
            return formats.save_splits(surfaces[0], surfaces[1], out)
        formats.save(surfaces[0], out)
    except SurfaceRejected as error:
        kept = out.with_name(f"{out.name}.npz")
        files = formats.split_paths(kept) if len(surfaces) > 1 else [kept]
        for surface, file in zip(surfaces, files, strict=True):
            formats.save(surface, file)
        raise SurfaceRejected(f"{error} What was computed is kept in {' and '.join(map(str, files))}.") from None
    return [out]


def summary(surface: Surface, out: Path, *, of_split: bool) -> str:
    """One line that says what was written.

    Args:
        surface: What was computed.
        out: The file that holds it.
        of_split: Whether its split is said, for it is one of two.
    """
    import numpy as np  # noqa: PLC0415

    ny, nx = surface.loss.shape
    own = surface.provenance.get("own_loss")
    finite = surface.loss[np.isfinite(surface.loss)]
    split = [surface.request.data.split] if of_split and surface.request is not None else []
    with np.errstate(over="ignore"):
        perplexity = f" (perplexity {np.exp(own):.6g})" if own is not None and surface.has_perplexity else ""
    parts = [
        *split,
        f"{nx} points" if surface.is_curve else f"{nx} x {ny} cells",
        f"the checkpoint's own loss {own:.6g}{perplexity}" if own is not None else "the checkpoint's own loss not finite",
        f"min {finite.min():.6g}, max {finite.max():.6g}" if finite.size else "no finite loss",
        *([f"{surface.not_finite} not finite"] if surface.not_finite else []),
        *_estimated(surface),
        *_resumed(surface),
        *_barriers(surface),
        f"{surface.provenance.get('seconds', 0):.1f} s",
    ]
    return f"Wrote {out}: {', '.join(parts)}."


def _estimated(surface: Surface) -> list[str]:
    """How much of a fast surface is estimated, how well, and what it cost."""
    about = surface.provenance.get("fast")
    if about is None:
        return []
    error = about["estimated_rmse"]["share_of_range"]
    sure = "" if error is None else f" to {100 * error:.2g} % of the range"
    holes = [f"{about['undecided_cells']:,} undecided beside cells that are not finite"] if about["undecided_cells"] else []
    return [f"{surface.estimated:,} estimated{sure} at {100 * about['cost_share']:.3g} % of the cost", *holes]


def _resumed(surface: Surface) -> list[str]:
    last = surface.provenance.get("resumed", [])[-1:]
    return [f"{about['kept_cells']:,} cells kept from {about['file']}, {about['computed_cells']:,} computed" for about in last]


def _barriers(surface: Surface) -> list[str]:
    """What stands between the network and another one, for a curve that leads there."""
    found = surface.flatness().barriers if surface.is_curve else ()
    heights = [barrier.above_line for barrier in found if barrier.above_line is not None]
    return [f"barrier {height:.6g} above the line of the ends" for height in heights]
