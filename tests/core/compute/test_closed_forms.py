"""Every kind of direction on a quadratic loss, whose surface is known exactly: L(w) = mean (w·x − 1)², H = 2/N XᵀX.

The directions are worked out again in numpy, in float64, by other means than the engine's: eigenvectors of XᵀX, the singular
vectors of the run, differences, Gram-Schmidt. A linear layer with one output and the label 0 is that loss (`mse` against one-hot).
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import landscape_core as lc
from landscape_core.compute import Examples, compute_surface, reference_surface
from landscape_core.reading import DirectionsContents, write_directions
from landscape_core.requests import SurfaceRequest
from landscape_core.results import MEASURED, NOT_FINITE

from .requested import surface_request

SIZE = 6
RNG = np.random.default_rng(11)
X = RNG.normal(size=(90, SIZE)) * [3, 2, 1.5, 1, 0.7, 0.4]
X = X.astype(np.float32)
CENTRE = RNG.normal(size=SIZE).astype(np.float32)
RUN = {digit * 64: (CENTRE + RNG.normal(size=SIZE) * [2, 1, 1, 1, 1, 0.5]).astype(np.float32) for digit in "123"}
FILE = {axis: RNG.normal(size=SIZE).astype(np.float32) for axis in "xy"}
GRID = {"x": {"start": -1, "stop": 1.5, "points": 4}, "y": {"start": -0.5, "stop": 1, "points": 3}}
IDS = list(RUN)

RANDOM, DIRECTION_FILE = {"kind": "random", "seed": 5}, {"kind": "file", "file": "f" * 64}
PLANES = {
    "random": (RANDOM, {"kind": "random", "seed": 6}),
    "towards": ({"kind": "towards", "checkpoint": IDS[0]}, RANDOM),
    "three checkpoints": ({"kind": "towards", "checkpoint": IDS[0]}, {"kind": "towards", "checkpoint": IDS[1]}),
    "file": (DIRECTION_FILE, DIRECTION_FILE),
    "principal": tuple({"kind": "principal", "index": i, "checkpoints": IDS} for i in (1, 2)),
    "principal and towards": ({"kind": "principal", "index": 1, "checkpoints": IDS}, {"kind": "towards", "checkpoint": IDS[2]}),
    "hessian": tuple({"kind": "hessian", "index": i, "examples": 1000} for i in (1, 3)),
    "both ends of the hessian": tuple({"kind": "hessian", "index": i, "examples": 1000} for i in (2, -1)),
    "hessian and towards": ({"kind": "hessian", "index": 1, "examples": 1000}, {"kind": "towards", "checkpoint": IDS[0]}),
    "hessian and principal": ({"kind": "hessian", "index": 1, "examples": 1000}, {"kind": "principal", "index": 1, "checkpoints": IDS}),
}  # fmt: skip


def loss_at(w: np.ndarray) -> np.ndarray:
    """(…, SIZE) → (…)."""
    return ((w @ X.T.astype(np.float64) - 1) ** 2).mean(axis=-1)


def upright(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector) * np.sign(vector[np.abs(vector).argmax()])


def eigen() -> tuple[np.ndarray, np.ndarray]:
    return np.linalg.eigh(2 / len(X) * X.T.astype(np.float64) @ X)


def direction(spec: dict, axis: str) -> np.ndarray:
    """A direction in float64, by its definition."""
    centre = CENTRE.astype(np.float64)
    if spec["kind"] == "random":
        seed = int.from_bytes(hashlib.sha256(f"{spec['seed']}:layers.0.weight".encode()).digest()[:8], "big")
        drawn = torch.randn(1, SIZE, generator=torch.Generator().manual_seed(seed))[0].double().numpy()
        return drawn * np.linalg.norm(centre) / np.linalg.norm(drawn)  # one filter
    if spec["kind"] == "towards":
        return RUN[spec["checkpoint"]] - centre
    if spec["kind"] == "file":
        return FILE[axis].astype(np.float64)
    if spec["kind"] == "principal":
        steps = np.stack([*RUN.values(), CENTRE]).astype(np.float64)
        return upright(np.linalg.svd(steps - steps.mean(axis=0))[2][spec["index"] - 1])
    vectors = eigen()[1]
    return upright(vectors[:, -spec["index"] if spec["index"] > 0 else -spec["index"] - 1])


def expected(specs: tuple[dict, dict], *, orthogonal: bool) -> np.ndarray:
    x, y = direction(specs[0], "x"), direction(specs[1], "y")
    if orthogonal:
        y = y - (x @ y) / (x @ x) * x
    alpha, beta = (np.linspace(GRID[a]["start"], GRID[a]["stop"], GRID[a]["points"]) for a in "xy")
    return loss_at(CENTRE + alpha[None, :, None] * x + beta[:, None, None] * y)


@pytest.mark.parametrize("orthogonal", [False, True], ids=["as it is", "orthogonal"])
@pytest.mark.parametrize("name", PLANES)
def test_the_surface_is_the_parabola(name, orthogonal):
    specs = PLANES[name]
    body = surface_request("mlp:activation=identity", lc.Axis(start=0, stop=1, points=2), loss="mse").model_dump()
    plane = {"x": specs[0], "y": specs[1], **({"orthogonal": True} if orthogonal else {})}
    request = SurfaceRequest.model_validate(body | {"plane": plane, "grid": GRID})
    tensors, examples = {"w.weight": CENTRE[None]}, Examples.from_arrays(X, np.zeros(len(X), np.int64))
    others = {name: {"w.weight": w[None]} for name, w in RUN.items()}
    files = SimpleNamespace(x=[FILE["x"][None]], y=[FILE["y"][None]]) if name == "file" else None
    surface = compute_surface(request, tensors, examples, files, checkpoints=others.__getitem__)
    loose = any(spec["kind"] == "hessian" for spec in specs)  # eigenvectors are found to 10⁻⁴ of the largest eigenvalue
    wanted = expected(specs, orthogonal=orthogonal)
    np.testing.assert_allclose(surface.loss, wanted, rtol=3e-4 if loose else 5e-6)
    slow = reference_surface(request, tensors, examples, files, others.__getitem__)[0]
    np.testing.assert_allclose(slow, wanted, rtol=3e-4 if loose else 2e-6)
    about = surface.provenance["directions"]
    if orthogonal:
        assert about["cosine"] == pytest.approx(0, abs=1e-6)
    values = eigen()[0]
    for axis, spec in zip("xy", specs, strict=True):
        if spec["kind"] == "hessian":
            index = -spec["index"] if spec["index"] > 0 else -spec["index"] - 1
            assert about[f"{axis}_eigenvalue"] == pytest.approx(values[index], rel=1e-4)


class Line(nn.Module):
    """The same network, of one's own."""

    def __init__(self, w: np.ndarray) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(SIZE, 1, bias=False)])
        self.layers[0].weight.data = torch.from_numpy(w[None].astype(np.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](x)


@pytest.mark.parametrize("orthogonal", [False, True], ids=["as it is", "orthogonal"])
@pytest.mark.parametrize("name", PLANES)
def test_a_network_of_ones_own_gives_it_in_double_precision(name, orthogonal, tmp_path):
    specs, run = PLANES[name], [Line(w) for w in RUN.values()]
    write_directions(DirectionsContents([FILE["x"][None]], [FILE["y"][None]]), tmp_path / "dirs.npz")
    plane = {"orthogonal": True} if orthogonal else {}
    for axis, spec in zip("xy", specs, strict=True):
        more = {
            "towards": lambda s: {"checkpoint": Line(RUN[s["checkpoint"]])},
            "file": lambda _: {"file": tmp_path / "dirs.npz"},
        }
        plane[axis] = {**spec, **more.get(spec["kind"], lambda _: {})(spec)}
        plane[axis].pop("checkpoints", None)
    checkpoints = run if any(spec["kind"] == "principal" for spec in specs) else None
    batches = [(torch.from_numpy(part).double(), None) for part in (X[:40], X[40:])]
    surface = lc.landscape(
        Line(CENTRE), lambda out, _: (out[:, 0] - 1) ** 2, batches, plane=plane, grid=GRID, checkpoints=checkpoints
    )
    loose = any(spec["kind"] == "hessian" for spec in specs)
    np.testing.assert_allclose(surface.loss, expected(specs, orthogonal=orthogonal), rtol=3e-4 if loose else 1e-6)


def test_a_run_in_closed_form():
    """Shares of the variance are those of the singular values; places are inner products with the singular vectors."""
    plane = {axis: {"kind": "principal", "index": i} for axis, i in (("x", 1), ("y", 2))}
    batches, run = [(torch.from_numpy(X).double(), None)], [Line(w) for w in RUN.values()]
    surface = lc.landscape(
        Line(CENTRE), lambda out, _: (out[:, 0] - 1) ** 2, batches, plane=plane, grid="0:1:2x0:1:2", checkpoints=run
    )
    way, steps = surface.provenance["trajectory"], np.stack([*RUN.values(), CENTRE]).astype(np.float64)
    singular = np.linalg.svd(steps - steps.mean(axis=0))[1]
    np.testing.assert_allclose(way["explained_variance_ratio"], singular[:2] ** 2 / (singular**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(way["explained_variance"], singular[:2] ** 2 / 3, rtol=1e-6)
    spanned = np.stack([direction(PLANES["principal"][i], "x") for i in (0, 1)], axis=1)
    np.testing.assert_allclose(way["coordinates"], (steps - CENTRE) @ spanned, rtol=1e-5, atol=1e-6)
    off = (steps - CENTRE) - (steps - CENTRE) @ spanned @ spanned.T
    np.testing.assert_allclose(way["off_plane"], np.linalg.norm(off, axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(way["own_loss"], loss_at(steps), rtol=1e-12)


# -- shapes, types, ranges, holes ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 4),
    outputs=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    points=st.tuples(st.integers(1, 3), st.integers(0, 3)),
    span=st.sampled_from([1e-6, 1.0, 1e6]),
    scale=st.sampled_from([0.0, 1e-20, 1.0, 1e19]),
    dead=st.booleans(),
    poison=st.sampled_from([None, np.nan, np.inf]),
    seed=st.integers(0, 2**16),
)
@example(size=2, outputs=1, dtype=torch.float32, points=(1, 0), span=1.0, scale=1.0, dead=False, poison=None, seed=0)
@example(size=1, outputs=1, dtype=torch.float32, points=(1, 1), span=1e6, scale=1e19, dead=True, poison=np.nan, seed=1)
def test_any_linear_network_on_any_grid(size, outputs, dtype, points, span, scale, dead, poison, seed):
    """Directions are explicit: what is measured is the parabola, and what is not finite is a hole that is counted."""
    rng = np.random.default_rng(seed)
    weight, x, y = (rng.normal(size=(outputs, size)) * s for s in (scale, 1.0, 1.0))
    if dead:
        weight[0], x[0], y[0] = 0.0, 0.0, 0.0  # a filter of zeros
    if poison is not None:
        weight[-1, -1] = poison
    model = nn.Linear(size, outputs, bias=False).to(dtype)
    model.weight.data = torch.from_numpy(weight).to(dtype)
    inputs = torch.from_numpy(rng.normal(size=(5, size))).to(dtype)
    nx, ny = points
    grid = {name: {"start": -span if n > 1 else span, "stop": span, "points": n} for name, n in (("x", nx), ("y", ny)) if n}
    plane = ([torch.from_numpy(x)], [torch.from_numpy(y)] if ny else None)
    with np.errstate(over="ignore", invalid="ignore"):
        surface = lc.landscape(
            model, lambda out, _: (out.double() ** 2).sum(dim=1), [(inputs, None)], plane=plane, grid=grid, check_deterministic=False
        )  # fmt: skip
        start = model.weight.detach().double().numpy()
        steps = surface.x[None, :, None, None] * x + (surface.y[:, None, None, None] * y if ny else 0.0)
        wanted = ((start + steps) @ inputs.double().numpy().T) ** 2
        wanted = wanted.sum(axis=-2).mean(axis=-1)
    assert surface.loss.shape == (max(ny, 1), nx)
    finite = np.isfinite(wanted)
    assert (surface.state == np.where(finite, MEASURED, NOT_FINITE)).all()
    assert surface.not_finite == (~finite).sum()
    assert np.isnan(surface.loss[~finite]).all()
    rounding = (1e-12 if dtype == torch.float64 else 1e-5) * (np.abs(start).max() + 2 * span * 4) ** 2 * size * 40
    np.testing.assert_allclose(surface.loss[finite], wanted[finite], rtol=1e-4, atol=rounding if finite.any() else 0)


@pytest.mark.parametrize("norm", ["filter", "layer", "weight", "dfilter", "dlayer", "none"])
def test_filters_that_are_zero_or_not_finite_spoil_no_other(norm):
    """A dead filter stays dead by the norms that scale to it; one that is NaN makes holes, and never a crash."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        model[0].weight[1] = 0.0
    images, labels = torch.randn(4, 2, 3, 3), torch.tensor([0, 1, 0, 1])
    plane = {"x": {"kind": "random", "seed": 1}, "normalisation": {"norm": norm, "ignore": "none"}}
    loss = nn.CrossEntropyLoss(reduction="none")
    found = lc.landscape(model, loss, [(images, labels)], plane=plane, grid="-1e3:1e3:3")
    assert (found.state == MEASURED).all()
    assert found.loss[0, 0] > found.loss[0, 1]
    with torch.no_grad():
        model[0].weight[1] = float("nan")
    broken = lc.landscape(model, loss, [(images, labels)], plane=plane, grid="-1:1:3")
    assert (broken.state == NOT_FINITE).all()
    assert broken.provenance["own_loss"] is None
