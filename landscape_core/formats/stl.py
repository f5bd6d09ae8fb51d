"""A surface as a solid for 3-D printing: binary `.stl`, millimetres, z upwards.

The solid stands on a flat base at z = 0. Its top is the surface, from `base_mm` at the lowest height upwards; walls close it at
the grid's border and around holes, which go through to the base. x and y keep their proportion, the longer side of the grid,
holes and all, has `size_mm`, and the highest point lies `height_ratio` · `size_mm` above the lowest. Where all losses are equal
the solid is a plate.

Every edge belongs to exactly two triangles, which run along it in opposite senses: the solid is closed and has an inside
(3D Systems, *StereoLithography Interface Specification*, 1989: the facet rule and the vertex-to-vertex rule). Two facets that
touch in one corner alone would share an upright edge between four walls; there each loses a sliver of its corner, `SLIT` of its
diagonal, along its own planes. No height is changed by it.
"""

from __future__ import annotations

import numpy as np

from landscape_core.errors import InvalidRequest
from landscape_core.formats.heights import HEIGHT_RATIO, Body, check_measure, heights, whole_facets
from landscape_core.results import Surface

SIZE_MM, BASE_MM = 100.0, 3.0
SLIT = 0.02
"""How far a corner is drawn back where two facets touch in it alone, as a share of the facet's diagonal."""

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def dump(
    surface: Surface,
    *,
    log: bool = False,
    max_loss: float | None = None,
    size_mm: float = SIZE_MM,
    height_ratio: float = HEIGHT_RATIO,
    base_mm: float = BASE_MM,
) -> bytes:
    """The content of the surface's `.stl`.

    Args:
        surface: What to write.
        log: Heights are ln(loss + 0.1).
        max_loss: Higher losses are lowered to this one, so that they make a flat top.
        size_mm: Length of the grid's longer side.
        height_ratio: Highest minus lowest point, as a share of `size_mm`.
        base_mm: Thickness under the lowest point.

    Raises:
        InvalidRequest: If `max_loss` is not finite, a loss has no logarithm, or a measure is no length.
        SurfaceRejected: If it is a curve, has no whole facet, or a grid too fine or too uneven to be a solid.
    """
    check_measure("base", base_mm)
    if base_mm < size_mm * 1e-5:
        raise InvalidRequest(f"The base should have at least {size_mm * 1e-5:g} mm, but {base_mm:g} came.")
    z = heights(surface, log=log, max_loss=max_loss)
    body = Body.of(surface, z, size=size_mm, height_ratio=height_ratio, form=".stl")
    whole = whole_facets(z)
    places, corners = _drawn_back(body, _touching(whole))
    top = (places + np.array([0, 0, base_mm])).astype(np.float32)
    triangles = _triangles(top, corners, _border(corners), full=bool(whole.all()))
    record = np.zeros(len(triangles), _TRIANGLE)
    record["corners"] = triangles
    record["normal"] = _normals(triangles.astype(np.float64))
    header = b"Loss Atlas surface, mm, z up"
    if surface.request is not None:
        header += b", " + surface.request.digest[:16].encode()
    return header.ljust(80) + np.uint32(len(record)).astype("<u4").tobytes() + record.tobytes()


def _touching(whole: np.ndarray) -> np.ndarray:
    """(ny, nx) at which cells two facets touch in that corner alone."""
    around = np.pad(whole, 1)
    south_west, south_east, north_west, north_east = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    rising = south_west & north_east & ~south_east & ~north_west
    falling = south_east & north_west & ~south_west & ~north_east
    return rising | falling


def _drawn_back(body: Body, touching: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells' places with further ones for corners that are drawn back, and the facets' corners among them.

    A facet is the triangles (0, 1, 2) and (0, 2, 3) of its corners. A new place lies in the planes of the old one's triangles.
    """
    places, corners = body.places, body.corners.copy()
    facet, at = np.nonzero(touching.ravel()[corners])
    if not facet.size:
        return places, corners
    own, after, opposite, before = (places[body.corners[facet, (at + turn) % 4]] for turn in range(4))
    moved = own + SLIT * (opposite - own)
    beside = own + SLIT * (after + before - 2 * own)  # in the plane of the triangle before, own, after
    moved[:, 2] = np.where(at % 2 == 0, moved[:, 2], beside[:, 2])
    corners[facet, at] = len(places) + np.arange(facet.size)
    return np.concatenate([places, moved]), corners


def _border(corners: np.ndarray) -> np.ndarray:
    """(edges, 2) the facets' edges that no other facet runs along, with the facet to the left."""
    edges = np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2).astype(np.int64)
    width = int(corners.max()) + 1
    ahead, back = edges[:, 0] * width + edges[:, 1], edges[:, 1] * width + edges[:, 0]
    return edges[~np.isin(ahead, back, assume_unique=True)]


def _triangles(top: np.ndarray, corners: np.ndarray, border: np.ndarray, *, full: bool) -> np.ndarray:
    """(triangles, 3, 3) top, base and walls, counter-clockwise as seen from outside.

    A grid without a hole has a base of few triangles, which fan out from its middle; otherwise the base mirrors the top.
    """
    base = top * np.array([1, 1, 0], np.float32)
    halves = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    start, end = border.T
    middle = np.broadcast_to(base.max(axis=0) / 2, (len(border), 3))
    below = np.stack([middle, base[end], base[start]], axis=1) if full else base[halves[:, ::-1]]
    walls = [(base[start], base[end], top[end]), (base[start], top[end], top[start])]
    return np.concatenate([top[halves], below, *(np.stack(wall, axis=1) for wall in walls)])


def _normals(triangles: np.ndarray) -> np.ndarray:
    """(triangles, 3) of length 1, outwards."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
