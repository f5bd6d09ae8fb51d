"""Axes: every grid that may be asked for has coordinates that ascend, and finer grids contain coarser ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from landscape_core.compute import choose_device
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec, Axis, SurfaceRequest


@pytest.mark.parametrize(("start", "stop", "points"), [(1, 1.0000000000000002, 3), (1e6 - 1e-8, 1e6, 501)])
def test_an_axis_too_narrow_for_its_points_is_refused(start: float, stop: float, points: int) -> None:
    with pytest.raises(ValidationError, match="neighbours are the same number"):
        Axis(start=start, stop=stop, points=points)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.integers(2, 251))
def test_a_finer_axis_contains_the_coarser_one(start: float, span: float, points: int) -> None:
    stop = min(start + span, 1e6)
    if stop - start < 1e-4:
        return
    coarse = Axis(start=start, stop=stop, points=points).coordinates
    fine = Axis(start=start, stop=stop, points=2 * points - 1).coordinates
    np.testing.assert_array_equal(fine[::2], coarse)
    assert (fine[0], fine[-1]) == (start, stop)
    assert (np.diff(fine) > 0).all()


def test_what_cannot_be_written_down_is_no_option() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            ArchitectureSpec(name="mlp", options={"a": value})
    assert str(ArchitectureSpec(name="mlp", options={"a": True, "b": 1, "c": 0.5, "d": "e"})) == "mlp:a=true,b=1,c=0.5,d=e"


def test_minus_zero_is_zero() -> None:
    assert Axis(start=-0.0, stop=1, points=2).model_dump_json() == Axis(start=0, stop=1, points=2).model_dump_json()


@pytest.mark.parametrize("name", ["meta", "cuda:99", "abacus"])
def test_a_device_that_cannot_compute_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"no device '{name}'"):
        choose_device(name)


def test_precision_is_part_of_the_question_unless_it_is_float32():
    asked = {
        "checkpoint": "0" * 64,
        "architecture": {"name": "mlp"},
        "data": {"dataset": "mnist"},
        "plane": {"x": {"kind": "random", "seed": 1}},
        "grid": {"x": {"start": -1, "stop": 1, "points": 3}},
    }
    usual, rounded = (SurfaceRequest.model_validate({**asked, "precision": how}) for how in ("float32", "bfloat16"))
    assert usual.digest == SurfaceRequest.model_validate(asked).digest != rounded.digest
    assert "precision" not in usual.canonical_json()
    with pytest.raises(ValidationError, match="eigenvalues are measured in float32"):
        SurfaceRequest.model_validate({**asked, "precision": "tf32", "curvature": {}})
