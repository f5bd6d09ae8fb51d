"""A surface as a 3-D model for slides, documents and the web: binary glTF 2.0 (`.glb`).

One mesh of triangles, whose longer side has one glTF unit (a metre): x to the right, the height upwards along y, the second
direction away from the viewer along -z, so that the axes stay right-handed. It stands on y = 0 above the origin, and the
highest point lies `HEIGHT_RATIO` above the lowest. Facets with a corner that is not finite are left out; there is no base.

Colours go with the heights, viridis from lowest to highest, as linear light, which is what COLOR_0 means (Khronos, *glTF 2.0
Specification*, 3.9.2). Normals are the sums of the adjacent triangles', weighted by their area; they concern the shading alone.
`meshes[0].extras` says how to get coordinates and losses back, and which surface this is.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from landscape_core.formats.heights import HEIGHT_RATIO, LOG_OFFSET, Body, heights
from landscape_core.results import NOT_COMPUTED, Surface

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942


def dump(surface: Surface, *, log: bool = False, max_loss: float | None = None) -> bytes:
    """The content of the surface's `.glb`, the same bytes each time.

    Args:
        surface: What to write.
        log: Heights are ln(loss + 0.1).
        max_loss: Higher losses are lowered to this one, so that they make a flat top.

    Raises:
        InvalidRequest: If `max_loss` is not finite, or a loss has no logarithm.
        SurfaceRejected: If it is a curve, has no whole facet, or a grid too fine or too uneven for a mesh.
    """
    z = heights(surface, log=log, max_loss=max_loss)
    body = Body.of(surface, z, size=1.0, height_ratio=HEIGHT_RATIO, form=".glb")
    used, numbered = np.unique(body.corners, return_inverse=True)
    corners = numbered.reshape(-1, 4)
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    across, along, up = (body.places[used] - (body.x[-1] / 2, body.y[-1] / 2, 0)).T
    positions = np.stack([across, up, -along], axis=-1)
    arrays = [
        (positions.astype("<f4"), {"componentType": _FLOAT, "type": "VEC3"}),
        (_normals(positions, triangles).astype("<f4"), {"componentType": _FLOAT, "type": "VEC3"}),
        (_colours(up), {"componentType": _UINT16, "normalized": True, "type": "VEC4"}),
        (triangles.ravel().astype("<u4"), {"componentType": _UINT32, "type": "SCALAR"}),
    ]
    views, accessors, binary = _packed(arrays)
    accessors[0] |= {"min": arrays[0][0].min(axis=0).tolist(), "max": arrays[0][0].max(axis=0).tolist()}
    document = _document(views, accessors, len(binary), _extras(surface, body, log=log, max_loss=max_loss))
    return _container(json.dumps(document, separators=(",", ":"), allow_nan=False).encode(), binary)


def _normals(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(vertices, 3) of length 1. No sum is zero, as every triangle of a surface above a plane faces upwards."""
    first, second, third = (positions[triangles[:, k]] for k in range(3))
    faces = np.cross(second - first, third - first)
    sums = np.stack(
        [sum(np.bincount(triangles[:, k], faces[:, axis], len(positions)) for k in range(3)) for axis in range(3)], axis=-1
    )
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def _colours(up: np.ndarray) -> np.ndarray:
    """(vertices, 4) viridis of the heights, opaque, as linear light (IEC 61966-2-1's transfer function) in units of 1/65535."""
    import matplotlib as mpl  # noqa: PLC0415  takes a while to import

    shade = mpl.colormaps["viridis"](up / (up.max() or 1.0))
    light = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    light[:, 3] = 1.0
    return np.rint(light * 65535).astype("<u2")


def _packed(arrays: list[tuple[np.ndarray, dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bytes]:
    """A buffer view and an accessor for each array, and the buffer; every array has a multiple of four bytes."""
    views, accessors, start = [], [], 0
    for index, (array, description) in enumerate(arrays):
        target = _ELEMENT_ARRAY_BUFFER if description["type"] == "SCALAR" else _ARRAY_BUFFER
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": index, "count": len(array), **description})
        start += array.nbytes
    return views, accessors, b"".join(array.tobytes() for array, _ in arrays)


def _document(
    views: list[dict[str, Any]], accessors: list[dict[str, Any]], size: int, extras: dict[str, Any]
) -> dict[str, Any]:
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    return {
        "asset": {"version": "2.0", "generator": "Loss Atlas"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "Loss surface"}],
        "meshes": [
            {
                "name": "Loss surface",
                "primitives": [{"attributes": attributes, "indices": 3, "material": 0, "mode": 4}],
                "extras": extras,
            }
        ],
        "materials": [
            {"name": "Loss", "doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}
        ],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": size}],
    }


def _extras(surface: Surface, body: Body, *, log: bool, max_loss: float | None) -> dict[str, Any]:
    """What the numbers of the mesh mean: α = x / per_coordinate + centre[0], height = y / per_height + lowest, and so on."""
    assert surface.y is not None  # noqa: S101  Body.of refuses curves
    loss = surface.loss[np.isfinite(surface.loss)]
    return {
        "x": surface.x.tolist(),
        "y": surface.y.tolist(),
        "centre": [float(axis[0] / 2 + axis[-1] / 2) for axis in (surface.x, surface.y)],
        "per_coordinate": _finite(body.per_coordinate),
        "height": f"ln(loss + {LOG_OFFSET})" if log else "loss",
        "max_loss": max_loss,
        "lowest": body.lowest,
        "highest": body.highest,
        "per_height": _finite(body.per_height),
        "loss": [float(loss.min()), float(loss.max())],
        "not_computed": int((surface.state == NOT_COMPUTED).sum()),
        "not_finite": surface.not_finite,
        "request": None if surface.request is None else surface.request.digest,
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if np.isfinite(value) else None


def _container(text: bytes, binary: bytes) -> bytes:
    """The file of these two chunks, each padded to a multiple of four bytes (*glTF 2.0 Specification*, 4.4)."""
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    header = np.array([_MAGIC, _VERSION, 12 + 8 + len(text) + 8 + len(binary)], "<u4").tobytes()
    return b"".join((header, _chunk(_JSON, text), _chunk(_BIN, binary)))


def _chunk(kind: int, content: bytes) -> bytes:
    return np.array([len(content), kind], "<u4").tobytes() + content
