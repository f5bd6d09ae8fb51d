"""The numerical core: requests, results, checkpoint reading, evaluation and file formats. Knows neither web nor queue.

For notebooks and one's own models:

    import landscape_core as lc

    surface = lc.landscape(model, loss_fn, batches)
    surface.figure()
    surface.save("a.npz")
    lc.push(surface, "http://127.0.0.1:8050")
    lc.landscape(model, loss_fn, batches, push="http://127.0.0.1:8050")  # a link at once, under which it refines

What is named here is loaded when it is first used: `import landscape_core` loads neither torch nor Plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape_core.compute.own_curvature import curvature
    from landscape_core.compute.own_models import landscape
    from landscape_core.errors import LandscapeError
    from landscape_core.formats import load, load_projection
    from landscape_core.plane_curvature import negative_curvature
    from landscape_core.pushing import push
    from landscape_core.requests import Axis, Grid, Normalisation, PlaneSpec, RandomDirection
    from landscape_core.results import Surface
    from landscape_core.spectra import Curvature

__all__ = [
    "Axis",
    "Curvature",
    "Grid",
    "LandscapeError",
    "Normalisation",
    "PlaneSpec",
    "RandomDirection",
    "Surface",
    "curvature",
    "landscape",
    "load",
    "load_projection",
    "negative_curvature",
    "push",
]

_HOMES = {
    "curvature": "landscape_core.compute.own_curvature",
    "Curvature": "landscape_core.spectra",
    "landscape": "landscape_core.compute.own_models",
    "LandscapeError": "landscape_core.errors",
    **dict.fromkeys(("load", "load_projection"), "landscape_core.formats"),
    "negative_curvature": "landscape_core.plane_curvature",
    "push": "landscape_core.pushing",
    **dict.fromkeys(("Axis", "Grid", "Normalisation", "PlaneSpec", "RandomDirection"), "landscape_core.requests"),
    "Surface": "landscape_core.results",
}
"""Where each name of `__all__` lives."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape_core' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
