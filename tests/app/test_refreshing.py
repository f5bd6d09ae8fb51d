"""Lists that a tick refreshes: what looks as it did stays, with what is opened or has the focus in it."""

from __future__ import annotations

import asyncio

from dash import no_update

from app.pages.blocks import changed, fingerprint, shown
from app.pages.checkpoints.layout import listing
from app.pages.gallery import callbacks as gallery
from app.pages.gallery.layout import mine


def test_a_list_is_given_again_only_when_it_looks_different(services, inspected, mlp_bytes):
    inspected(mlp_bytes(1))
    first = shown(listing(services.checkpoints(), "here"), "list")
    assert changed(listing(services.checkpoints(), "here"), getattr(first, "data-shown")) == (no_update, no_update)
    inspected(mlp_bytes(2))
    now, mark = changed(listing(services.checkpoints(), "here"), getattr(first, "data-shown"))
    assert len(now.children) == 2
    assert mark == fingerprint(now) != getattr(first, "data-shown")


def test_the_gallery_keeps_what_it_shows_while_nothing_changes(services):
    services.install_gallery()
    before = fingerprint(mine(services.surfaces(), {}))
    assert asyncio.run(gallery.refresh(services, 1, before)) == (no_update, no_update, True)
    component, mark, stop = asyncio.run(gallery.refresh(services, 1, ""))
    assert (mark, stop) == (before, True)
    assert fingerprint(component) == before
