"""A surface for ParaView and VTK: PolyData in XML (`.vtp`), as the export of Li et al.'s code writes it (h52vtp.py).

The points are (x, y, height), with the height again as the point data `zvalue`; each facet is a quadrilateral with the mean
of its corners as the cell data `averaged zvalue`. A curve is a polyline at y = 0. What belongs to no facet or line is a vertex,
so that nothing measured is lost. Numbers carry as many digits as bring back the same float64.

Where all losses are finite and nx = ny, the file holds what the original's does. Elsewhere it differs on purpose: the original
gives a hole the height nan, and draws facets at it, where we leave out the point and the facets; it takes every grid for a
square one; and it lowers +inf to its limit, which for us stays a hole. Its RangeMin and RangeMax of indices are numbers of
cells; VTK does not look at them, and we write the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from landscape_core.formats.heights import heights, whole_facets
from landscape_core.results import Surface

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def dump(surface: Surface, *, log: bool = False, max_loss: float | None = None) -> bytes:
    """The content of the surface's `.vtp`, ASCII.

    Args:
        surface: What to write.
        log: Heights are ln(loss + 0.1), the original's `--log`.
        max_loss: Higher losses are lowered to this one, the original's `--zmax`.

    Raises:
        InvalidRequest: If `max_loss` is not finite, or a loss has no logarithm.
        SurfaceRejected: If no loss is finite, or there are too many.
    """
    z = heights(surface, log=log, max_loss=max_loss)
    known = np.isfinite(z).ravel()
    number = np.cumsum(known) - 1  # of the points among those that are written
    across, along = np.meshgrid(surface.x, np.zeros(1) if surface.y is None else surface.y)
    points = np.stack([across, along, z], axis=-1).reshape(-1, 3)[known]
    polys = number[_facets(z)]
    lines = [number[line] for line in _lines(z)]
    alone = np.setdiff1d(np.arange(len(points)), np.concatenate([polys.ravel(), *lines]))
    means = _means(points[:, 2], polys)
    averages = [*points[alone, 2], *(_mean(points[line, 2]) for line in lines), *means]
    return "\n".join(_document(points, averages, alone[:, None], lines, polys)).encode("ascii")


def _facets(z: np.ndarray) -> np.ndarray:
    """(facets, 4) cells at the corners of each whole facet, counter-clockwise from the least x and y."""
    columns = z.shape[1]
    rows_of, columns_of = np.nonzero(whole_facets(z)) if min(z.shape) > 1 else (np.empty(0, int), np.empty(0, int))
    return (rows_of * columns + columns_of)[:, None] + np.array([0, 1, columns + 1, columns])


def _lines(z: np.ndarray) -> list[np.ndarray]:
    """The runs of two and more neighbouring cells of a curve, or of a grid of one row or column; of a surface none."""
    if min(z.shape) > 1:
        return []
    known = np.flatnonzero(np.isfinite(z))
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return [run for run in runs if run.size > 1]


def _means(z: np.ndarray, polys: np.ndarray) -> np.ndarray:
    """The mean height of each facet's corners, added in the original's order, so that they agree to the last bit."""
    a, b, c, d = z[polys].T
    with np.errstate(over="ignore"):
        means = (a + b + d + c) / 4.0
    return np.where(np.isfinite(means), means, a / 4 + b / 4 + d / 4 + c / 4)


def _mean(z: np.ndarray) -> float:
    return float((z / z.size).sum())


def _document(
    points: np.ndarray, averages: Sequence[float], verts: np.ndarray, lines: Sequence[np.ndarray], polys: np.ndarray
) -> Iterable[str]:
    """The lines of the file; the last is empty."""
    z = points[:, 2]
    number = "Float32" if np.abs(points).max() <= _FLOAT32_MAX else "Float64"
    yield '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
    yield "  <PolyData>"
    counts = (("Points", points), ("Verts", verts), ("Lines", lines), ("Strips", ()), ("Polys", polys))
    sizes = " ".join(f'NumberOf{name}="{len(items)}"' for name, items in counts)
    yield f"    <Piece {sizes}>"
    yield "      <PointData>"
    yield from _array(number, 'Name="zvalue" NumberOfComponents="1"', _texts(z), 6, (z.min(), z.max()))
    yield "      </PointData>"
    yield "      <CellData>"
    limits = (min(averages), max(averages))
    yield from _array(number, 'Name="averaged zvalue" NumberOfComponents="1"', _texts(averages), 6, limits)
    yield "      </CellData>"
    yield "      <Points>"
    triples = [" ".join(map(repr, point)) for point in points.tolist()]
    yield from _array(number, 'Name="Points" NumberOfComponents="3"', triples, 2, (points.min(), points.max()))
    yield "      </Points>"
    yield from _cells("Verts", verts, len(points), 6)
    yield from _cells("Lines", lines, len(polys), 2)
    yield from _cells("Strips", (), len(polys), 2)
    yield from _cells("Polys", polys, len(polys), 2)
    yield from ("    </Piece>", "  </PolyData>", "</VTKFile>", "")


def _cells(name: str, cells: Iterable[np.ndarray], count: int, per_row: int) -> Iterable[str]:
    """The lines of one kind of cells, with the ranges that the original gives it: by a count, whatever the indices are."""
    lists = [cell.tolist() for cell in cells]
    offsets = np.cumsum([len(cell) for cell in lists], dtype=int).tolist()
    yield f"      <{name}>"
    corners = [" ".join(map(str, cell)) for cell in lists]
    yield from _array("Int64", 'Name="connectivity"', corners, per_row, (0, max(count - 1, 0)))
    yield from _array("Int64", 'Name="offsets"', [str(offset) for offset in offsets], 6, (1, max(count, 1)))
    yield f"      </{name}>"


def _array(kind: str, named: str, texts: Sequence[str], per_row: int, limits: tuple[float | int, float | int]) -> Iterable[str]:
    """The lines of one DataArray. A last row that is not full ends with a space, as the original's does."""
    low, high = limits
    yield f'        <DataArray type="{kind}" {named} format="ascii" RangeMin="{low}" RangeMax="{high}">'
    for begin, end in pairwise([*range(0, len(texts), per_row), len(texts)] if texts else []):
        yield f"          {' '.join(texts[begin:end])}{'' if end - begin == per_row else ' '}"
    yield "        </DataArray>"


def _texts(values: Iterable[float]) -> list[str]:
    return [repr(float(value)) for value in values]
