"""Lists that a tick refreshes: what looks as it did stays, with what is opened or has the focus in it."""

from __future__ import annotations

import asyncio
from typing import Any

from dash import no_update

from app import ids
from app.pages.blocks import changed, shown
from app.pages.checkpoints.layout import listing
from app.pages.gallery import callbacks as gallery
from app.pages.gallery.layout import layout as gallery_page
from landscape_core.requests import SurfaceRequest


def test_a_list_is_given_again_only_when_it_is_of_something_else(services, inspected, mlp_bytes):
    inspected(mlp_bytes(1))
    known = services.checkpoints()
    before = getattr(shown(listing(known, "here"), "list", known), "data-shown")
    known = services.checkpoints()
    assert changed(listing(known, "here"), known, before) == (no_update, no_update)
    inspected(mlp_bytes(2))
    known = services.checkpoints()
    now, mark = changed(listing(known, "here"), known, before)
    assert len(now.children) == 2
    assert mark != before


def test_the_gallery_keeps_what_its_page_shows_while_nothing_changes(services, settings, ready_checkpoint, request_for):
    services.install_gallery()
    services.request_surface(SurfaceRequest.model_validate(request_for(ready_checkpoint)))
    before = marks(asyncio.run(gallery_page(services, settings, {})))[ids.GALLERY_MINE]
    assert asyncio.run(gallery.refresh(services, 1, before)) == (no_update, no_update, False)
    [waiting] = [surface for surface in services.surfaces() if surface.origin == "computed"]
    services.cancel(waiting.id)
    component, mark, stop = asyncio.run(gallery.refresh(services, 1, before))
    assert mark != before
    assert stop
    assert waiting.id in str(component)


def marks(tree: Any) -> dict[str, str]:
    """The mark of each part that has one, by its id."""
    return {part.id: getattr(part, "data-shown") for part in tree._traverse() if hasattr(part, "data-shown")}
