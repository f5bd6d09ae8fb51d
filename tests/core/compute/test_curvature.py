"""Hessian directions: eigenvectors as by closed forms and by autograd's full Hessian, on the examples that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from landscape_core.compute import Examples, compute_surface, curvature, derive, lanczos, load, prepare, reference_surface
from landscape_core.compute.curvature import Hessian
from landscape_core.compute.lanczos import top_eigenpairs
from landscape_core.compute.losses import per_example, twice_differentiable
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.requests import HessianDirection, Normalisation, PlaneSpec, SurfaceRequest

from .requested import axis, surface_request


@pytest.fixture
def rows() -> Examples:
    rng = np.random.default_rng(0)
    return Examples.from_arrays(rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 3, 300))


@pytest.fixture
def small() -> dict[str, np.ndarray]:
    """A network 6-4-3."""
    rng = np.random.default_rng(7)
    shapes = {"a.weight": (4, 6), "a.bias": (4,), "b.weight": (3, 4), "b.bias": (3,)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def asked(x, y=None, *, architecture="mlp:activation=tanh", **parts) -> SurfaceRequest:
    how = parts.pop("normalisation", Normalisation())
    request = surface_request(architecture, axis(3), None if y is None else axis(3), normalisation=how, **parts)
    return request.model_copy(update={"plane": PlaneSpec(x=x, y=y, normalisation=how)})


def top(index: int, examples: int = 512) -> HessianDirection:
    return HessianDirection(index=index, examples=examples)


def whole_hessian(request: SurfaceRequest, tensors, examples: Examples, count: int) -> np.ndarray:
    """Autograd's full Hessian in float64, of all parameters or of the matrices alone."""
    module = load(request.architecture, tensors).double()
    x, labels = prepare(examples, request.data)
    x, labels = x[:count].double(), labels[:count]
    ignore = request.plane.normalisation.ignore
    names = [name for name, p in module.named_parameters() if ignore == "none" or p.dim() > 1]
    start = {name: dict(module.named_parameters())[name].detach() for name in names}
    sizes = [start[name].numel() for name in names]

    def loss(flat):
        parts = {name: piece.view(start[name].shape) for name, piece in zip(names, flat.split(sizes), strict=True)}
        return twice_differentiable(request.loss)(functional_call(module, parts, (x,)), labels).mean()

    return torch.autograd.functional.hessian(loss, torch.cat([start[name].flatten() for name in names])).numpy()


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_softmax", "mse", "multi_margin", "nll"])
@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_eigenvectors_are_those_of_the_full_hessian(small, rows, loss, ignore):
    how = Normalisation(ignore=ignore)
    for x, y in ((top(1), top(2)), (top(-1), top(1, 100))):
        request = asked(x, y, loss=loss, seed=4, examples=200, normalisation=how)
        derived = derive(request, small, rows)
        for name, spec, direction in (("x", x, derived.x), ("y", y, derived.y)):
            count = min(spec.examples, 200)
            matrix = whole_hessian(request, small, rows, count)
            values, vectors = np.linalg.eigh(matrix)
            value, vector = values[-spec.index if spec.index > 0 else 0], vectors[:, -spec.index if spec.index > 0 else 0]
            about = derived.about["directions"]
            scale = np.abs(values).max()
            assert about[f"{name}_eigenvalue"] == pytest.approx(value, abs=1e-5 * scale)
            assert about[f"{name}_hessian_examples"] == count
            assert about[f"{name}_residual"] <= lanczos.TOLERANCE
            ours = flat([a for a in direction if ignore == "none" or a.ndim > 1])
            assert np.linalg.norm(ours) == pytest.approx(1, rel=1e-6)
            assert np.linalg.norm(matrix @ ours - value * ours) < 3e-4 * scale
            gap = np.abs(np.delete(values, np.abs(values - value).argmin()) - value).min() / scale
            assert abs(ours @ vector) > 1 - (2e-4 / gap) ** 2 - 1e-6
            assert ours[np.abs(ours).argmax()] > 0
            assert all(not a.any() for a in direction if ignore == "biasbn" and a.ndim <= 1)


def test_a_quadratic_loss_in_closed_form(rows):
    """One linear layer with squared error: H = 2/C · 1 ⊗ XᵀX/N, each eigenvalue C times, and the loss is its parabola."""
    weight = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    request = asked(top(1), top(4), architecture="mlp:activation=identity", loss="mse")
    surface = compute_surface(request, {"w.weight": weight}, rows)
    x = rows.x.astype(np.float64)
    values = np.linalg.eigvalsh(2 / 3 * x.T @ x / len(x))[::-1]
    about = surface.provenance["directions"]
    assert (about["x_eigenvalue"], about["y_eigenvalue"]) == (
        pytest.approx(values[0], rel=1e-5),
        pytest.approx(values[1], rel=1e-5),
    )
    assert about["cosine"] == pytest.approx(0, abs=1e-5)
    alpha, beta = np.meshgrid(surface.x, surface.y)
    bend = surface.loss + surface.loss[::-1, ::-1] - 2 * surface.loss[1, 1]
    np.testing.assert_allclose(bend, values[0] * alpha**2 + values[1] * beta**2, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(surface.loss, reference_surface(request, {"w.weight": weight}, rows)[0], rtol=2e-6)


def test_a_loss_that_is_linear_has_no_curvature(rows):
    weight = np.zeros((3, 6), np.float32)
    derived = derive(asked(top(1), architecture="mlp", loss="nll"), {"w.weight": weight}, rows)
    assert derived.about["directions"]["x_eigenvalue"] == 0.0
    assert np.linalg.norm(flat(derived.x)) == pytest.approx(1)


def test_products_with_batch_norm_and_convolutions(resnet_weights):
    """Against differences of float64 gradients, in evaluation mode."""
    rng = np.random.default_rng(3)
    images = Examples.from_arrays(rng.integers(0, 256, (40, 8, 8, 3), np.uint8), rng.integers(0, 4, 40))
    request = asked(top(1), architecture="resnet20", examples=40, normalisation=Normalisation(of="states"))
    module = load(request.architecture, resnet_weights)
    hessian = Hessian(request, module, images, 40)
    vector = rng.normal(size=len(hessian))
    vector *= 1e-2 / np.linalg.norm(vector)
    ours = hessian.times(vector)
    x, labels = prepare(images, request.data)
    double = load(request.architecture, resnet_weights).double()
    names = [name for name, p in double.named_parameters() if p.dim() > 1]
    own = {name: p.detach() for name, p in double.named_parameters() if p.dim() > 1}
    pieces = torch.from_numpy(vector).split([own[name].numel() for name in names])

    def gradient(step: float) -> np.ndarray:
        at = {n: (own[n] + step * v.view(own[n].shape)).requires_grad_() for n, v in zip(names, pieces, strict=True)}
        loss = torch.nn.functional.cross_entropy(functional_call(double, at, (x.double(),)), labels)
        return np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(loss, list(at.values()))])

    step = 1e-4
    expected = (gradient(step) - gradient(-step)) / (2 * step)
    assert np.linalg.norm(ours - expected) < 1e-3 * np.linalg.norm(expected)
    assert not any(p.requires_grad for p in module.parameters())
    arrays = hessian.direction(vector)
    assert len(arrays) == len(module.state_dict())


def test_the_direction_does_not_depend_on_how_batches_are_cut(small, rows, monkeypatch):
    request = asked(top(1))
    before = derive(request, small, rows)
    monkeypatch.setattr(curvature, "PERCEPTRON_BATCH", 7)
    after = derive(request, small, rows)
    np.testing.assert_allclose(flat(after.x), flat(before.x), atol=1e-4)
    assert [a.tobytes() for a in derive(request, small, rows).x] == [a.tobytes() for a in after.x]


def test_memory_that_does_not_suffice_halves_the_batch(small, rows, monkeypatch):
    hessian = Hessian(asked(top(1)), load(asked(top(1)).architecture, small), rows, 300)
    vector = np.random.default_rng(0).normal(size=len(hessian))
    right, part, most = hessian.times(vector), hessian._part, 20

    def tight(parts, start, stop):
        if stop - start > most:
            raise torch.OutOfMemoryError("out of memory")
        return part(parts, start, stop)

    monkeypatch.setattr(hessian, "_part", tight)
    np.testing.assert_allclose(hessian.times(vector), right, rtol=1e-3, atol=1e-5)
    most = 0
    with pytest.raises(OutOfMemory, match="second derivatives of one example"):
        hessian.times(vector)


def test_what_cannot_be_found_is_said(small, rows, monkeypatch):
    tiny = {"w.weight": np.ones((3, 6), np.float32)}
    with pytest.raises(InvalidRequest, match="is of 18 parameters, so it has no eigenvector 19") as refused:
        derive(asked(top(-19), architecture="mlp"), tiny, rows)
    assert refused.value.field == "plane.x.index"
    with pytest.raises(InvalidRequest, match="not finite at this checkpoint"):
        derive(asked(top(1)), small | {"b.bias": np.full(3, np.nan, np.float32)}, rows)
    with pytest.raises(Cancelled):
        derive(asked(top(1)), small, rows, should_stop=lambda: True)
    with pytest.raises(InvalidRequest, match="Both directions are the same"):
        derive(asked(top(1), top(1)), small, rows)
    with pytest.raises(ValueError, match="counted from 1"):
        top(0)
    monkeypatch.setattr(lanczos, "MOST_PRODUCTS", 2)
    with pytest.raises(InvalidRequest, match="Eigenvector 1 of the Hessian did not separate"):
        derive(asked(top(1)), small, rows)


def test_the_margin_in_steps_is_the_margin():
    rng = torch.Generator().manual_seed(0)
    outputs, labels = 2 * torch.randn(50, 7, generator=rng), torch.randint(0, 7, (50,), generator=rng)
    ours = twice_differentiable("multi_margin")(outputs, labels)
    torch.testing.assert_close(ours, per_example("multi_margin")(outputs, labels))


@settings(deadline=None, max_examples=40)
@given(
    eigenvalues=st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, 2.0, 7.0]), min_size=1, max_size=14),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_eigenvalues_that_occur_several_times_are_found_as_often(eigenvalues, count, seed):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
    matrix = q @ np.diag(eigenvalues) @ q.T
    count = min(count, len(eigenvalues))
    pairs = top_eigenpairs(lambda v: matrix @ v, count, lambda _: rng.normal(size=len(eigenvalues)))
    np.testing.assert_allclose([pair.value for pair in pairs], sorted(eigenvalues)[::-1][:count], atol=2e-4 * 7)
    vectors = np.stack([pair.vector for pair in pairs])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-10)


def test_a_basis_that_is_restarted_finds_the_same(monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS_MOST", 9)
    rng = np.random.default_rng(2)
    q, _ = np.linalg.qr(rng.normal(size=(300, 300)))
    eigenvalues = np.concatenate([[10.0, 9.0, 8.5], rng.uniform(-4, 8, 297)])
    matrix = q @ np.diag(eigenvalues) @ q.T
    pairs = top_eigenpairs(lambda v: matrix @ v, 3, lambda k: np.random.default_rng(k).normal(size=300))
    assert max(pair.products for pair in pairs) > 9
    np.testing.assert_allclose([pair.value for pair in pairs], eigenvalues[:3], rtol=1e-7)
    for index, pair in enumerate(pairs):
        assert np.linalg.norm(matrix @ pair.vector - pair.value * pair.vector) <= 1.1e-4 * 10
        assert abs(pair.vector @ q[:, index]) > 1 - 1e-5


def test_a_small_eigenvalue_next_to_a_large_one_is_not_mistaken_for_rounding():
    rng = np.random.default_rng(0)
    values = np.concatenate([[500.0], rng.normal(0, 0.01, 300).clip(-0.03, None), [-0.05]])
    (pair,) = top_eigenpairs(lambda v: -values * v, 1, lambda _: rng.normal(size=values.size))
    assert pair.value == pytest.approx(0.05, rel=0.02)
    assert abs(pair.vector[-1]) > 0.95
