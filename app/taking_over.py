"""What surfaces with the same units have found becomes another's, and is not computed again.

So an exact surface goes on from a fast one, and a fast one from another of another tolerance. Blobs are copied, because each
surface may be deleted without the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.gathering import Gathering
from landscape_core.errors import NotFound
from worker.blobs import BlobStore, DamagedBlob, derived_key, surface_prefix, unit_key

log = logging.getLogger(__name__)


def take_over(blobs: BlobStore, gathering: Gathering, fold: Callable[[int], bool]) -> None:
    """Copies units, and the directions that they were measured along; what is damaged or gone is computed again.

    Args:
        blobs: Where results are.
        gathering: Of the surface that takes over; its job says from which.
        fold: Takes in one of its own units.
    """
    surface = gathering.job.surface
    for source in gathering.job.units_of:
        _copy(blobs, derived_key(source), derived_key(surface))
        prefix = f"{surface_prefix(source)}units/"
        for key in blobs.list(prefix):
            name = key.removeprefix(prefix).partition(".")[0]
            if name.isdigit() and int(name) < gathering.units and not gathering.is_done(int(name)):
                _copy(blobs, key, unit_key(surface, int(name)))
                fold(int(name))


def _copy(blobs: BlobStore, source: str, target: str) -> None:
    try:
        blobs.put_if_absent(target, blobs.get(source))
    except (NotFound, DamagedBlob) as error:
        log.info("%s is not taken over: %s", source, error)
