"""Half-done surfaces: what is there stays bit for bit, what is not is computed, and what contradicts is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import landscape_core as lc
from landscape_core.catalogue import match
from landscape_core.compute import Examples, compute_surface
from landscape_core.errors import InvalidRequest
from landscape_core.formats import h5, npz
from landscape_core.requests import CurvatureSpec, Standardisation
from landscape_core.results import MEASURED, NOT_COMPUTED, NOT_FINITE, Surface
from landscape_core.resuming import HalfDone, _runs

from .requested import axis, surface_request

ARRAYS = ("loss", "accuracy", "examples", "stderr", "state")


def with_holes(surface: Surface, hole: np.ndarray) -> Surface:
    nothing = {"loss": np.nan, "accuracy": np.nan, "examples": 0, "stderr": np.nan, "state": NOT_COMPUTED}
    arrays = {name: np.where(hole, value, getattr(surface, name)) for name, value in nothing.items()}
    return replace(surface, **{name: array.astype(getattr(surface, name).dtype) for name, array in arrays.items()})


def theirs(surface: Surface) -> Surface:
    """As the original's code would have written it: without a request, examples and errors."""
    bare = replace(surface, request=None, provenance={}, examples=np.zeros_like(surface.examples))
    return replace(h5.load(h5.dump(bare)), examples=bare.examples, stderr=np.full_like(bare.stderr, np.nan))


@pytest.fixture
def whole(mlp_weights, rows) -> Surface:
    return compute_surface(surface_request("mlp", axis(5), axis(4)), mlp_weights, rows)


HOLE = np.zeros((4, 5), bool)
HOLE[1, 2:] = HOLE[2:] = True


def test_ours_is_completed_bit_for_bit_and_says_what_came_from_where(whole, mlp_weights, rows):
    half = with_holes(whole, HOLE)
    half.loss[0, 0] += 1e-9  # so that what is kept can be told from what is computed
    half = npz.load(npz.dump(half))
    found = compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(half, "half.npz", "ab" * 32))
    np.testing.assert_array_equal(found.loss[~HOLE], half.loss[~HOLE])
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name)[HOLE], getattr(whole, name)[HOLE])
    (told,) = found.provenance["resumed"]
    assert told["kept"] == [[0, 6]]
    assert (told["file"], told["kept_cells"], told["computed_cells"]) == ("half.npz", 7, 13)
    assert told["source"]["own_loss"] == whole.provenance["own_loss"]
    assert "checked" not in told
    json.dumps(found.provenance, allow_nan=False)
    again = compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(with_holes(found, HOLE & (whole.x > 0))))
    assert [entry["kept_cells"] for entry in again.provenance["resumed"]] == [7, 14]


def test_nothing_is_left_to_compute(whole, mlp_weights, rows):
    found = compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(whole))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_quantities_are_kept_too_and_eigenvalues_measured_where_there_are_none(mlp_weights, rows):
    request = surface_request("mlp", axis(3), axis(2)).model_copy(
        update={"metrics": ("class_accuracy",), "curvature": CurvatureSpec(examples=4)}
    )
    whole = compute_surface(request, mlp_weights, rows)
    hole = np.zeros((2, 3), bool)
    hole[1] = True
    half = with_holes(whole, hole)
    tables = {name: np.where(hole, np.nan, table) for name, table in whole.quantities.items()}
    tables["max_eig"][0, 0] = 1234.0  # so that what is kept can be told from what is measured
    found = compute_surface(request, mlp_weights, rows, resume=HalfDone(replace(half, quantities=tables)))
    assert found.quantities.keys() == whole.quantities.keys()
    assert found.quantities["max_eig"][0, 0] == 1234.0
    for name, table in found.quantities.items():
        np.testing.assert_array_equal(table[hole], whole.quantities[name][hole])
        np.testing.assert_array_equal(table[~hole][1:], whole.quantities[name][~hole][1:])
    without = surface_request("mlp", axis(3), axis(2))
    plain = compute_surface(without, mlp_weights, rows, resume=HalfDone(replace(half, request=None, quantities=tables)))
    assert plain.quantities["max_eig"][0, 0] == 1234.0
    assert np.isnan(plain.quantities["max_eig"][1]).all()


def test_a_file_of_the_original_is_measured_at_some_cells_before_it_is_believed(whole, mlp_weights, rows):
    half = theirs(with_holes(whole, HOLE))
    found = compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(half))
    np.testing.assert_array_equal(found.loss, whole.loss)
    assert (found.examples[~HOLE] == 0).all()
    assert (found.examples[HOLE] == 300).all()
    checked = found.provenance["resumed"][0]["checked"]
    assert len(checked) == 5
    assert all(cell["stored"] == pytest.approx(cell["measured"], rel=1e-9) for cell in checked)
    half.loss[0, 0] *= 1 + 9e-4
    compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(half))
    half.loss[0, 0] *= 1 + 3e-4
    with pytest.raises(
        InvalidRequest, match=r"half\.h5 holds the loss .* at α = -1, β = -1 \(row 0, column 0\), but"
    ) as refused:
        compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(half, "half.h5"))
    assert f"{half.loss[0, 0]:.9g}" in str(refused.value)
    assert f"{whole.loss[0, 0]:.9g}" in str(refused.value)


def test_a_cell_that_was_not_finite_has_to_be_so_again(whole, mlp_weights, rows):
    half = theirs(with_holes(whole, HOLE))
    half.loss[0, 0], half.state[0, 0] = np.nan, NOT_FINITE
    with pytest.raises(InvalidRequest, match="holds the loss that is not finite at"):
        compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(half))


def test_what_contradicts_is_refused_by_its_field(whole, mlp_weights, rows):
    half = HalfDone(with_holes(whole, HOLE), "half.npz")
    other = whole.request.model_copy(update={"loss": "mse"})
    with pytest.raises(
        InvalidRequest, match=r"half\.npz is the answer to another question: its loss is cross_entropy, but mse"
    ) as no:
        compute_surface(other, mlp_weights, rows, resume=half)
    assert no.value.field == "loss"
    wider = surface_request("mlp", axis(5), axis(4, 2.0))
    with pytest.raises(InvalidRequest, match="has the y axis -1:1:4, but -2:2:4 was asked for") as no:
        compute_surface(wider, mlp_weights, rows, resume=half)
    assert no.value.field == "grid.y"
    with pytest.raises(InvalidRequest, match=r"has the y axis -1:1:4, but none \(a curve\) was asked for"):
        compute_surface(surface_request("mlp", axis(5)), mlp_weights, rows, resume=half)
    bent = replace(theirs(half.surface), x=np.array([-1, -0.5, 0.1, 0.5, 1]))
    with pytest.raises(InvalidRequest, match="x coordinates are not evenly spaced"):
        compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(bent))


def test_cells_over_fewer_examples_than_asked_are_computed_again(whole, mlp_weights, rows):
    early = with_holes(whole, HOLE)
    early.examples[0] = 64
    early.loss[0] = 99.0
    found = compute_surface(whole.request, mlp_weights, rows, resume=HalfDone(early))
    np.testing.assert_array_equal(found.loss, whole.loss)
    told = found.provenance["resumed"][0]
    assert (told["computed_again"], told["kept"], told["computed_cells"]) == (5, [[5, 6]], 18)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_runs_name_exactly_the_cells_that_are_kept(kept):
    named = [cell for first, last in _runs(np.array([kept])) for cell in range(first, last + 1)]
    assert named == list(np.flatnonzero(kept))


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_half_done_file_of_the_original_completes_to_the_golden_values(reference, weights, recorded, arrays):
    """On all 60,000 images, at the nine cells that its 25 x 25 grid shares with the finished 15 x 15 one: three are stored."""
    half = lc.load(reference / "golden_surfaces/mnist_mlp_784_128_10_ce.half_done_25x25.h5")
    shared = np.ix_([0, 12, 24], [0, 12, 24])
    part = replace(half, x=half.x[[0, 12, 24]], y=half.y[[0, 12, 24]], **{name: getattr(half, name)[shared] for name in ARRAYS})
    assert (part.state == [[MEASURED] * 3, [NOT_COMPUTED] * 3, [NOT_COMPUTED] * 3]).all()
    golden = recorded("golden_surfaces/mnist_mlp_784_128_10_ce")
    tensors = weights("golden_surfaces/mnist_mlp_784_128_10_ce.pt")
    architecture = str(match({key: array.shape for key, array in tensors.items()})[0].architecture)
    half_of_range = Standardisation(mean=(0.5,), std=(0.5,))
    request = surface_request(architecture, axis(3), axis(3), preprocessing=half_of_range, from_file=True)
    examples = Examples.from_arrays(*arrays("mnist/train_60000.npz"))
    found = compute_surface(request, tensors, examples, golden, resume=HalfDone(part))
    np.testing.assert_array_equal(found.loss[0], part.loss[0])
    expected = golden.loss[np.ix_([0, 7, 14], [0, 7, 14])]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.accuracy, golden.accuracy[np.ix_([0, 7, 14], [0, 7, 14])])
    checked = found.provenance["resumed"][0]["checked"]
    assert [cell["column"] for cell in checked] == [0, 1, 2]
    np.testing.assert_allclose([cell["measured"] for cell in checked], part.loss[0], rtol=1e-6)


# -- in Python -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 12, generator=generator), torch.randint(0, 4, (60,), generator=generator)
    return model, nn.CrossEntropyLoss(reduction="none"), [(x[:40], y[:40]), (x[40:], y[40:])]


def test_in_python_a_surface_is_completed(own, tmp_path):
    whole = lc.landscape(*own, grid="-1:1:5x-1:1:4")
    half = with_holes(whole, HOLE)
    half.loss[0, 0] *= 1 + 1e-9
    half.save(tmp_path / "half.npz")
    stages = []
    found = lc.landscape(*own, resume=lc.load(tmp_path / "half.npz"), on_stage=stages.append)
    np.testing.assert_array_equal(found.loss[~HOLE], half.loss[~HOLE])
    np.testing.assert_array_equal(found.loss[HOLE], whole.loss[HOLE])
    assert found.provenance["resumed"][0]["kept"] == [[0, 6]]
    assert len(found.provenance["resumed"][0]["checked"]) == 5
    assert stages[0].loss[0, 0] == half.loss[0, 0]


def test_in_python_another_model_plane_or_grid_is_refused(own):
    model, loss, batches = own
    half = with_holes(lc.landscape(*own, grid="-1:1:5x-1:1:4"), HOLE)
    with pytest.raises(InvalidRequest, match="x axis -1:1:5, but -1:1:7 was asked for"):
        lc.landscape(*own, grid="-1:1:7x-1:1:4", resume=half)
    with pytest.raises(InvalidRequest, match="is of another plane"):
        lc.landscape(*own, plane={"x": {"kind": "random", "seed": 5}, "y": {"kind": "random", "seed": 6}}, resume=half)
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    with pytest.raises(InvalidRequest, match="is of another model"):
        lc.landscape(model, loss, batches, resume=half)
    with pytest.raises(InvalidRequest, match="but the same cell measured now gives"):
        lc.landscape(model, loss, batches, resume=replace(half, provenance={}))
