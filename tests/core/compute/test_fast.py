"""The `fast` budget on real networks: as good as it says, at a part of the cost; and what goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from landscape_core.catalogue import match
from landscape_core.compute import Evaluator, Examples, compute_surface
from landscape_core.errors import Cancelled, InvalidRequest
from landscape_core.estimate import chunk_bounds
from landscape_core.formats import h5, npz, to_bytes
from landscape_core.requests import Standardisation, SurfaceRequest
from landscape_core.results import ESTIMATED, MEASURED
from landscape_core.resuming import HalfDone

from .requested import axis, surface_request

HALF = Standardisation(mean=(0.5,), std=(0.5,))


def fast(request: SurfaceRequest, **changes: object) -> SurfaceRequest:
    return SurfaceRequest.model_validate(request.model_dump() | {"budget": "fast", **changes})


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "loss", "points", "examples"),
    [("mnist_mlp_784_128_10_ce", "cross_entropy", 21, 3000), ("mnist_cnn_margin", "multi_margin", 15, 700)],
)
def test_reference_networks_within_tolerance_and_as_sure_as_they_say(weights, arrays, name, loss, points, examples):
    """At most 0.5 % of the range and 1.5 % of its logarithm's; the estimated errors within a factor 2 of the true ones."""
    tensors = weights(f"golden_surfaces/{name}.pt")
    architecture = str(match({key: array.shape for key, array in tensors.items()})[0].architecture)
    request = surface_request(
        architecture, axis(points), axis(points), examples=examples, seed=0, preprocessing=HALF, loss=loss
    )
    data = Examples.from_arrays(*arrays("mnist/train_60000.npz"))
    whole, found = compute_surface(request, tensors, data), compute_surface(fast(request), tensors, data)
    about = found.provenance["fast"]
    told = about["estimated_rmse"]
    assert about["met"]
    assert about["cost_share"] < 0.2
    for scale, key, most in ((lambda x: x, "share_of_range", 0.005), (np.log, "share_of_log_range", 0.015)):
        true = np.sqrt(np.mean((scale(found.loss) - scale(whole.loss)) ** 2)) / np.ptp(scale(whole.loss))
        assert true <= most
        assert told[key] / 2 < true < 2 * told[key]
    points = np.sqrt(np.mean((found.accuracy - whole.accuracy) ** 2))
    assert told["accuracy_points"] / 2 < points < min(4, 2 * told["accuracy_points"])
    known = found.state == MEASURED
    assert known.any()
    for array in ("loss", "stderr", "accuracy", "examples"):
        np.testing.assert_array_equal(getattr(found, array)[known], getattr(whole, array)[known])


@pytest.fixture
def many(rows) -> Examples:
    """400 examples like the few."""
    rng = np.random.default_rng(9)
    return Examples.from_arrays(rng.normal(size=(400, 12)).astype(np.float32), rng.integers(0, 4, 400))


@pytest.fixture
def counted(monkeypatch) -> Callable[[], int]:
    """How many forward passes of one example were asked of evaluators so far; what they measure is untouched."""
    passes, tally = [0], Evaluator.tally

    def counting(self, cells, start, stop, *rest):
        passes[0] += len(cells) * (stop - start)
        return tally(self, cells, start, stop, *rest)

    monkeypatch.setattr(Evaluator, "tally", counting)
    return lambda: passes[0]


def test_it_computes_what_it_says_and_no_more(mlp_weights, many, counted):
    request = fast(surface_request("mlp", axis(17), axis(13), examples=400, seed=1), tolerance=0.01)
    shares: list[float] = []
    found = compute_surface(request, mlp_weights, many, progress=shares.append)
    assert counted() == round(found.provenance["fast"]["cost_share"] * 17 * 13 * 400)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert {ESTIMATED, MEASURED} == set(np.unique(found.state))
    again = compute_surface(request, mlp_weights, many)
    np.testing.assert_array_equal(found.loss, again.loss)
    assert found.provenance["fast"] == again.provenance["fast"]


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".json"])
def test_files_keep_what_is_estimated_and_how_sure_it_is(mlp_weights, many, suffix, tmp_path):
    from landscape_core import formats

    found = compute_surface(fast(surface_request("mlp", axis(9), axis(9), examples=400)), mlp_weights, many)
    assert (found.state == ESTIMATED).any()
    found.save(tmp_path / f"a{suffix}")
    read = formats.load(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.state, found.state)
    np.testing.assert_array_equal(read.loss, found.loss)
    np.testing.assert_array_equal(read.quantities["estimation_error"], found.quantities["estimation_error"])
    assert read.request == found.request
    for picture in (".png", ".csv", ".vtp", ".stl", ".glb"):
        assert to_bytes(found, picture)


def test_a_curve_and_reestimated_statistics(resnet_weights, images):
    """Each chunk of each cell re-estimates batch norm first; that is part of the cost, and of the values."""
    request = surface_request("resnet20", axis(5, 0.3), examples=70, seed=3)
    request = fast(SurfaceRequest.model_validate(request.model_dump() | {"batch_norm": "reestimated"}))
    found = compute_surface(request, resnet_weights, images)
    whole = compute_surface(request.model_copy(update={"budget": "exact"}), resnet_weights, images)
    known = found.state == MEASURED
    np.testing.assert_array_equal(found.loss[known], whole.loss[known])
    np.testing.assert_allclose(found.loss, whole.loss, rtol=0.3)
    first, rest = (stop - start + 70 for start, stop in chunk_bounds(70))
    seen = [level["rows"] * level["columns"] for level in found.provenance["fast"]["seen"]]
    cost = (first * seen[0] + rest * seen[1]) / ((first + rest) * 5)
    assert found.provenance["fast"]["cost_share"] == pytest.approx(cost, abs=1e-6)


def test_exact_goes_on_from_its_measured_cells(mlp_weights, many, counted):
    request = surface_request("mlp", axis(9), axis(9), examples=400)
    whole = compute_surface(request, mlp_weights, many)
    found = compute_surface(fast(request, tolerance=0.02), mlp_weights, many)
    before, known = counted(), int((found.state == MEASURED).sum())
    assert 0 < known < 81
    resumed = compute_surface(request, mlp_weights, many, resume=HalfDone(npz.load(npz.dump(found)), "fast.npz"))
    assert counted() - before == (81 - known) * 400
    for name in ("loss", "state", "accuracy", "examples", "stderr"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert not resumed.quantities
    assert "fast" not in resumed.provenance
    with pytest.raises(InvalidRequest, match="choose budget exact"):
        compute_surface(fast(request), mlp_weights, many, resume=HalfDone(found))
    other = replace(found, request=fast(surface_request("mlp", axis(9), axis(9), examples=399)))
    with pytest.raises(InvalidRequest, match=r"its data\.examples is 399"):
        compute_surface(request, mlp_weights, many, resume=HalfDone(other))


def test_it_stops_when_told(mlp_weights, many):
    with pytest.raises(Cancelled):
        compute_surface(fast(surface_request("mlp", axis(9), axis(9))), mlp_weights, many, should_stop=lambda: True)


def test_the_original_form_reads_it_as_a_surface(mlp_weights, many):
    """The original's code knows no estimates: it finds a loss at every cell."""
    found = compute_surface(fast(surface_request("mlp", axis(9), axis(9), examples=400)), mlp_weights, many)
    bare = replace(found, request=None, provenance={}, quantities={})
    assert np.isfinite(h5.load(h5.dump(bare)).loss).all()
