"""A surface as a file. Links and surfaces give the same files."""

from __future__ import annotations

import re

from fastapi import Response

from app.services import Services
from landscape_core.errors import NotFound
from landscape_core.formats import projection_bytes, to_bytes
from landscape_core.formats.projections import WRITABLE as PROJECTIONS
from landscape_core.projection import run_of
from worker.blobs import preview_key, surface_directions_key

MEDIA_TYPES = {
    "npz": "application/x-npz",
    "h5": "application/x-hdf5",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "vtp": "application/xml",
    "stl": "model/stl",
    "glb": "model/gltf-binary",
}


def data(services: Services, surface_id: str, suffix: str) -> Response:
    """The latest whole surface, as a file of this form.

    Raises:
        NotFound: There is no such surface or form, or it has no values yet.
        SurfaceRejected: It has no shape that this form can hold.
    """
    if suffix not in MEDIA_TYPES:
        *others, last = MEDIA_TYPES
        raise NotFound(f"A surface can be had as {', '.join(others)} or {last}, but not as {suffix[:20]!r}.")
    row = services.surface_row(surface_id)
    content = to_bytes(services.surface_result(surface_id), f".{suffix}")
    return _file(content, MEDIA_TYPES[suffix], f"{_plain(row.title)}-{surface_id[:8]}.{suffix}")


def preview(services: Services, surface_id: str) -> Response:
    """The surface's picture.

    Raises:
        NotFound: There is no such surface, or it has no picture yet.
    """
    services.surface_row(surface_id)
    try:
        return Response(services.blobs.get(preview_key(surface_id)), media_type="image/png")
    except NotFound:
        raise NotFound("The surface has no picture yet; it is drawn once the surface is finished.") from None


def directions(services: Services, surface_id: str) -> Response:
    """The surface's directions, in the form of Li et al.'s code.

    Raises:
        NotFound: There is no such surface, or it has no directions yet.
    """
    row = services.surface_row(surface_id)
    try:
        content = services.blobs.get(surface_directions_key(surface_id))
    except NotFound:
        when = (
            "yet; they are stored once it is finished"
            if row.origin == "computed"
            else "stored here, since it was computed elsewhere"
        )
        raise NotFound(f"The surface has no directions {when}.") from None
    return _file(content, MEDIA_TYPES["h5"], f"{_plain(row.title)}-{surface_id[:8]}.directions.h5")


def projection(services: Services, surface_id: str, suffix: str) -> Response:
    """The surface's training run, in the form of Li et al.'s code or as a table.

    Raises:
        NotFound: There is no such surface or form, it has no values yet, or no training run.
    """
    if f".{suffix}" not in PROJECTIONS:
        raise NotFound(
            f"A training run can be had as {', '.join(form[1:] for form in PROJECTIONS)}, but not as {suffix[:20]!r}."
        )
    row = services.surface_row(surface_id)
    run = run_of(services.surface_result(surface_id))
    if run is None:
        raise NotFound("The surface has no training run; ask for one with plane.trajectory or principal directions.")
    content = projection_bytes(run, f".{suffix}")
    return _file(content, MEDIA_TYPES[suffix], f"{_plain(row.title)}-{surface_id[:8]}.projection.{suffix}")


def _file(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})


def _plain(title: str) -> str:
    """A title as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60] or "surface"
