"""Eigenvalues at the cells of a plane: as by closed forms and by autograd's full Hessian at each of them."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl
import torch
from pydantic import ValidationError
from torch import nn
from torch.func import functional_call

from landscape_core import formats
from landscape_core.catalogue import check_request
from landscape_core.compute import Evaluator, Examples, compute_surface, lanczos, load
from landscape_core.compute.curvature import Hessian
from landscape_core.errors import Cancelled, InvalidRequest
from landscape_core.plane import MAX_HESSIAN_PARAMETERS
from landscape_core.quantities import values
from landscape_core.requests import Axis, CurvatureSpec, Normalisation, SurfaceRequest

from .requested import axis, surface_request


@pytest.fixture
def rows() -> Examples:
    rng = np.random.default_rng(0)
    return Examples.from_arrays(rng.normal(size=(120, 6)).astype(np.float32), rng.integers(0, 3, 120))


@pytest.fixture
def small() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    shapes = {"a.weight": (4, 6), "a.bias": (4,), "b.weight": (3, 4), "b.bias": (3,)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def asked(architecture: str, x, y=None, examples: int = 256, **parts) -> SurfaceRequest:
    return surface_request(architecture, x, y, **parts).model_copy(update={"curvature": CurvatureSpec(examples=examples)})


def ends(module: nn.Module, start: dict[str, torch.Tensor], x, labels, names) -> np.ndarray:
    """The extreme eigenvalues of autograd's full Hessian of the mean cross-entropy at these parameters, in float64."""
    sizes = [start[name].numel() for name in names]

    def loss(flat):
        parts = {n: p.view(start[n].shape) for n, p in zip(names, flat.split(sizes), strict=True)}
        return nn.functional.cross_entropy(functional_call(module, {**start, **parts}, (x,)), labels)

    matrix = torch.autograd.functional.hessian(loss, torch.cat([start[n].flatten() for n in names])).numpy()
    return np.linalg.eigvalsh(matrix)[[-1, 0]]


@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_every_cell_is_that_of_the_full_hessian(small, rows, ignore):
    how = Normalisation(ignore=ignore)
    request = asked("mlp:activation=tanh", axis(3), axis(2, 0.5), examples=50, seed=4, normalisation=how)
    surface = compute_surface(request, small, rows)
    module = load(request.architecture, small).double()
    order = np.random.Generator(np.random.PCG64(4)).permutation(120)[:50]
    x, labels = torch.from_numpy(rows.x[order]).double(), torch.from_numpy(rows.y[order])
    names = [name for name, p in module.named_parameters() if ignore == "none" or p.dim() > 1]
    delta, eta = (map(torch.from_numpy, d) for d in Evaluator(request, small, rows).directions())
    own = {n: (p.detach(), d, e) for (n, p), d, e in zip(module.named_parameters(), delta, eta, strict=True)}
    for row, beta in enumerate(surface.y):
        for column, alpha in enumerate(surface.x):
            start = {name: p + alpha * d.double() + beta * e.double() for name, (p, d, e) in own.items()}
            expected = ends(module, start, x, labels, names)
            found = [surface.quantities[name][row, column] for name in ("max_eig", "min_eig")]
            np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
    about = surface.provenance["curvature"]
    assert (about["examples"], about["parameters"], about["not_separated"]) == (50, 36 if ignore == "biasbn" else 43, 0)
    assert about["products"] >= 6
    plain = compute_surface(request.model_copy(update={"curvature": None}), small, rows)
    np.testing.assert_array_equal(plain.loss, surface.loss)
    assert plain.quantities == {}
    assert "curvature" not in plain.provenance


def test_a_quadratic_loss_has_the_same_curvature_everywhere(rows):
    """One linear layer with squared error: H = 2/C · 1 ⊗ XᵀX/N."""
    weight = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    surface = compute_surface(asked("mlp:activation=identity", axis(3), loss="mse"), {"w.weight": weight}, rows)
    x = rows.x.astype(np.float64)
    expected = np.linalg.eigvalsh(2 / 3 * x.T @ x / len(x))
    np.testing.assert_allclose(surface.quantities["max_eig"], np.full((1, 3), expected[-1]), rtol=1e-5)
    np.testing.assert_allclose(surface.quantities["min_eig"], np.full((1, 3), expected[0]), rtol=1e-3)
    np.testing.assert_array_equal(values(surface, "negative_curvature"), np.zeros((1, 3)))


def test_convolutions_with_running_statistics_that_move(resnet_weights):
    """The Hessian is that of the network whose parameters and statistics stand at the cell."""
    rng = np.random.default_rng(3)
    images = Examples.from_arrays(rng.integers(0, 256, (6, 8, 8, 3), np.uint8), rng.integers(0, 4, 6))
    cell = Axis(start=0.1, stop=0.1, points=1)
    request = asked("resnet20", cell, examples=6, normalisation=Normalisation(of="states"))
    surface = compute_surface(request, resnet_weights, images)
    (delta, _), own = Evaluator(request, resnet_weights, images).directions(), load(request.architecture, resnet_weights)
    moved = {
        name: (value + 0.1 * torch.from_numpy(d)) if value.is_floating_point() else value
        for (name, value), d in zip(own.state_dict().items(), delta, strict=True)
    }
    own.load_state_dict(moved)
    smallest, largest = Hessian(request, own, images, 6).extremes()
    assert surface.quantities["max_eig"].item() == pytest.approx(largest.value, rel=1e-3)
    assert surface.quantities["min_eig"].item() == pytest.approx(smallest.value, rel=2e-2)


def test_what_is_not_known_is_a_hole(small, rows, monkeypatch, tmp_path):
    """Where the loss is not finite, or an eigenvector does not separate; nothing is put in its place."""
    request = asked("mlp:activation=relu", axis(3, 1e6), examples=60)
    huge = {name: array * np.float32(1e30 if array.ndim > 1 else 1) for name, array in small.items()}
    surface = compute_surface(request, huge, rows)
    assert np.isnan(surface.loss[0, 0])
    assert np.isnan(surface.quantities["max_eig"][0, 0])
    assert np.isnan(surface.quantities["min_eig"][0, 0])
    monkeypatch.setattr(lanczos, "MOST_PRODUCTS", 2)
    surface = compute_surface(asked("mlp:activation=tanh", axis(2)), small, rows)
    assert np.isnan(surface.quantities["max_eig"]).all()
    assert np.isfinite(surface.loss).all()
    assert surface.provenance["curvature"]["not_separated"] == 2
    for suffix in (".npz", ".json"):
        formats.save(surface, tmp_path / f"a{suffix}")
        assert np.isnan(formats.load(tmp_path / f"a{suffix}").quantities["min_eig"]).all()


def test_progress_and_an_early_end(small, rows):
    shares: list[float] = []
    request = asked("mlp", axis(4), examples=20)
    compute_surface(request, small, rows, progress=shares.append)
    assert shares == sorted(shares)
    assert (shares[-1], sum(share > 0.1 for share in shares)) == (1.0, 4)  # the eigenvalues are most of the work
    calls = 0

    def in_the_eigenvalues() -> bool:
        nonlocal calls
        calls += 1
        return calls > 4 * 2 + 30

    with pytest.raises(Cancelled):
        compute_surface(request, small, rows, should_stop=in_the_eigenvalues)


def test_it_changes_no_other_question():
    request = surface_request("mlp", axis(3))
    assert "curvature" not in request.canonical_json()
    curved = asked("mlp", axis(3))
    assert curved.digest != request.digest
    assert SurfaceRequest.model_validate_json(curved.canonical_json()) == curved
    with pytest.raises(ValidationError):
        CurvatureSpec(examples=0)


def test_a_network_too_large_is_refused(rows):
    wide = MAX_HESSIAN_PARAMETERS // 9 + 1
    shapes = {"a.weight": (wide, 6), "b.weight": (3, wide)}
    check_request(asked("mlp", axis(3)).model_copy(update={"curvature": None}), shapes, rows.facts)
    with pytest.raises(InvalidRequest, match=r"at most 50,000,000 parameters, but this one has 50,00.,...") as refused:
        check_request(asked("mlp", axis(3)), shapes, rows.facts)
    assert refused.value.field == "curvature"


def test_vectors_are_multiplied_in_one_thread_whatever_the_process_has(small, rows):
    """Else the last bits of an eigenvalue depend on the machine's cores, and a worker's on who else is there."""
    request = asked("mlp:activation=tanh", axis(3), examples=50)
    hessian = Hessian(request, load(request.architecture, small), rows, 50)

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}

    seen = []
    hessian.tell(lambda: seen.append(threads()))
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        hessian.extremes()
        assert threads() == {2}
    assert seen
    assert all(found == {1} for found in seen)
