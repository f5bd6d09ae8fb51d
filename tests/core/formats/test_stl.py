"""Solids: closed, outwards, of the right volume, whatever holes there are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.formats import stl
from landscape_core.formats.heights import whole_facets
from landscape_core.results import Surface

from .surfaces import bowl, over, perforated

NAN = np.nan
LAYOUT = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def triangles(data: bytes) -> np.ndarray:
    """(n, 3, 3) float64 corners, with the file's frame and normals checked."""
    assert not data.startswith(b"solid")  # that would be a text file
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    records = np.frombuffer(data[84:], LAYOUT)
    assert not records["attributes"].any()
    corners = records["corners"].astype(np.float64)
    assert np.isfinite(corners).all()
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    assert (lengths > 0).all()
    np.testing.assert_allclose(records["normal"], normals / lengths, atol=1e-6)
    return corners


def assert_closed(corners: np.ndarray) -> None:
    """Every edge belongs to two triangles, once in each sense; the triangles at each corner form one ring."""
    names = [[tuple(point) for point in triangle] for triangle in corners.tolist()]
    edges = Counter((t[k], t[(k + 1) % 3]) for t in names for k in range(3))
    assert set(edges.values()) == {1}
    assert {(b, a) for a, b in edges} == set(edges)
    after: dict[tuple, dict[tuple, tuple]] = {}
    for t in names:
        for k in range(3):
            after.setdefault(t[k], {})[t[(k + 1) % 3]] = t[(k + 2) % 3]
    for ring in after.values():
        start = place = next(iter(ring))
        steps = 0
        while steps == 0 or place != start:
            place, steps = ring[place], steps + 1
        assert steps == len(ring)


def volume(corners: np.ndarray) -> float:
    """Signed: positive if the normals point outwards (divergence theorem)."""
    return float((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def under_facets(surface: Surface, size: float = 100, ratio: float = 0.66, base: float = 3) -> float:
    """The volume under all whole facets, each bent from its first to its third corner, without the slivers; facet by facet."""
    whole, z = whole_facets(surface.loss), surface.loss
    drawn = [z[j : j + 2, i : i + 2] for j, i in np.argwhere(whole)]
    low, high = float(np.min(drawn)), float(np.max(drawn))
    span = max(np.ptp(surface.x), np.ptp(surface.y))

    def there(j: int, i: int) -> bool:
        return 0 <= j < whole.shape[0] and 0 <= i < whole.shape[1] and bool(whole[j, i])

    total = 0.0
    for j, i in np.argwhere(whole):
        area = size**2 * (surface.x[i + 1] - surface.x[i]) / span * (surface.y[j + 1] - surface.y[j]) / span
        losses = np.array([z[j, i], z[j, i + 1], z[j + 1, i + 1], z[j + 1, i]])
        part = (
            0.25 if max(abs(low), abs(high)) > 1 else 1.0
        )  # a difference of huge losses overflows, a part of tiny ones vanishes
        share = losses * 0 if high == low else (losses * part - low * part) / (high * part - low * part)
        h = base + share * size * ratio
        total += area / 2 * (h[[0, 1, 2]].mean() + h[[0, 2, 3]].mean())
        for k, (down, right) in enumerate(((-1, -1), (-1, 1), (1, 1), (1, -1))):
            if there(j + down, i + right) and not there(j + down, i) and not there(j, i + right):
                own, after, opposite, before = np.roll(h, -k)
                moved = own + stl.SLIT * ((opposite - own) if k % 2 == 0 else (after + before - 2 * own))
                total -= stl.SLIT * area / 2 * ((before + own + moved) / 3 + (own + after + moved) / 3)
    return total


def test_a_constant_surface_is_a_plate():
    corners = triangles(stl.dump(over([-1, 0, 1], [-0.5, 0, 0.5], np.full((3, 3), 2.5))))
    assert_closed(corners)
    assert (corners.min(axis=(0, 1)).tolist(), corners.max(axis=(0, 1)).tolist()) == ([0, 0, 0], [100, 50, 3])
    assert volume(corners) == pytest.approx(100 * 50 * 3, rel=1e-6)


def test_a_tilted_plane_is_a_wedge_of_its_closed_form():
    x, y = np.linspace(-2, 2, 5), np.linspace(0, 1, 4)
    corners = triangles(
        stl.dump(over(x.tolist(), y.tolist(), x[None, :] + 4 * y[:, None]), size_mm=80.0, height_ratio=0.5, base_mm=2.0)
    )
    assert_closed(corners)
    assert corners.max(axis=(0, 1)).tolist() == [80, 20, 42]
    assert volume(corners) == pytest.approx(80 * 20 * (2 + 40 / 2), rel=1e-6)
    assert len(corners) == 2 * 12 + 14 + 2 * 14


def test_up_is_up_and_x_and_y_are_not_exchanged():
    loss = np.zeros((3, 4))
    loss[2, 0] = 1  # at the least x and the greatest y
    corners = triangles(stl.dump(over([0, 1, 2, 3], [0, 1, 2], loss)))
    peak = corners.reshape(-1, 3)[corners.reshape(-1, 3)[:, 2].argmax()]
    np.testing.assert_allclose(peak, [0, 200 / 3, 69], rtol=1e-6)


def test_walls_stand_around_a_hole():
    loss = np.zeros((5, 5))
    loss[2, 2] = NAN
    corners = triangles(stl.dump(over([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], loss)))
    assert_closed(corners)
    assert volume(corners) == pytest.approx((16 - 4) * 25**2 * 3, rel=1e-6)
    middle = corners.mean(axis=1)
    assert not ((middle[:, :2] > 26) & (middle[:, :2] < 74)).all(axis=1).any()


def height_at(surface: Surface, place: np.ndarray, size: float = 100, ratio: float = 0.66, base: float = 3) -> float:
    """Height of a square unit grid's facet, bent from its least corner to its greatest, at a place inside it."""
    z = (surface.loss - np.nanmin(surface.loss)) / (np.nanmax(surface.loss) - np.nanmin(surface.loss)) * size * ratio + base
    at = place[:2] / size * (surface.x.size - 1)
    i, j = np.minimum(at.astype(int), surface.x.size - 2)
    u, v = at - (i, j)
    (a, b), (d, c) = z[j : j + 2, i : i + 2]
    return a + u * (b - a) + v * (c - b) if u >= v else a + v * (d - a) + u * (c - d)


@pytest.mark.parametrize("flip", [False, True])
def test_facets_that_touch_in_a_corner_alone_are_kept_apart_and_stay_in_their_planes(flip):
    loss = np.array([[0, 1, NAN], [2, 5, 3], [NAN, 1, 4]])
    surface = over([0, 1, 2], [0, 1, 2], loss[:, ::-1] if flip else loss)
    corners = triangles(stl.dump(surface))
    assert_closed(corners)
    assert len({tuple(p) for p in corners.reshape(-1, 3).tolist()}) == 2 * 8
    top = corners.reshape(-1, 3)[corners.reshape(-1, 3)[:, 2] > 0]
    moved = top[(np.abs(top[:, :2] - 50) < 2).all(axis=1)]
    assert {tuple(np.round(p, 3)) for p in moved[:, :2].tolist()} == (
        {(49.0, 51.0), (51.0, 49.0)} if flip else {(49.0, 49.0), (51.0, 51.0)}
    )
    for place in moved:
        assert place[2] == pytest.approx(height_at(surface, place), abs=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_a_diagonal_of_facets_falls_into_as_many_closed_plates(flip):
    known = np.abs(np.subtract.outer(range(6), range(6))) <= 1
    surface = over(list(range(6)), list(range(6)), np.where(known[:, ::-1] if flip else known, 1.0, NAN))
    corners = triangles(stl.dump(surface))
    assert_closed(corners)
    assert len(corners) == 5 * 12
    assert volume(corners) == pytest.approx((5 - 8 * stl.SLIT) * 20**2 * 3, rel=1e-6)  # a corner takes SLIT of the area along


def test_what_cannot_be_printed_is_refused():
    with pytest.raises(SurfaceRejected, match=r"A .stl needs at least 2 x 2 cells: a curve has no area"):
        stl.dump(bowl(9, None))
    with pytest.raises(SurfaceRejected, match="at least 2 x 2 cells"):
        stl.dump(bowl(9, 1))
    with pytest.raises(SurfaceRejected, match="no finite loss"):
        stl.dump(over([0, 1], [0, 1], [[NAN] * 2] * 2))
    with pytest.raises(SurfaceRejected, match="four neighbouring cells with finite losses, but there are none"):
        stl.dump(over([0, 1], [0, 1], [[1, 2], [3, NAN]]))
    for x in ([0, 1e-5, 1], [-1e300, 0, 1e300]):
        with pytest.raises(SurfaceRejected, match=r"too uneven for a \.stl"):
            stl.dump(over(x, [0, 0.5, 1], np.ones((3, 3))))
    for wrong in ({"size_mm": 0.0}, {"size_mm": NAN}, {"height_ratio": -1.0}, {"base_mm": 0.0}, {"base_mm": 1e7}):
        with pytest.raises(InvalidRequest, match=r"should be from 1e-6 to 1e6, but .* came"):
            stl.dump(bowl(), **wrong)
    with pytest.raises(InvalidRequest, match=r"should have at least 10 mm, but 1 came"):
        stl.dump(bowl(), size_mm=1e6, base_mm=1.0)


def test_the_same_bytes_and_the_request_in_the_header():
    surface = bowl()
    assert stl.dump(surface) == stl.dump(surface)
    assert stl.dump(surface)[:80].rstrip() == f"Loss Atlas surface, mm, z up, {surface.request.digest[:16]}".encode()


@settings(max_examples=150, deadline=None)
@given(surface=perforated())
def test_any_surface_is_closed_outwards_and_of_the_volume_under_its_facets(surface: Surface):
    if not whole_facets(surface.loss).any():
        with pytest.raises(SurfaceRejected):
            stl.dump(surface)
        return
    corners = triangles(stl.dump(surface))
    assert_closed(corners)
    z = corners[:, :, 2]
    assert z.min() == 0
    assert 3 <= z.max() <= 69.001
    assert volume(corners) == pytest.approx(under_facets(surface), rel=1e-5)
