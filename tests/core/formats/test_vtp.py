from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings

from landscape_core import formats
from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.formats import vtp
from landscape_core.results import Surface

from .surfaces import bowl, over, surfaces

NAN = np.nan


class PolyData:
    """A `.vtp` as VTK reads it."""

    def __init__(self, text: bytes) -> None:
        root = ElementTree.fromstring(text)
        assert root.attrib == {"type": "PolyData", "version": "1.0", "byte_order": "LittleEndian", "header_type": "UInt64"}
        (piece,) = root.findall("PolyData/Piece")
        self.counts = {name.removeprefix("NumberOf"): int(count) for name, count in piece.attrib.items()}
        self.kinds, self.ranges = {}, {}
        self.z = self._values(piece, "PointData", "zvalue")
        self.means = self._values(piece, "CellData", "averaged zvalue")
        self.points = self._values(piece, "Points", "Points").reshape(-1, 3)
        self.cells = {}
        for kind in ("Verts", "Lines", "Strips", "Polys"):
            connectivity = self._values(piece, kind, "connectivity")
            offsets = self._values(piece, kind, "offsets")
            assert connectivity.size == (offsets[-1] if offsets.size else 0)
            self.cells[kind] = [c.tolist() for c in np.split(connectivity, offsets[:-1])] if offsets.size else []
            assert len(self.cells[kind]) == self.counts[kind]
        assert len(self.points) == len(self.z) == self.counts["Points"]
        assert len(self.means) == sum(map(len, self.cells.values()))

    def _values(self, piece: ElementTree.Element, part: str, name: str) -> np.ndarray:
        (array,) = [a for a in piece.findall(f"{part}/DataArray") if a.get("Name") == name]
        self.kinds[name] = array.get("type")
        self.ranges[f"{part} {name}"] = (float(array.get("RangeMin")), float(array.get("RangeMax")))
        words = (array.text or "").split()
        return np.array(words, np.int64 if array.get("type") == "Int64" else np.float64)


def grid_cells(rows: int, columns: int) -> list[list[int]]:
    corners = ((j * columns + i) for j in range(rows - 1) for i in range(columns - 1))
    return [[k, k + 1, k + columns + 1, k + columns] for k in corners]


@pytest.mark.reference
def test_the_original_s_export_is_met_but_for_the_hole(reference: Path):
    """h52vtp.py --zmax 10 --log. The surface has one NaN, in its last cell, which the original writes as `nan`."""
    surface = formats.load(reference / "recorded_surfaces/zhenyu_31x31.h5")
    ours = PolyData(formats.to_bytes(surface, ".vtp", log=True, max_loss=10.0))
    theirs = PolyData((reference / "recorded_surfaces/zhenyu_31x31.vtp").read_bytes())
    assert np.flatnonzero(np.isnan(theirs.z)).tolist() == [960]
    assert (len(ours.points), len(ours.cells["Polys"])) == (960, 899)
    np.testing.assert_allclose(ours.points, theirs.points[:-1], rtol=1e-15)
    np.testing.assert_allclose(ours.z, theirs.z[:-1], rtol=1e-15)
    assert ours.cells["Polys"] == theirs.cells["Polys"][:-1]
    assert 960 in theirs.cells["Polys"][-1]
    np.testing.assert_allclose(ours.means, theirs.means[:-1], rtol=1e-15)
    assert ours.kinds == theirs.kinds
    for part in ("PointData zvalue", "CellData averaged zvalue", "Points Points"):
        assert ours.ranges[part] == pytest.approx(theirs.ranges[part], rel=1e-15)


@pytest.mark.reference
def test_where_all_is_finite_the_lines_are_the_original_s(reference: Path):
    """The recorded file with a number for its one `nan` is a file of the original's for that number."""
    recorded = (reference / "recorded_surfaces/zhenyu_31x31.vtp").read_text()
    surface = formats.load(reference / "recorded_surfaces/zhenyu_31x31.h5")
    loss = np.where(np.isnan(surface.loss), 1e30, surface.loss)
    text = formats.to_bytes(over(surface.x.tolist(), surface.y.tolist(), loss), ".vtp", log=True, max_loss=10.0).decode()
    assert len(text.splitlines()) == len(recorded.splitlines())
    for ours, theirs in zip(text.splitlines(), recorded.replace("nan", "2.312535423847214").splitlines(), strict=True):
        assert ours.split("=")[0] == theirs.split("=")[0] or np.allclose(
            np.array(ours.split(), float), np.array(theirs.split(), float), rtol=1e-15, atol=0
        )
        assert len(ours) - len(ours.lstrip()) == len(theirs) - len(theirs.lstrip())


def test_the_numbers_are_written_as_they_are():
    surface = bowl(4, 3)
    mesh = PolyData(vtp.dump(surface))
    places = [[x, y, z] for y, row in zip(surface.y, surface.loss, strict=True) for x, z in zip(surface.x, row, strict=True)]
    np.testing.assert_array_equal(mesh.points, places)
    np.testing.assert_array_equal(mesh.z, surface.loss.ravel())
    assert mesh.cells == {"Verts": [], "Lines": [], "Strips": [], "Polys": grid_cells(3, 4)}
    corners = surface.loss.ravel()[np.array(mesh.cells["Polys"])]
    np.testing.assert_allclose(mesh.means, corners.mean(axis=1), rtol=1e-15)
    assert mesh.ranges["PointData zvalue"] == (surface.loss.min(), surface.loss.max())


def test_a_hole_takes_its_facets_along_and_nothing_else():
    loss = np.arange(12.0).reshape(3, 4)
    loss[1, 1] = NAN
    mesh = PolyData(vtp.dump(over([0, 1, 2, 3], [0, 1, 2], loss)))
    assert mesh.z.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert mesh.cells["Polys"] == [[2, 3, 6, 5], [5, 6, 10, 9]]
    assert mesh.means.tolist() == [0.0, 1.0, 4.0, 8.0, 9.0, 4.5, 8.5]
    assert mesh.cells["Verts"] == [[0], [1], [4], [7], [8]]


def test_a_curve_is_a_line_that_breaks_at_holes():
    mesh = PolyData(vtp.dump(over([0, 1, 2, 3, 4, 5], None, [1, 2, NAN, 4, NAN, 6])))
    assert mesh.points.tolist() == [[0, 0, 1], [1, 0, 2], [3, 0, 4], [5, 0, 6]]
    assert mesh.cells == {"Verts": [[2], [3]], "Lines": [[0, 1]], "Strips": [], "Polys": []}
    assert mesh.means.tolist() == [4.0, 6.0, 1.5]
    upright = PolyData(vtp.dump(over([7], [0, 1, 2], [[1], [2], [3]])))
    assert upright.points.tolist() == [[7, 0, 1], [7, 1, 2], [7, 2, 3]]
    assert upright.cells["Lines"] == [[0, 1, 2]]
    assert PolyData(vtp.dump(over([7], [1], [[2]]))).cells["Verts"] == [[0]]


def test_logarithm_and_limit_change_the_heights_as_the_original_does():
    surface = over([0, 1], [0, 1], [[0.5, 3], [20, 1e300]])
    mesh = PolyData(vtp.dump(surface, log=True, max_loss=10.0))
    np.testing.assert_allclose(mesh.z, np.log([0.6, 3.1, 10.1, 10.1]), rtol=1e-15)
    assert PolyData(vtp.dump(surface, max_loss=0.5)).z.tolist() == [0.5] * 4
    with pytest.raises(InvalidRequest, match=r"needs losses above -0.1, but -0.25 occurs"):
        vtp.dump(over([0, 1], [0, 1], [[1, -0.25], [2, 3]]), log=True)
    for wrong in (NAN, np.inf):
        with pytest.raises(InvalidRequest, match=r"highest loss should be a finite number, but (nan|inf) came"):
            vtp.dump(surface, max_loss=wrong)


def test_more_than_float32_holds_is_said_to_be_float64():
    assert PolyData(vtp.dump(over([0, 1], [0, 1], [[1, 1e39], [2, 1.7e308]]))).kinds["zvalue"] == "Float64"
    mesh = PolyData(vtp.dump(over([0, 1], [0, 1], [[1.7e308] * 2] * 2)))
    np.testing.assert_allclose(mesh.means, [1.7e308])


def test_what_has_no_shape_is_refused():
    with pytest.raises(SurfaceRejected, match="no finite loss, so it has no shape"):
        vtp.dump(over([0, 1], [0, 1], [[NAN] * 2] * 2))
    axis = np.linspace(0, 1, 726).tolist()
    with pytest.raises(SurfaceRejected, match=r"at most 524,288 facets, but 726 x 726 cells"):
        vtp.dump(over(axis, axis, np.ones((726, 726))))


@settings(max_examples=150, deadline=None)
@given(surface=surfaces())
def test_any_surface_is_written_with_every_finite_cell_and_no_other(surface: Surface):
    if not np.isfinite(surface.loss).any():
        return
    mesh = PolyData(vtp.dump(surface))
    assert np.array_equal(mesh.z, surface.loss[np.isfinite(surface.loss)])
    assert np.isfinite(mesh.points).all()
    assert np.isfinite(mesh.means).all()
    used = {k for cells in mesh.cells.values() for cell in cells for k in cell}
    assert used == set(range(len(mesh.points)))
    assert all(len(set(cell)) == 4 for cell in mesh.cells["Polys"])
