"""The screens, one folder each; a folder's `__init__` is its map: path, title, layout, callbacks."""

from app.pages import activity, checkpoints, compare, gallery, new_surface, shared, surface
from app.pages.page import Page

PAGES: tuple[Page, ...] = (
    gallery.PAGE,
    checkpoints.PAGE,
    new_surface.PAGE,
    activity.PAGE,
    surface.PAGE,
    compare.PAGE,
    shared.PAGE,
    compare.SHARED,
)
"""Every page; those with an icon are in the navigation, in this order."""

__all__ = ["PAGES", "Page"]
