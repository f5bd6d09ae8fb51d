"""The way of a run over a drawn surface: on it, cut at the rim, never moved; and in figures and pictures."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landscape_core.drawn_way import drawn_way
from landscape_core.figures import figure
from landscape_core.formats.png import render_png
from landscape_core.projection import Projection, run_of
from landscape_core.results import MEASURED, Surface

PLACES = [[-1.5, 0.0], [-0.5, 0.3], [0.25, -0.25], [0.0, 0.0]]
TRAJECTORY = {
    "coordinates": PLACES,
    "off_plane": [3.0, 2.0, None, 0.0],
    "explained_variance_ratio": [0.75, 0.125],
    "own_loss": [9.0, 4.0, 1.0, 0.5],
    "plane_loss": [8.0, 3.0, 1.5, 0.5],
    "names": ["<b>a.pt", "b.pt", "c.pt", "d.pt"],
    "checkpoints": ["a", "b", "c", "d"],
}


def surface(curve: bool = False, trajectory=None) -> Surface:
    """2 α − β + α β: bilinear, so that heights between its cells are known."""
    x, y = np.linspace(-1, 1, 5), np.linspace(-1, 1, 4)
    loss = 2 * x[None, :] + np.zeros((1, 1)) if curve else 2 * x[None, :] - y[:, None] + x[None, :] * y[:, None]
    return Surface(
        x=x, y=None if curve else y, loss=loss + 5, state=np.full(loss.shape, MEASURED, np.uint8), accuracy=np.full(loss.shape, 50.0),
        examples=np.full(loss.shape, 10, np.int64), stderr=np.full(loss.shape, 0.1),
        provenance={} if trajectory is None else {"trajectory": trajectory},
    )  # fmt: skip


def test_line_and_marks_lie_on_the_drawn_surface_and_end_at_its_rim():
    bare = surface()
    way = drawn_way(bare.x, bare.y, bare.loss, Projection.read(TRAJECTORY, 2))
    shown = way.line[np.isfinite(way.line).all(axis=1)]
    for points in (shown, way.marks[1:]):
        a, b, height = points.T
        np.testing.assert_allclose(height, 5 + 2 * a - b + a * b, atol=1e-12)
    assert shown[:, 0].min() == pytest.approx(-1)
    assert way.outside.tolist() == [True, False, False, False]
    assert np.isnan(way.marks[0]).all()
    np.testing.assert_array_equal(way.marks[1:, :2], PLACES[1:])
    np.testing.assert_allclose(shown[0, :2], [-1, 0.15])
    assert way.left_out == "1 of 4 checkpoints lies outside the range: not drawn"


def test_over_a_hole_nothing_is_drawn():
    bare = surface()
    bare.loss[1, 2] = np.nan
    way = drawn_way(bare.x, bare.y, bare.loss, Projection.read(TRAJECTORY, 2))
    assert way.over_holes.tolist() == [False, False, True, True]
    assert "2 of 4 checkpoints lie over holes" in way.left_out
    assert np.isfinite(way.marks[1]).all()


@example([(0.0, 0.0), (2.2250738585e-313, 0.0)], 1, 1)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)) | st.just((None, None)), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_whatever_the_way_the_line_stays_on_the_grid(places, nx, ny):
    x, y = np.linspace(-1, 2, nx), np.linspace(0, 1, ny)
    run = Projection.read({"coordinates": [list(place) for place in places]}, 2)
    way = drawn_way(x, y, np.zeros((ny, nx)), run)
    shown = way.line[np.isfinite(way.line).all(axis=1)]
    assert ((shown[:, :2] >= [x[0] - 1e-9, y[0] - 1e-9]) & (shown[:, :2] <= [x[-1] + 1e-9, y[-1] + 1e-9])).all()
    assert (np.isnan(way.marks[:, 2]) == way.outside).all()


@pytest.mark.parametrize(
    "damaged",
    [None, 3, [], {}, {"coordinates": []}, {"coordinates": [[1]]}, {"coordinates": [[1, 2, 3]]}, {"coordinates": "ab"}, {"coordinates": [3, 4]}],
)  # fmt: skip
def test_what_is_no_run_is_none(damaged):
    assert run_of(surface(trajectory=damaged)) is None


def test_what_a_stranger_writes_is_read_as_far_as_it_is_in_order():
    strange = {
        "coordinates": [[1, "x"], [True, 10**400]],
        "names": ["a" * 999, 3],
        "own_loss": [1],
        "off_plane": [float("inf"), 2],
    }
    run = Projection.read(strange, 2)
    assert np.isnan(run.coordinates).tolist() == [[False, True], [True, True]]
    assert (len(run.names[0]), run.names[1]) == (200, "")
    assert np.isnan(run.own_loss).all()
    assert run.as_provenance()["off_plane"] == [None, 2.0]
    assert "own_loss" not in run.as_provenance()
    assert Projection.read(TRAJECTORY, 2).as_provenance() == TRAJECTORY


def test_a_figure_draws_its_run_and_says_what_it_leaves_out():
    made = figure(surface(trajectory=TRAJECTORY))
    line, marks = made.data[-2:]
    assert (line.type, line.mode, marks.mode) == ("scatter3d", "lines", "markers")
    assert marks.marker.symbol == ("square", "circle", "circle", "diamond")
    assert marks.text[0] == (
        "checkpoint 1 of 4, &lt;b&gt;a.pt<br>own loss 9<br>the plane&#x27;s loss here 8<br>distance off the plane 3"
    ).replace("&#x27;", "'")
    assert "not known" in marks.text[2]
    assert np.isnan(marks.x[0])
    (words,) = made.layout.annotations
    assert (
        words.text
        == "run of 4 checkpoints: □ first, ◆ last  ·  variance along δ 75 %, η 12.5 %  ·  1 of 4 checkpoints lies outside the range: not drawn"
    )
    assert len(figure(surface()).data) == 1
    given = figure(surface(), projection=Projection.read(TRAJECTORY, 2))
    np.testing.assert_array_equal(given.data[-1].z, marks.z)
    logarithmic = figure(surface(trajectory=TRAJECTORY), log=True)
    assert np.nanmax(logarithmic.data[-1].z) < np.log10(8)


def test_a_curve_has_its_run_too_and_other_dimensions_are_not_mixed():
    on_curve = {"coordinates": [[-1.5], [-0.5], [0.0]]}
    made = figure(surface(curve=True, trajectory=on_curve))
    np.testing.assert_allclose(made.data[-1].y[1:], [4, 5])
    assert np.isnan(made.data[-1].y[0])
    assert len(figure(surface(curve=True, trajectory=TRAJECTORY)).data) == len(figure(surface(curve=True)).data)
    with_one = figure(surface(trajectory={"coordinates": [[0.0, 0.5]]}))
    assert with_one.data[-1].marker.symbol == ("diamond",)


@pytest.mark.parametrize("curve", [False, True])
def test_a_picture_draws_its_run(curve):
    import matplotlib.image

    trajectory = {"coordinates": [place[:1] for place in PLACES]} if curve else TRAJECTORY
    plain, drawn = (
        matplotlib.image.imread(io.BytesIO(render_png(replace(surface(curve), provenance=about))))
        for about in ({}, {"trajectory": trajectory})
    )
    changed = (plain != drawn).any(axis=2)
    assert plain.shape == drawn.shape == (630, 1200, 4)
    assert changed[:90].any()  # the words above
    assert changed[90:].sum() > 500
    assert changed[90:].mean() < 0.05
