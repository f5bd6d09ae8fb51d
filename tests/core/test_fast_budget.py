"""The `fast` budget on losses made up here, of which the mean over all examples is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.estimate import surface_from_tally
from landscape_core.fast_budget import best, next_depths, tried
from landscape_core.fast_surface import fast_surface
from landscape_core.fast_trial import Estimate
from landscape_core.ladder import Depths, Ladder
from landscape_core.requests import SurfaceRequest
from landscape_core.results import ESTIMATED, MEASURED, NOT_COMPUTED, NOT_FINITE, Surface, Tally
from landscape_core.telescoping import KERNELS, Form

Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gives (ny, nx, N) losses of x (nx,) and y (ny, 1)."""


def asked(nx: int, ny: int | None, examples: int, tolerance: float = 0.005, budget: str = "fast") -> SurfaceRequest:
    axis = {"start": -1, "stop": 1}
    return SurfaceRequest.model_validate(
        {
            "checkpoint": "0" * 64,
            "architecture": {"name": "mlp"},
            "data": {"dataset": "d", "examples": examples},
            "plane": {"x": {"kind": "random", "seed": 1}, "y": ny and {"kind": "random", "seed": 2}},
            "grid": {"x": axis | {"points": nx}, "y": ny and axis | {"points": ny}},
            "budget": budget,
            "tolerance": tolerance if budget == "fast" else 0.005,
        }
    )


def tallies(ladder: Ladder, losses: np.ndarray, counts: dict[str, np.ndarray] | None = None) -> list[Tally]:
    """Of each chunk of the examples' losses (ny, nx, N); an example is right where its loss is below 1."""
    found = []
    for start, stop in ladder.bounds:
        part = losses[:, :, start:stop]
        more = {name: values[:, :, start:stop].sum(axis=2) for name, values in (counts or {}).items()}
        with np.errstate(over="ignore"):
            squares = np.square(part).sum(axis=2)
        right = (part < 1).sum(axis=2)
        found.append(Tally(np.full(ladder.shape, stop - start), part.sum(axis=2), squares, right, more))
    return found


def measured(request: SurfaceRequest, losses: np.ndarray, **more: np.ndarray) -> tuple[Surface, Surface, list[Depths]]:
    """The fast surface of these losses, the exact one, and what was seen on the way."""
    ladder = Ladder.for_request(request, losses.shape[2])
    seen, depths = tallies(ladder, losses, more), [ladder.nothing]
    while (wanted := next_depths(ladder, depths[-1], within(ladder, depths[-1], seen))) is not None:
        depths.append(wanted)
    total = seen[0]
    for tally in seen[1:]:
        total = total + tally
    fast = fast_surface(request, ladder, depths[-1], within(ladder, depths[-1], seen), {})
    return fast, surface_from_tally(request, total, {}), depths


def within(ladder: Ladder, depths: Depths, seen: Sequence[Tally]) -> list[Tally]:
    """Only what has been seen, so that a test notices if more is read."""
    return [tally.within(ladder.inside(level)) for tally, level in zip(seen, depths, strict=True)]


def smooth(rng: np.random.Generator, nx: int, ny: int, examples: int) -> np.ndarray:
    """Losses of a common bowl and, of each example, five waves with random amplitudes."""
    x, y = np.linspace(-1, 1, nx), np.linspace(-1, 1, ny)[:, None]
    waves = np.stack([np.ones((ny, nx)), np.sin(x + 0 * y), np.cos(2 * y - x), np.sin(2 * x + y), np.cos(3 * x * y)])
    own = rng.exponential(0.3, (5, examples))
    return (x**2 + 2 * y**2 + 1)[:, :, None] + np.einsum("kji,kn->jin", waves, own)


def shares(fast: Surface, exact: Surface) -> tuple[float, float]:
    """True and estimated root mean square error as shares of the range."""
    reach = np.ptp(exact.loss)
    true, told = fast.loss - exact.loss, fast.quantities["estimation_error"]
    return float(np.sqrt(np.mean(true**2)) / reach), float(np.sqrt(np.mean(told**2)) / reach)


def test_examples_that_differ_by_a_constant_cost_no_error():
    """Every example has the same rough landscape, at another height: what interpolation is asked for is constant."""
    rng = np.random.default_rng(0)
    losses = rng.uniform(1, 2, (17, 17))[:, :, None] + rng.exponential(1, 1000)
    fast, exact, depths = measured(asked(17, 17, 1000), losses)
    assert len(depths) == 2, "the pilot is enough"
    assert fast.provenance["fast"]["form"].startswith("additive")
    np.testing.assert_allclose(fast.loss, exact.loss, rtol=1e-9)
    assert fast.quantities["estimation_error"].max() < 1e-7
    guessed = fast.state == ESTIMATED
    np.testing.assert_allclose(fast.stderr[guessed], exact.stderr[guessed], rtol=0.5)


def test_examples_that_differ_by_a_factor_cost_no_error_in_the_multiplicative_form():
    rng = np.random.default_rng(1)
    losses = np.exp(rng.uniform(-3, 3, (17, 17)))[:, :, None] * rng.exponential(1, 1000)
    fast, exact, _ = measured(asked(17, 17, 1000), losses)
    assert fast.provenance["fast"]["form"].startswith("multiplicative")
    np.testing.assert_allclose(fast.loss, exact.loss, rtol=1e-9)


@pytest.mark.parametrize(("nx", "ny"), [(25, 25), (33, 12), (101, 1)])
def test_the_error_is_as_large_as_it_says(nx, ny):
    """Over twenty draws: within a factor of 2 of the true one as a whole, and small enough wherever it says so."""
    true, told, cost = [], [], []
    for seed in range(20):
        losses = smooth(np.random.default_rng(seed), nx, ny, 4000)
        fast, exact, _ = measured(asked(nx, ny if ny > 1 else None, 4000, 0.001), losses)
        about = fast.provenance["fast"]
        found = shares(fast, exact)
        true.append(found[0])
        told.append(found[1])
        cost.append(about["cost_share"])
        assert about["met"]
        assert about["estimated_rmse"]["share_of_range"] == pytest.approx(found[1], rel=0.05)
    ratio = np.sqrt(np.mean(np.square(told)) / np.mean(np.square(true)))
    assert 0.5 < ratio < 2
    assert np.max(true) < 0.002
    assert np.mean(cost) < 0.2


@pytest.mark.parametrize("points", [9, 25, 51])
def test_curves_of_examples_that_differ_much_keep_the_tolerance(points):
    """A few examples change the mean far more than the others, so that what a short chunk shows is not what a long one does."""
    x, true = np.linspace(-1, 1, points)[:, None], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        slope, bend, start = rng.standard_t(3, 3000), rng.exponential(1, 3000), rng.normal(-2, 1, 3000)
        fast, exact, _ = measured(asked(points, None, 3000), np.logaddexp(0, start + 3 * slope * x + 4 * bend * x**2)[None])
        assert fast.provenance["fast"]["met"]
        true.append(shares(fast, exact)[0])
    assert max(true) < 0.005


def test_where_differences_have_no_shape_everything_is_measured():
    """White noise cannot be interpolated: the surface becomes the exact one, bit for bit."""
    losses = np.random.default_rng(2).exponential(1, (9, 9, 300))
    fast, exact, depths = measured(asked(9, 9, 300, 1e-4), losses)
    assert set(depths[-1]) == {len(Ladder.of((9, 9), 300).levels) - 1}
    assert (fast.state == MEASURED).all()
    for name in ("loss", "stderr", "accuracy", "examples"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(exact, name))
    assert not fast.quantities["estimation_error"].any()
    assert fast.provenance["fast"]["cost_share"] == 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 23), st.integers(1, 23), st.integers(1, 900), st.integers(0, 2**31), st.floats(0, 1), st.floats(1e-4, 0.2)
)
def test_levels_only_rise_and_measured_cells_are_those_of_the_exact_surface(nx, ny, examples, seed, noise, tolerance):
    rng = np.random.default_rng(seed)
    losses = smooth(rng, nx, ny, examples) + noise * rng.standard_normal((ny, nx, examples))
    fast, exact, depths = measured(asked(nx, ny, examples, tolerance), losses)
    for before, after in itertools.pairwise(depths):
        assert after != before
        assert all(a <= b for a, b in zip(before, after, strict=True))
        assert all(a >= b for a, b in itertools.pairwise(after)), "no chunk is seen finer than those before it"
    known = fast.state == MEASURED
    assert (known | (fast.state == ESTIMATED)).all()
    assert known.any()
    np.testing.assert_array_equal(known, fast.examples == examples)
    for name in ("loss", "stderr", "accuracy"):
        np.testing.assert_array_equal(getattr(fast, name)[known], getattr(exact, name)[known])
    assert ((fast.accuracy >= 0) & (fast.accuracy <= 100)).all()
    assert fast.quantities["estimation_error"][known].max() == 0


def test_cells_that_are_not_finite_are_holes_and_disturb_no_others():
    losses = smooth(np.random.default_rng(3), 33, 33, 2000)
    losses[:4, :4, 10] = np.inf  # of the first chunk: seen everywhere
    losses[16:18, 20:24, 1999] = np.nan  # of the last one: seen at few cells, of which (16, 20 … 23) has one or none
    fast, exact, depths = measured(asked(33, 33, 2000), losses)
    assert (fast.state[:4, :4] == NOT_FINITE).all()
    assert fast.not_finite <= exact.not_finite
    ladder = Ladder.of((33, 33), 2000)
    bad = ladder.inside(depths[-1][-1]) & np.isnan(losses[:, :, -1])
    assert (fast.state[bad] == NOT_FINITE).all()
    undecided = fast.state == NOT_COMPUTED
    assert fast.provenance["fast"]["undecided_cells"] == undecided.sum() < 0.3 * 33 * 33
    assert not fast.examples[undecided].any()
    assert np.isnan(fast.accuracy[undecided]).all()
    good = (fast.state == ESTIMATED) & (exact.state == MEASURED)
    assert np.sqrt(np.mean((fast.loss - exact.loss)[good] ** 2)) < 0.005 * np.ptp(exact.loss[good])


@pytest.mark.parametrize("first_bad", [0, 64, 600])
@pytest.mark.parametrize(("nx", "ny"), [(9, 9), (25, None)])
def test_where_nothing_is_finite_nothing_is_estimated(nx, ny, first_bad):
    """From this example on; a cell that has seen it is not finite, and the others are holes."""
    losses = smooth(np.random.default_rng(9), nx, ny or 1, 700)
    losses[:, :, first_bad:] = np.nan
    fast, _, _ = measured(asked(nx, ny, 700), losses)
    assert set(np.unique(fast.state)) <= {NOT_FINITE, NOT_COMPUTED}
    assert fast.not_finite
    assert np.isnan(fast.quantities["estimation_error"]).all()
    assert fast.provenance["fast"]["estimated_rmse"]["share_of_range"] is None
    assert not fast.provenance["fast"]["met"], "nothing is known, so nothing is within the tolerance"


@pytest.mark.parametrize(("error", "met"), [(0.0, True), (1e-9, False)])
def test_losses_without_a_range_meet_a_share_of_it_by_no_error_alone(error, met):
    loss, nowhere = np.full((3, 3), 0.3), np.zeros((3, 3), bool)
    none = float("nan")
    found = Estimate((1, 0), Form("additive", KERNELS[0]), loss, np.full((3, 3), error), nowhere, none, none)
    assert found.meets(0.005) is met


def test_losses_of_every_size_keep_their_logarithms():
    """Thirty decades: as a share of the range everything near the middle is nothing, so the logarithm decides."""
    rng = np.random.default_rng(4)
    bowl = np.exp(35 * (np.linspace(-1, 1, 25) ** 2 + np.linspace(-1, 1, 25)[:, None] ** 2))
    losses = bowl[:, :, None] * (0.2 + smooth(rng, 25, 25, 1500))
    fast, exact, _ = measured(asked(25, 25, 1500), losses)
    error = np.log(fast.loss / exact.loss)
    assert np.sqrt(np.mean(error**2)) < 0.015 * np.ptp(np.log(exact.loss))
    assert fast.provenance["fast"]["estimated_rmse"]["share_of_log_range"] < 0.015


@pytest.mark.parametrize("size", [1e-200, 1e200, 1e300])
def test_losses_whose_squares_overflow_or_vanish_are_estimated_as_others_are(size):
    losses = smooth(np.random.default_rng(8), 17, 17, 700) - 1
    usual, _, seen = measured(asked(17, 17, 700), losses)
    fast, _, depths = measured(asked(17, 17, 700), losses * size)
    assert depths == seen
    np.testing.assert_array_equal(fast.state, usual.state)
    np.testing.assert_allclose(fast.loss / size, usual.loss, rtol=1e-9)
    np.testing.assert_allclose(fast.quantities["estimation_error"] / size, usual.quantities["estimation_error"], rtol=1e-6)
    assert fast.provenance["fast"]["met"]


def test_losses_without_a_range_whose_errors_are_unknown_meet_nothing():
    loss, none = np.full((3, 3), 0.3), float("nan")
    error = np.full((3, 3), np.nan)
    error[::2, ::2] = 0.0
    found = Estimate((1, 0), Form("additive", KERNELS[0]), loss, error, error == 0, none, none)
    assert not found.meets(0.005)


def test_losses_that_may_be_negative_have_no_logarithm():
    losses = smooth(np.random.default_rng(5), 17, 17, 700) - 4
    fast, exact, _ = measured(asked(17, 17, 700), losses)
    assert fast.provenance["fast"]["estimated_rmse"]["share_of_log_range"] is None
    assert not any("multiplicative" in form for form in fast.provenance["fast"]["tried"])
    assert shares(fast, exact)[0] < 0.005


def test_examples_in_an_order_that_is_not_random_raise_the_error():
    """Sorted by size, later chunks differ more from earlier ones than chance would have them."""
    losses = smooth(np.random.default_rng(6), 25, 25, 2000)
    by_size = losses[:, :, np.argsort(losses[0, 0])]
    ladder = Ladder.of((25, 25), 2000)
    told = []
    for values in (losses, by_size):
        seen = tallies(ladder, values)
        told.append(best(ladder, tried(ladder, ladder.pilot(), seen)).linear)
    assert told[1] > 2 * told[0]


def test_what_is_counted_beside_is_estimated_too():
    rng = np.random.default_rng(7)
    losses = smooth(rng, 17, 17, 1000)
    classes = rng.integers(0, 3, 1000)
    one_hot = np.broadcast_to((classes[:, None] == np.arange(4))[None, None], (17, 17, 1000, 4)).astype(np.int64)
    right = (losses < 2).astype(np.int64)
    more = {"top5": right, "class_correct": one_hot * right[..., None], "class_examples": one_hot}
    fast, exact, _ = measured(asked(17, 17, 1000), losses, **more)
    assert fast.quantities.keys() - exact.quantities.keys() == {"estimation_error"}
    assert "class_accuracy_3" not in fast.quantities, "no example is of that class"
    for name, table in exact.quantities.items():
        assert ((fast.quantities[name] >= 0) & (fast.quantities[name] <= 100)).all()
        assert np.sqrt(np.mean((fast.quantities[name] - table) ** 2)) < 8, "percent, of steps that are hard to interpolate"


def test_few_examples_are_all_measured():
    fast, exact, depths = measured(asked(9, 9, 64), smooth(np.random.default_rng(8), 9, 9, 64))
    assert len(depths) == 2
    assert (fast.state == MEASURED).all()
    np.testing.assert_array_equal(fast.loss, exact.loss)


def test_a_tolerance_belongs_to_the_fast_budget():
    request = asked(9, 9, 100)
    assert "tolerance" not in request.model_dump(mode="json"), "the default leaves no trace in the digest"
    assert asked(9, 9, 100, 0.01).digest != request.digest
    with pytest.raises(ValueError, match="an exact surface has no tolerance; choose budget fast"):
        SurfaceRequest.model_validate(asked(9, 9, 100, budget="exact").model_dump() | {"tolerance": 0.01})
    with pytest.raises(ValueError, match="estimates losses, not eigenvalues"):
        SurfaceRequest.model_validate(request.model_dump() | {"curvature": {"examples": 10}})
