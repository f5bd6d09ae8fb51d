"""A page behind a link has the parts of the surface's own page, so it lives by that page's clientside callbacks alone."""

from __future__ import annotations

from dash import Dash


def register(_app: Dash, _services: object) -> None:
    """Adds nothing: `pages.surface.callbacks.register_view` and `register_live` serve this page too."""
