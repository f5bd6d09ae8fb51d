"""Flatness against closed forms: quadratics, cones, piecewise-linear curves; holes and edges are said."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.basin import EDGE, HOLE, area, width
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import surface_over
from landscape_core.flatness import Flatness, barrier_between
from landscape_core.plane import HessianDirection, PlaneSpec, TowardsDirection
from landscape_core.requests import ArchitectureSpec, Axis, DataSlice, Grid, SurfaceRequest
from landscape_core.results import ESTIMATED, ESTIMATION_ERROR, NOT_FINITE, Surface, Tally


def surface(x: np.ndarray, y: np.ndarray | None, loss: np.ndarray) -> Surface:
    loss = np.atleast_2d(np.asarray(loss, float))
    ones = np.ones(loss.shape, np.int64)
    return surface_over(x, y, Tally(ones, loss, loss**2, ones))


def grid(nx: int, ny: int, reach: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(-reach, reach, nx), np.linspace(-reach, reach, ny)


def test_numbers_that_rest_on_estimated_cells_say_so():
    x, y = grid(5, 5)
    whole = surface(x, y, 1 + x**2 + y[:, None] ** 2)
    assert (whole.flatness().estimated_cells, whole.flatness().note) == (0, "")
    state = whole.state.copy()
    state[1::2] = ESTIMATED
    fast = dataclasses.replace(whole, state=state, quantities={ESTIMATION_ERROR: np.where(state == ESTIMATED, 0.02, 0.0)})
    found = fast.flatness()
    assert found.estimated_cells == 10
    assert found.note == (
        "10 of 25 cells are estimated, not measured; their losses may be off by 0.02 (root mean square). "
        "These numbers rest on them too."
    )
    assert found.model_dump() | {"estimated_cells": 0, "note": ""} == whole.flatness().model_dump()
    unknown = dataclasses.replace(fast, quantities={}).flatness()
    assert unknown.note == "10 of 25 cells are estimated, not measured. These numbers rest on them too."


# -- the basin -------------------------------------------------------------------------------------------------------


def test_the_basin_of_a_quadratic_is_an_ellipse():
    """L = a x² + b y² ≤ l: half-axes √(l/a), √(l/b). Linear interpolation is off by a share of the cell squared."""
    x, y = grid(201, 161)
    found = surface(x, y, 1 + 2 * x**2 + 8 * y[:, None] ** 2).flatness(level=2.0)
    assert found.width_x.value == pytest.approx(2 * math.sqrt(1 / 2), rel=1e-4)
    assert found.width_y.value == pytest.approx(2 * math.sqrt(1 / 8), rel=2e-3)
    assert found.area.value == pytest.approx(math.pi * math.sqrt(1 / 16), rel=2e-3)
    assert not (found.width_x.is_bound)
    assert not (found.width_y.is_bound)
    assert not (found.area.is_bound)
    assert found.area.note == ""


@pytest.mark.parametrize("points", [(2, 2), (5, 5), (4, 7), (6, 5), (51, 50)])
def test_a_plane_and_a_pyramid_are_met_exactly(points):
    """What is linear between cells is met to rounding, whether or not the grid has the centre."""
    x, y = grid(*points)
    assert area(x, y, x + y[:, None], 0.5).value == pytest.approx(4 - 1.5**2 / 2)
    assert area(x, y, x + 0 * y[:, None], 0.25).value == pytest.approx(2.5)
    if points[0] % 2 and points[1] % 2:
        assert area(x, y, np.abs(x) + 0 * y[:, None], 0.3).value == pytest.approx(1.2)
        assert width(x, np.abs(x), 0.3) == (pytest.approx(0.6), frozenset())


def test_uneven_axes_and_a_grid_beside_the_centre():
    x, y = np.array([-1.0, -0.1, 0.4, 2.0]), np.array([-0.5, 0.25, 1.0])
    assert area(x, y, 3 + 0 * x + 0 * y[:, None], 3.0) == (pytest.approx(4.5), {EDGE})
    off = surface(x + 5, y, 1 + x**2 + 0 * y[:, None]).flatness()
    assert off.centre_loss is None
    assert off.area.note == off.sharpness.note == "The loss at the centre is not known."


def test_only_the_connected_region_counts():
    x, y = grid(41, 41, 2.0)
    two = np.minimum((x + 1) ** 2, (x - 1) ** 2) + y[:, None] ** 2  # minima at (±1, 0), a ridge of 1 between them
    whole = area(x + 1, y, two, 0.5).value
    assert whole == pytest.approx(math.pi * 0.5, rel=2e-2)
    assert area(x, y, two, 0.5) is None  # on the ridge
    assert area(x + 1, y, two, 1.2).value > 2 * math.pi * 0.9  # over the ridge into the other


def test_a_spiral_is_followed_to_its_end():
    n = 61
    walls = np.ones((n, n))
    row = column = n // 2
    steps, length = [(0, 1), (1, 0), (0, -1), (-1, 0)], 2
    walls[row, column] = 0
    for turn in range(54):
        for _ in range(length):
            row, column = row + steps[turn % 4][0], column + steps[turn % 4][1]
            walls[row, column] = 0
        length += 2 * (turn % 2)
    x = np.arange(n) - n // 2.0
    found = area(x, x, walls, 0.0)
    assert found is not None
    tiny = area(x, x, walls, 1e-6).value
    rim = walls.copy()
    rim[n // 2, n // 2 + 1] = 1.0  # shut off beside the centre
    assert area(x, x, rim, 1e-6).value < tiny / 100


def test_the_edge_and_holes_make_lower_bounds():
    x, y = grid(21, 21)
    bowl = 1 + x**2 + y[:, None] ** 2
    wide = surface(x, y, bowl).flatness(level=1.9)
    assert wide.width_x.value == pytest.approx(2 * math.sqrt(0.9), rel=1e-2)
    assert (wide.width_x.is_bound, wide.area.is_bound) == (False, False)
    wider = surface(x, y, bowl).flatness(level=2.5)
    assert wider.width_x.value == pytest.approx(2.0)
    assert wider.width_x.note == "It runs into the edge of the grid, so it is at least this."
    assert wider.area.is_bound
    assert area(x, y, bowl, 2.5).value < 4
    for hole, ends in (((10, 14), {HOLE}), ((2, 2), set())):
        holed = bowl.copy()
        holed[hole] = np.nan
        assert area(x, y, holed, 1.4).ends_at == ends
        assert width(x, holed[10], 1.4).ends_at == ends
    assert area(x, y, bowl, 1.4).value > area(x, y, np.where(np.arange(21) == 14, np.nan, bowl), 1.4).value
    centre = bowl.copy()
    centre[10, 10] = np.inf
    gone = surface(x, y, centre).flatness()
    assert (gone.centre_loss, gone.level, gone.width_x.value, gone.area.value, gone.sharpness.value) == (None,) * 5
    alone = np.full((3, 3), np.nan)
    alone[1, 1] = 1.0
    assert area(x[::10], y[::10], alone, 2.0) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_areas_grow_with_the_level_and_mirror_with_the_plane(nx, ny, seed, level):
    rng = np.random.default_rng(seed)
    x, y = grid(nx, ny)
    loss = rng.random((ny, nx))
    loss[rng.random((ny, nx)) < 0.1] = np.nan
    found = area(x, y, loss, level)
    for other in (area(y, x, loss.T, level), area(x, y, loss[::-1, ::-1], level)):
        assert (other is None) == (found is None)
        assert found is None or other == (pytest.approx(found.value), found.ends_at)
    if found is not None:
        assert 0 <= found.value <= 4 + 1e-12
        assert area(x, y, loss, level + 0.1).value >= found.value - 1e-12
        if not np.isnan(loss).any():
            assert area(x, y, loss, 1.0).value == pytest.approx(4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.floats(), st.sampled_from([1e308, -1e308, 5e-324, 0.0])), min_size=12, max_size=12),
    st.sampled_from([1e-300, 1e-3, 1.0, 1e6]),
)
def test_whatever_the_losses_are_the_numbers_can_be_written_down(losses, reach):
    x, y = np.array([-1.0, 0.0, 0.5, 1.0]) * reach, np.array([-1.0, 0.0, 1.0]) * reach
    with np.errstate(over="ignore", invalid="ignore"):
        plane = surface(x, y, np.reshape(losses, (3, 4)))
    towards = TowardsDirection(checkpoint="a" * 64), TowardsDirection(checkpoint="b" * 64)
    for loss in ("cross_entropy", "mse"):
        found = dataclasses.replace(plane, request=asked(loss, *towards)).flatness()
        assert json.loads(found.model_dump_json()) == json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))


# -- level and sharpness ---------------------------------------------------------------------------------------------


def asked(loss: str, x, y=None) -> SurfaceRequest:
    one = Axis(start=0, stop=1, points=2)
    return SurfaceRequest(
        checkpoint="0" * 64,
        architecture=ArchitectureSpec(name="mlp"),
        data=DataSlice(dataset="arrays"),
        loss=loss,
        plane=PlaneSpec(x=x, y=y),
        grid=Grid(x=one, y=None if y is None else one),
    )


def test_the_level_is_chosen_by_the_losss_unit():
    x, y = grid(5, 5)
    bowl = surface(x, y, 0.5 + x**2 + y[:, None] ** 2)
    assert (bowl.flatness().level, bowl.flatness().level_is) == (1.0, "twice the loss at the centre")
    for loss, level in (("cross_entropy", 0.5 + math.log(2)), ("nll", 0.5 + math.log(2)), ("mse", 1.0)):
        known = dataclasses.replace(bowl, request=asked(loss, HessianDirection(index=1), HessianDirection(index=2)))
        assert known.flatness().level == pytest.approx(level)
    assert bowl.flatness(level=0.75).level_is == "as asked for"
    zero = surface(x, y, x**2 + y[:, None] ** 2).flatness()
    assert (zero.level, zero.width_x.note) == (0.0, "The level is not above the loss at the centre.")
    for level in (0.5, 0.1, math.nan, math.inf):
        with pytest.raises(InvalidRequest, match="The level should be") as refused:
            bowl.flatness(level=level)
        assert refused.value.field == "level"
    for epsilon in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidRequest, match="epsilon should be a positive number"):
            bowl.flatness(epsilon=epsilon)


def test_sharpness_is_keskars_of_the_plane():
    """max over the box of 1 + a x² + b y² is at its corners: 100 (a + b) ε² / 2."""
    x, y = grid(41, 21)
    bowl = surface(x, y, 1 + 3 * x**2 + y[:, None] ** 2)
    assert bowl.flatness(epsilon=0.5).sharpness.value == pytest.approx(50.0 * 4 * 0.25)
    assert bowl.flatness(epsilon=1.0).sharpness == bowl.flatness(epsilon=1 + 1e-12).sharpness
    assert bowl.flatness(epsilon=1.0).sharpness.is_bound is False
    beyond = bowl.flatness(epsilon=1.5).sharpness
    assert (beyond.value, beyond.note) == (200.0, "The box runs into the edge of the grid, so it is at least this.")
    ramp = surface(*grid(2, 2), np.array([[0.0, 1.0], [1.0, 2.0]]))  # linear: exact between cells
    assert ramp.flatness(epsilon=0.3).sharpness.value == pytest.approx(100 * 0.3 / 2)
    curve = surface(x, None, 1 + x**2)
    assert curve.flatness(epsilon=0.5).sharpness.value == pytest.approx(12.5)
    assert (curve.flatness().width_y, curve.flatness().area) == (None, None)


def test_holes_in_the_box_are_said():
    x, y = grid(21, 21)
    bowl = surface(x, y, 1 + x**2 + y[:, None] ** 2)
    blown = bowl.loss.copy()
    blown[11, 11] = np.inf
    assert surface(x, y, blown).flatness().sharpness.note == "A loss in the box is not finite."
    hole = dataclasses.replace(bowl, loss=np.where(np.isinf(blown), np.nan, blown))
    assert int((hole.state == NOT_FINITE).sum()) == 0  # not computed
    found = hole.flatness(epsilon=0.2).sharpness
    assert (found.value, found.is_bound) == (pytest.approx(100 * 0.08 / 2), True)
    negative = surface(x, y, bowl.loss - 3).flatness().sharpness
    assert (negative.value, negative.note[:17]) == (None, "It is not defined")


# -- barriers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "losses", "line", "mean", "higher", "at"),
    [
        ([0, 0.25, 0.5, 1], [1, 4, 2, 3], 2.5, 2.0, 1.0, 0.25),
        ([0, 0.5, 1], [1, 1.5, 3], 0.0, 1.0, 0.0, 1.0),  # below the line: the mean of the ends is exceeded all the same
        ([-1, 0, 0.5, 1, 2], [99, 1, 1, 1, 99], 0.0, 0.0, 0.0, 0.0),  # beyond the ends does not count
        ([-0.5, 0.5, 1.5], [0, 2, 0], 1.0, 1.0, 1.0, 0.5),  # ends between cells
    ],
)
def test_barriers_of_piecewise_linear_curves(t, losses, line, mean, higher, at):
    found = barrier_between(np.array(t, float), np.array(losses, float))
    assert (found.above_line, found.above_mean, found.above_higher_end, found.peak_at) == (line, mean, higher, at)
    assert not found.is_bound
    turned = barrier_between(1 - np.array(t[::-1], float), np.array(losses[::-1], float))
    assert (turned.above_line, turned.above_mean, turned.above_higher_end) == (line, mean, higher)


def test_a_barrier_with_holes_is_a_lower_bound_and_without_ends_none():
    t = np.linspace(0, 1, 5)
    holed = barrier_between(t, np.array([1, np.nan, 3, np.nan, 1]))
    assert (holed.above_line, holed.is_bound, holed.note) == (2, True, "The line has 2 holes, so these are lower bounds.")
    for losses in ([np.nan, 1, 1, 1, 1], [1, 1, 1, 1, np.nan]):
        found = barrier_between(t, np.array(losses, float))
        assert (found.above_line, found.note) == (None, "The line is not measured at both of its ends.")
    assert barrier_between(t, np.ones(5), 0.0, 2.0).above_mean is None


def test_a_barrier_is_told_of_directions_towards_a_checkpoint_alone():
    x, y = np.linspace(-1, 2, 7), np.linspace(0, 1, 3)
    loss = 1 + x * (1 - x) + 4 * y[:, None] * (1 - y[:, None])
    towards = TowardsDirection(checkpoint="a" * 64), TowardsDirection(checkpoint="b" * 64)
    plane = dataclasses.replace(surface(x, y, loss), request=asked("mse", *towards))
    assert [(b.axis, b.above_line) for b in plane.flatness().barriers] == [("x", 0.25), ("y", 1.0)]
    mixed = dataclasses.replace(plane, request=asked("mse", HessianDirection(index=1), towards[1]))
    assert [b.axis for b in mixed.flatness().barriers] == ["y"]
    turned = plane.request.model_copy(update={"plane": plane.request.plane.model_copy(update={"orthogonal": True})})
    assert [b.axis for b in dataclasses.replace(plane, request=turned).flatness().barriers] == ["x"]
    assert surface(x, y, loss).flatness().barriers == ()
    curve = dataclasses.replace(surface(x, None, loss[0]), request=asked("mse", towards[0]))
    assert curve.flatness().barriers[0].above_mean == 0.25
    assert Flatness.model_validate_json(plane.flatness().model_dump_json()) == plane.flatness()
