"""From tallies to means and standard errors: closed forms, and what stays unknown."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_core.estimate import chunk_bounds, surface_from_tally
from landscape_core.requests import SurfaceRequest
from landscape_core.results import MEASURED, NOT_COMPUTED, NOT_FINITE, Tally


def curve(points: int) -> SurfaceRequest:
    return SurfaceRequest.model_validate(
        {
            "checkpoint": "0" * 64,
            "architecture": {"name": "mlp"},
            "data": {"dataset": "d"},
            "plane": {"x": {"kind": "random", "seed": 1}},
            "grid": {"x": {"start": 0, "stop": 1, "points": points}},
        }
    )


def tally(losses: list[list[float]]) -> Tally:
    """Of cells in a row, each with the losses of its examples; every second example is right."""
    return Tally(
        np.array([[len(cell) for cell in losses]]),
        np.array([[sum(cell, 0.0) for cell in losses]]),
        np.array([[sum((x * x for x in cell), 0.0) for cell in losses]]),
        np.array([[len(cell) // 2 for cell in losses]]),
    )


def test_no_example_is_a_hole_and_one_has_no_standard_error():
    surface = surface_from_tally(curve(5), tally([[], [2.0], [1.0, 3.0], [1.0, np.inf], [np.nan, 1.0, 1.0]]), {})
    assert surface.state.tolist() == [[NOT_COMPUTED, MEASURED, MEASURED, NOT_FINITE, NOT_FINITE]]
    np.testing.assert_array_equal(surface.loss, [[np.nan, 2.0, 2.0, np.nan, np.nan]])
    np.testing.assert_array_equal(surface.stderr, [[np.nan, np.nan, 1.0, np.nan, np.nan]])
    np.testing.assert_array_equal(surface.accuracy[0, :3], [np.nan, 0.0, 50.0])
    assert surface.examples.tolist() == [[0, 1, 2, 2, 3]]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_mean_and_standard_error_are_those_of_the_sample(losses):
    surface = surface_from_tally(curve(1), tally([losses]), {})
    assert surface.loss[0, 0] == pytest.approx(np.mean(losses), rel=1e-12, abs=1e-9)
    expected = np.std(losses, ddof=1) / np.sqrt(len(losses))
    assert surface.stderr[0, 0] == pytest.approx(expected, rel=1e-6, abs=1e-4)


@given(st.integers(1, 10**7))
def test_chunks_follow_on_each_other_and_reach_the_end(examples):
    bounds = chunk_bounds(examples)
    assert (bounds[0][0], bounds[-1][1]) == (0, examples)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(bounds))
    assert all(start < stop <= max(64, 2 * start) for start, stop in bounds)
