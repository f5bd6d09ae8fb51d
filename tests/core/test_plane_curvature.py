"""The share of a surface that curves downwards: closed forms, errors, and the paper's two networks told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_core.errors import InvalidRequest
from landscape_core.plane_curvature import negative_curvature
from landscape_core.results import MEASURED, NOT_FINITE, Surface


def surface_of(loss: np.ndarray, x: np.ndarray, y: np.ndarray, stderr: float = np.nan) -> Surface:
    shape = loss.shape
    return Surface(
        x,
        y,
        loss,
        np.full(shape, MEASURED, np.uint8),
        np.full(shape, np.nan),
        np.full(shape, 10, np.int64),
        np.full(shape, stderr),
    )


numbers = st.floats(-3, 3).filter(lambda v: abs(v) > 0.1)


@given(first=numbers, second=numbers, turn=st.floats(0, 3.2), nx=st.integers(3, 7), ny=st.integers(3, 7))
def test_a_turned_quadratic_has_the_sign_of_its_smallest_eigenvalue_everywhere(first, second, turn, nx, ny):
    x, y = np.linspace(-1, 2, nx), np.linspace(0, 0.5, ny)
    u, v = np.cos(turn) * x[None, :] + np.sin(turn) * y[:, None], np.cos(turn) * y[:, None] - np.sin(turn) * x[None, :]
    found = negative_curvature(surface_of(first * u**2 + second * v**2 + 3 * u - v + 1, x, y))
    assert (found.cells, found.share) == ((nx - 2) * (ny - 2), float(min(first, second) < 0))


def test_a_bump_counts_where_its_hessian_says():
    x = np.linspace(-2, 2, 81)
    loss = np.exp(-(x[None, :] ** 2 + x[:, None] ** 2))
    squares = x[None, 1:-1] ** 2 + x[1:-1, None] ** 2
    lowest = np.minimum(-2.0, 4 * squares - 2)  # Hessian: exp(-r²) (4 r rᵀ - 2), eigenvalues 4 r² - 2 along r and -2 across
    assert negative_curvature(surface_of(loss, x, x)).share == (lowest < 0).mean() == 1.0
    bowl = negative_curvature(surface_of(-loss, x, x), radius=0.6)  # eigenvalues 2 and 2 - 4 r²: positive for r < 0.707
    assert (bowl.negative, bowl.share) == (0, 0.0)
    whole = negative_curvature(surface_of(-loss, x, x))
    assert whole.share == pytest.approx((2 - 4 * squares < 0).mean(), abs=0.01)


def test_rounding_and_standard_errors_do_not_count():
    x = np.linspace(-1, 1, 21)
    noise = np.random.default_rng(0).uniform(-1, 1, (21, 21))
    flat = surface_of(5 + 5 * noise * 2.0**-22, x, x)
    assert negative_curvature(flat).negative == 0
    rough = surface_of(5 + 0.01 * noise, x, x, stderr=0.02)
    assert negative_curvature(rough).share > 0.5
    assert negative_curvature(rough, standard_errors=2.0).negative == 0
    saddle = surface_of(4 * x[None, :] ** 2 - 4 * x[:, None] ** 2, x, x, stderr=0.001)
    e = 0.001 * np.sqrt(6) / 0.1**2  # λ = (L₊ - 2 L + L₋) / k² along y: weights 1, -2, 1
    assert negative_curvature(saddle, standard_errors=0.99 * 8 / e).share == 1.0
    assert negative_curvature(saddle, standard_errors=1.01 * 8 / e).share == 0.0


def test_holes_and_the_rim_are_not_looked_at():
    x = np.linspace(-1, 1, 7)
    loss = x[None, :] ** 2 - x[:, None] ** 2
    state = np.full(loss.shape, MEASURED, np.uint8)
    loss[3, 3], state[3, 3] = np.nan, NOT_FINITE
    found = negative_curvature(replace(surface_of(loss, x, x), state=state))
    assert (found.cells, found.negative) == (25 - 9, 25 - 9)
    assert np.isnan(negative_curvature(replace(surface_of(loss, x, x), state=0 * state)).share)


def test_what_has_no_such_curvature_is_refused():
    x = np.linspace(-1, 1, 5)
    table = np.zeros((5, 5))
    for wrong, said in (
        (replace(surface_of(table[:1], x, x), y=None), "3 x 3"),
        (surface_of(table[:2], x, x[:2]), "3 x 3"),
        (surface_of(table, x**3, x), "evenly spaced"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            negative_curvature(wrong)
    with pytest.raises(InvalidRequest, match="at least 0"):
        negative_curvature(surface_of(table, x, x), standard_errors=float("nan"))


def published(reference: Path, name: str) -> Surface:
    with np.load(reference / "recorded_surfaces" / f"resnet56_{name}.npz") as data:
        return surface_of(data["Z"], data["X"][0].copy(), data["Y"][:, 0].copy())


@pytest.mark.reference
def test_the_published_surfaces_are_told_apart(reference):
    skip, no_skip = published(reference, "skip"), published(reference, "no_skip")
    assert negative_curvature(skip, radius=0.5).share < 0.02
    assert negative_curvature(no_skip, radius=0.5).share > 0.6
    assert negative_curvature(skip, radius=0.3).share == 0
    assert negative_curvature(no_skip, radius=0.3).share > 0.5
    assert 10 < skip.loss.max() < 100 < no_skip.loss.max() < 1000
