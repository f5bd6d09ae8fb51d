"""Trace, spectral density and eigenvalues of both ends: as by closed forms and by autograd's full Hessian."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import landscape_core as lc
from landscape_core.compute import Examples, compute_curvature, lanczos, quadrature
from landscape_core.compute.lanczos import NotFinite, extreme_eigenpairs
from landscape_core.compute.quadrature import hutchinson, spectral_density
from landscape_core.errors import Cancelled, InvalidRequest, OutOfMemory
from landscape_core.spectra import Curvature, CurvatureOptions

from .requested import axis, surface_request


def signs(size: int):
    return lambda k: np.random.default_rng(k % 2**32).choice([-1.0, 1.0], size)


def symmetric(eigenvalues, seed: int = 0) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return q @ np.diag(eigenvalues) @ q.T


def whole_hessian(model: nn.Module, loss, x, y, names) -> np.ndarray:
    """Autograd's, of the mean loss."""
    own = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [own[name].numel() for name in names]

    def mean(flat):
        parts = {n: piece.view(own[n].shape) for n, piece in zip(names, flat.split(sizes), strict=True)}
        return loss(functional_call(model, {**own, **parts}, (x,)), y).mean()

    return torch.autograd.functional.hessian(mean, torch.cat([own[n].flatten() for n in names])).numpy().astype(float)


@pytest.fixture
def perceptron():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    return model, torch.randn(90, 5), torch.randint(0, 3, (90,))


# -- matrices ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    eigenvalues=st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0]), min_size=1, max_size=14),
    seed=st.integers(0, 2**32),
)
def test_both_ends_from_one_search(eigenvalues, seed):
    matrix = symmetric(eigenvalues, seed)
    start = np.random.default_rng(seed).normal(size=len(eigenvalues))
    smallest, largest = extreme_eigenpairs(lambda v: matrix @ v, start)
    np.testing.assert_allclose([smallest.value, largest.value], [min(eigenvalues), max(eigenvalues)], atol=2e-4 * 7)
    for pair in (smallest, largest):
        assert np.linalg.norm(matrix @ pair.vector - pair.value * pair.vector) <= 1.1e-4 * 7


def test_both_ends_through_restarts(monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS_MOST", 12)
    eigenvalues = np.concatenate([[-9.0, 11.0], np.random.default_rng(0).uniform(-7, 8, 298)])
    matrix, start = symmetric(eigenvalues), np.random.default_rng(1).normal(size=300)
    smallest, largest = extreme_eigenpairs(lambda v: matrix @ v, start)
    assert largest.products > 12
    assert (smallest.value, largest.value) == (pytest.approx(-9, abs=1e-4), pytest.approx(11, abs=1e-4))


def test_the_trace_lies_within_its_error_and_ends_where_it_is_good_enough():
    matrix = symmetric(np.linspace(-1, 5, 60))
    off = []
    for k in range(40):
        found = hutchinson(lambda v: matrix @ v, lambda p, k=k: signs(60)(1000 * k + p), 0.02, 1000)
        assert found.stderr <= 0.02 * abs(found.value)
        assert quadrature.LEAST_PROBES <= found.probes < 1000
        off.append((found.value - 120) / found.stderr)
    assert abs(np.mean(off)) < 4 / np.sqrt(40)
    assert 0.6 < np.std(off) < 1.6  # the error that it claims is the error that it has
    capped = hutchinson(lambda v: matrix @ v, signs(60), 0.0, 5)
    assert capped.probes == 5
    forms = [signs(60)(k) @ matrix @ signs(60)(k) for k in range(5)]
    assert capped.value == pytest.approx(np.mean(forms))
    assert capped.stderr == pytest.approx(np.std(forms, ddof=1) / np.sqrt(5))


def test_the_density_of_a_known_spectrum():
    """Mean over probes against the broadened exact density; each quadrature is exact for the moments that its vector sees."""
    eigenvalues = np.concatenate([np.zeros(150), np.linspace(0.5, 1, 40), [4.0, -2.0, 3.0, 3.0], np.full(6, 2.0)])
    matrix = symmetric(eigenvalues)
    found = spectral_density(lambda v: matrix @ v, signs(200), 30, 40)
    t, phi = found.eigenvalues, found.density
    assert found.width == pytest.approx(quadrature.WIDTH * 6, rel=1e-6)
    assert np.trapezoid(phi, t) == pytest.approx(1, abs=1e-9)
    for low, high in ((-2.5, -1), (-0.2, 0.2), (0.4, 1.2), (1.8, 2.2), (2.8, 3.2), (3.8, 4.2)):
        inside = (t > low) & (t < high)
        share = ((eigenvalues > low) & (eigenvalues < high)).mean()
        assert np.trapezoid(phi[inside], t[inside]) == pytest.approx(share, abs=4 * np.sqrt(2 * share / 200 / 30))
    exact = np.exp(-0.5 * ((t[:, None] - eigenvalues) / found.width) ** 2).mean(axis=1) / (found.width * np.sqrt(2 * np.pi))
    assert np.abs(phi - exact).max() < 0.05 * exact.max()
    within = np.abs(phi - exact) <= 4 * found.stderr + 1e-3 * exact.max()
    assert within.mean() > 0.97


def test_a_full_quadrature_sees_what_its_vector_sees():
    """With as many steps as rows: Σ weights λ^k = zᵀ Hᵏ z / n for every k."""
    matrix = symmetric(np.linspace(-1, 2, 12))
    z = signs(12)(0)
    nodes, weights = quadrature._nodes(lambda v: matrix @ v, z, 12)
    for power in range(8):
        assert weights @ nodes**power == pytest.approx(z @ np.linalg.matrix_power(matrix, power) @ z / 12, abs=1e-9)


def test_vectors_that_do_not_fit_are_forgotten_and_the_density_stays(monkeypatch):
    eigenvalues = np.concatenate([np.random.default_rng(1).normal(0, 0.1, 300), [5.0, 3.0]])
    apply = lambda v: eigenvalues * v  # noqa: E731
    whole = spectral_density(apply, signs(302), 2, 50)
    monkeypatch.setattr(lanczos, "BASIS_BYTES", 1)
    part = spectral_density(apply, signs(302), 2, 50)
    for power in range(5):
        moments = [np.trapezoid(d.density * d.eigenvalues**power, d.eigenvalues) for d in (whole, part)]
        assert moments[0] == pytest.approx(moments[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_multiple_of_the_identity(value):
    found = spectral_density(lambda v: value * v, signs(5), 1, 10)
    assert found.steps == 1
    assert np.trapezoid(found.density, found.eigenvalues) == pytest.approx(1)
    assert found.eigenvalues[found.density.argmax()] == pytest.approx(value, abs=1e-9)
    assert np.isnan(found.stderr).all()
    assert hutchinson(lambda v: value * v, signs(5), 0.1, 50).value == pytest.approx(5 * value)
    smallest, largest = extreme_eigenpairs(lambda v: value * v, np.arange(1.0, 6.0))
    assert smallest.value == largest.value == pytest.approx(value)


def test_what_is_not_finite_is_refused():
    for search in (
        lambda apply: extreme_eigenpairs(apply, np.ones(3)),
        lambda apply: hutchinson(apply, signs(3), 0.1, 9),
        lambda apply: spectral_density(apply, signs(3), 1, 3),
    ):
        with pytest.raises(NotFinite, match="not finite at this checkpoint"):
            search(lambda v: v * np.nan)


# -- models of one's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ignore", "reduction"), [("biasbn", "none"), ("none", "mean")])
def test_curvature_is_that_of_the_full_hessian(perceptron, ignore, reduction):
    model, x, y = perceptron
    names = [n for n, p in model.named_parameters() if ignore == "none" or p.dim() > 1]
    matrix = whole_hessian(model, nn.CrossEntropyLoss(), x, y, names)
    values = np.linalg.eigvalsh(matrix)
    batches = [(x[:64], y[:64]), (x[64:], y[64:])]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[0].bias.requires_grad_(False)
    loss = nn.CrossEntropyLoss(reduction=reduction)
    found = lc.curvature(model, loss, iter(batches), top=3, ignore=ignore, trace_probes=60)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.largest, values[::-1][:3], atol=1e-4 * scale)
    np.testing.assert_allclose(found.smallest, values[:3], atol=1e-4 * scale)
    assert found.error <= 1e-4 * scale
    assert abs(found.trace.value - values.sum()) < 4 * found.trace.stderr
    t, phi = found.density.eigenvalues, found.density.density
    assert np.trapezoid(phi, t) == pytest.approx(1, abs=1e-9)
    assert np.trapezoid(phi * t, t) * len(values) == pytest.approx(values.sum(), rel=0.35)
    beyond = quadrature.MARGIN * found.density.width
    assert t[0] + beyond == pytest.approx(values[0], abs=0.01 * scale)
    assert t[-1] - beyond == pytest.approx(values[-1], abs=0.01 * scale)
    assert (found.parameters, found.examples) == (len(values), 90)
    assert found.loss == pytest.approx(nn.CrossEntropyLoss()(model(x), y).item(), rel=1e-6)
    assert found.negative_share == pytest.approx(abs(values[0] / values[-1]), rel=2e-3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in model.parameters())


def test_a_quadratic_loss_in_closed_form():
    """L = ½ mean ‖W x‖²: H = 1 ⊗ XᵀX/N, each eigenvalue as often as W has rows."""
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(4, 3, bias=False)
    found = lc.curvature(model, lambda out, _: 0.5 * (out**2).sum(1), [(x, torch.zeros(50))], top=12)
    values = np.sort(np.repeat(np.linalg.eigvalsh((x.T @ x / 50).numpy().astype(float)), 3))
    np.testing.assert_allclose(found.largest, values[::-1], rtol=1e-5)
    np.testing.assert_allclose(found.smallest, values, rtol=1e-5)
    assert abs(found.trace.value - values.sum()) < 4 * found.trace.stderr
    assert "no eigenvalue is negative" in found.summary()


def test_attention_has_second_derivatives_too():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    x, y = torch.randn(6, 4, 8), torch.randn(6)
    loss = lambda out, y: (out.mean((1, 2)) - y) ** 2 + (out**3).mean((1, 2))  # noqa: E731
    found = lc.curvature(model, loss, [(x, y)], top=1, trace_probes=2, density_probes=1, steps=2)
    names = [n for n, p in model.named_parameters() if p.dim() > 1]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        values = np.linalg.eigvalsh(whole_hessian(model.eval(), loss, x, y, names))
    assert found.largest[0] == pytest.approx(values[-1], rel=1e-3)
    assert found.smallest[0] == pytest.approx(values[0], rel=1e-2, abs=1e-4 * np.abs(values).max())


def test_the_same_twice(perceptron, tmp_path):
    model, x, y = perceptron
    shares: list[float] = []
    first, second = (
        lc.curvature(
            model, nn.CrossEntropyLoss(), [(x, y)], top=2, trace_probes=20, density_probes=2, steps=20, progress=shares.append
        )
        for _ in range(2)
    )
    assert (first.largest.tobytes(), first.trace) == (second.largest.tobytes(), second.trace)
    assert first.density.density.tobytes() == second.density.density.tobytes()
    half = shares[: len(shares) // 2]
    assert (half, half[-1]) == (sorted(half), 1.0)
    assert first.products == len(half) - 4


# -- requests ----------------------------------------------------------------------------------------------------------


def rows(count: int = 120) -> Examples:
    rng = np.random.default_rng(0)
    return Examples.from_arrays(rng.normal(size=(count, 6)).astype(np.float32), rng.integers(0, 3, count))


def small() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    shapes = {"a.weight": (4, 6), "a.bias": (4,), "b.weight": (3, 4), "b.bias": (3,)}
    return {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_request_and_a_model_of_ones_own_agree():
    tensors, examples = small(), rows()
    request = surface_request("mlp:activation=tanh", axis(1), examples=100, seed=3)
    found = compute_curvature(request, tensors, examples, CurvatureOptions(top=2, steps=20))
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    model.load_state_dict(dict(zip(model.state_dict(), map(torch.from_numpy, tensors.values()), strict=True)))
    order = np.random.Generator(np.random.PCG64(3)).permutation(120)[:100]
    batches = [(torch.from_numpy(examples.x[order]), torch.from_numpy(examples.y[order]))]
    own = lc.curvature(model, nn.CrossEntropyLoss(), batches, top=2, steps=20)
    np.testing.assert_allclose(found.largest, own.largest, rtol=1e-4)
    np.testing.assert_allclose(found.smallest, own.smallest, rtol=1e-3)
    assert (found.parameters, found.examples, found.loss) == (36, 100, pytest.approx(own.loss, rel=1e-6))
    assert abs(found.trace.value - own.trace.value) < 4 * np.hypot(found.trace.stderr, own.trace.stderr)
    with pytest.raises(Cancelled):
        compute_curvature(request, tensors, examples, should_stop=lambda: True)


def test_memory_that_does_not_suffice_is_said(perceptron, monkeypatch):
    request, model, tensors, examples = surface_request("mlp", axis(1)), perceptron[0], small(), rows()

    def none(*_args, **_named):
        raise MemoryError

    monkeypatch.setattr(lanczos, "_Krylov", none)  # which holds the basis
    with pytest.raises(OutOfMemory, match="does not suffice for the vectors of 36 numbers"):
        compute_curvature(request, tensors, examples)
    monkeypatch.undo()
    monkeypatch.setattr(copy, "deepcopy", none)
    with pytest.raises(OutOfMemory, match="does not suffice for the network and 120 examples on cpu; take fewer"):
        compute_curvature(request, tensors, examples)
    monkeypatch.undo()
    monkeypatch.setattr(torch.autograd, "grad", none)
    with pytest.raises(OutOfMemory, match="second derivatives of a batch of 90; give smaller ones"):
        lc.curvature(model, nn.CrossEntropyLoss(), [perceptron[1:]])


class _Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError("derivative for aten::_thing_backward is not implemented")


@pytest.mark.parametrize(
    ("loss", "named", "says"),
    [
        (lambda out, y: out.detach().sum(1), {}, "differentiate"),
        (lambda out, y: _Opaque.apply(out).sum(1), {}, "has no second derivative in PyTorch"),
        (lambda out, y: out.sum(1) * torch.inf, {}, "not finite"),
        (nn.CrossEntropyLoss(), {"top": 0}, "top should be a whole number in 1 … 20, but 0 came"),
        (nn.CrossEntropyLoss(), {"steps": 1}, "steps should be a whole number"),
        (nn.CrossEntropyLoss(), {"tolerance": 2.0}, "tolerance should be a share"),
        (nn.CrossEntropyLoss(reduction="sum"), {}, "sums over a batch"),
    ],
)
def test_refusals(perceptron, loss, named, says):
    model, x, y = perceptron
    with pytest.raises(InvalidRequest, match=says):
        lc.curvature(model, loss, [(x, y)], **named)
    assert all(p.requires_grad for p in model.parameters())


# -- what is written ---------------------------------------------------------------------------------------------------


def test_reports(perceptron, tmp_path):
    model, x, y = perceptron
    found: Curvature = lc.curvature(model, nn.CrossEntropyLoss(), [(x, y)], top=2, trace_probes=9, density_probes=1, steps=5)
    found.save(tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["largest"] == found.largest.tolist()
    assert told["trace"] == {"value": found.trace.value, "stderr": found.trace.stderr, "probes": found.trace.probes}
    assert told["density"]["density"] == found.density.density.tolist()
    assert set(told["density"]["stderr"]) == {None}  # one probe has no spread
    assert told["negative_share"] == found.negative_share
    assert (told["parameters"], told["examples"], told["density"]["steps"]) == (56, 90, 5)
    found.save(tmp_path / "a.png")
    found.save(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidRequest, match=r"written as .json or .png, not as '.npz'"):
        found.save(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("lowest", "highest", "share"), [(-1.0, 4.0, 0.25), (1.0, 2.0, 0.0), (-1.0, 0.0, np.nan), (-2.0, -1.0, 2.0)]
)
def test_the_share_of_negative_curvature(perceptron, lowest, highest, share):
    model, x, y = perceptron
    found = lc.curvature(model, nn.CrossEntropyLoss(), [(x, y)], top=1, trace_probes=2, density_probes=1, steps=2)
    changed = replace(found, largest=np.array([highest]), smallest=np.array([lowest]))
    assert changed.negative_share == pytest.approx(share, nan_ok=True)
    assert ("no eigenvalue is negative" in changed.summary()) == (lowest >= 0)
