"""`lc.landscape` of a catalogued network gives what `compute` gives for a request: every direction, metric and eigenvalue."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.compute import compute_surface, load, prepare
from landscape_core.reading import DirectionsContents, write_directions
from landscape_core.requests import SurfaceRequest
from landscape_core.resuming import HalfDone

from .requested import axis, surface_request
from .small_models import cross_entropy, cut

COUNT = 120
IDS = {name: digit * 64 for name, digit in (("a", "1"), ("b", "2"))}


@pytest.fixture
def run(mlp_weights):
    """Two other checkpoints, in the file's names; their hidden units are not in the order of the network's."""
    rng = np.random.default_rng(9)
    return {
        name: {key: (array + 0.3 * rng.normal(size=array.shape)).astype(np.float32) for key, array in mlp_weights.items()}
        for name in IDS
    }


def asked(plane: dict, nx: int = 3, ny: int | None = 2, **parts) -> SurfaceRequest:
    request = surface_request("mlp:activation=tanh", axis(nx), None if ny is None else axis(ny, 0.5), examples=COUNT, seed=3)
    body = request.model_dump()
    plane = {"normalisation": body["plane"]["normalisation"], "y": None, **plane}
    return SurfaceRequest.model_validate(body | {"plane": plane} | parts)


def engine(request: SurfaceRequest, tensors, examples, others=None, **rest) -> lc.Surface:
    """What `compute` gives."""
    named = {IDS[name]: state for name, state in (others or {}).items()}
    return compute_surface(request, tensors, examples, checkpoints=named.__getitem__, **rest)


def own(request: SurfaceRequest, tensors, examples, plane: dict | None = None, **rest) -> lc.Surface:
    """What Python gives for the same network."""
    model, (x, y) = load(request.architecture, tensors), prepare(examples, request.data)
    plane = {"normalisation": request.plane.normalisation, **plane} if plane is not None else request.plane
    return lc.landscape(model, cross_entropy, cut(x, y, 50), plane=plane, grid=request.grid, **rest)


def network_state(tensors) -> dict[str, torch.Tensor]:
    """A file's tensors under the network's own names."""
    return load(asked({"x": {"kind": "random", "seed": 1}}, ny=None).architecture, tensors).state_dict()


def check_same(found: lc.Surface, expected: lc.Surface) -> None:
    np.testing.assert_allclose(found.loss, expected.loss, rtol=2e-6)
    np.testing.assert_allclose(found.stderr, expected.stderr, rtol=1e-4)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)
    ours, theirs = found.provenance["directions"], expected.provenance["directions"]
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("form", ["state_dict", "path", "module"])
def test_towards_another_checkpoint_in_every_form(form, run, mlp_weights, rows, tmp_path):
    request = asked(
        {"x": {"kind": "towards", "checkpoint": IDS["a"]}, "y": {"kind": "towards", "checkpoint": IDS["b"]}, "orthogonal": True}
    )
    states = {name: network_state(tensors) for name, tensors in run.items()}
    if form == "path":
        for name, state in states.items():
            torch.save(state, tmp_path / f"{name}.pt")
    given = {
        "state_dict": states.__getitem__,
        "path": lambda name: str(tmp_path / f"{name}.pt"),
        "module": lambda name: nn.DataParallel(load(request.architecture, run[name])),
    }[form]
    plane = {axis_: {"kind": "towards", "checkpoint": given(name)} for axis_, name in zip("xy", "ab", strict=True)}
    found = own(request, mlp_weights, rows, plane | {"orthogonal": True})
    check_same(found, engine(request, mlp_weights, rows, run))
    assert abs(found.provenance["directions"]["cosine"]) < 1e-6
    assert found.provenance["plane"]["x"]["kind"] == "towards"
    assert len(found.provenance["plane"]["x"]["checkpoint"]) == 64


def test_towards_a_checkpoint_with_its_hidden_units_in_another_order(mlp_weights, rows, run):
    order = [3, 0, 6, 2, 5, 1, 4]
    shuffled = dict(run["a"]) | {f"fc1.{part}": run["a"][f"fc1.{part}"][order] for part in ("weight", "bias")}
    shuffled["fc2.weight"] = shuffled["fc2.weight"][:, order]
    request = asked({"x": {"kind": "towards", "checkpoint": IDS["a"], "aligned": True}}, ny=None)
    plane = {"x": {"kind": "towards", "checkpoint": network_state(shuffled), "aligned": True}}
    found = own(request, mlp_weights, rows, plane)
    check_same(found, engine(request, mlp_weights, rows, {"a": shuffled}))
    facts = found.provenance["directions"]
    assert facts["x_aligned_distance"] < facts["x_unaligned_distance"] * 0.8
    straight = own(request, mlp_weights, rows, {"x": {"kind": "towards", "checkpoint": network_state(run["a"])}})
    np.testing.assert_allclose(found.loss[0, -1], straight.loss[0, -1], rtol=1e-5)  # the other end computes the same


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("where", ["checkpoints", "plane"])
def test_principal_directions_of_a_run(where, orthogonal, run, mlp_weights, rows):
    ids, flag = list(IDS.values()), {"orthogonal": True} if orthogonal else {}
    first, second = ({"kind": "principal", "index": index, "checkpoints": ids} for index in (1, 2))
    request = asked({"x": first, "y": second, **flag})
    states = {name: network_state(tensors) for name, tensors in run.items()}
    more = {} if where == "checkpoints" else {"checkpoints": states}
    plane = {"x": {"kind": "principal", "index": 1, **more}, "y": {"kind": "principal", "index": 2, **more}, **flag}
    found = own(request, mlp_weights, rows, plane, **({} if more else {"checkpoints": states}))
    expected = engine(request, mlp_weights, rows, run)
    check_same(found, expected)
    ours, theirs = found.provenance["trajectory"], expected.provenance["trajectory"]
    for name in ("explained_variance_ratio", "explained_variance", "coordinates", "off_plane", "own_loss", "plane_loss"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert ours["names"] == ["a", "b", "the model"]
    assert sum(ours["explained_variance_ratio"]) == pytest.approx(1)  # three places, two directions


@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_eigenvectors_of_the_hessian_over_the_first_examples(ignore, mlp_weights, rows):
    spec = {
        "x": {"kind": "hessian", "index": 1, "examples": 70},
        "y": {"kind": "hessian", "index": -1, "examples": 70},
        "normalisation": {"ignore": ignore},
        "orthogonal": True,
    }
    request = asked(spec)
    expected = engine(request, mlp_weights, rows)
    for plane in (None, spec):  # a PlaneSpec needs no checkpoint here
        found = own(request, mlp_weights, rows, plane)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-4)
        facts = found.provenance["directions"]
        assert facts["x_hessian_examples"] == 70
        assert facts["x_eigenvalue"] == pytest.approx(expected.provenance["directions"]["x_eigenvalue"], rel=1e-4)
        assert facts["y_eigenvalue"] == pytest.approx(expected.provenance["directions"]["y_eigenvalue"], rel=1e-3)


def test_directions_of_a_file(mlp_weights, rows, tmp_path):
    rng = np.random.default_rng(2)
    x, y = ([rng.normal(0, 0.2, array.shape).astype(np.float32) for array in mlp_weights.values()] for _ in "xy")
    write_directions(DirectionsContents(x, y), tmp_path / "dirs.npz")
    request = asked({axis_: {"kind": "file", "file": "0" * 64} for axis_ in "xy"})
    found = own(request, mlp_weights, rows, {axis_: {"kind": "file", "file": tmp_path / "dirs.npz"} for axis_ in "xy"})
    check_same(found, compute_surface(request, mlp_weights, rows, SimpleNamespace(x=x, y=y)))


def test_metrics_are_counted_as_the_engine_counts(rows):
    rng = np.random.default_rng(4)
    sizes = {"fc1.weight": (7, 12), "fc1.bias": (7,), "fc2.weight": (6, 7), "fc2.bias": (6,)}
    tensors = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    metrics = ("class_accuracy", "top5")
    rows = type(rows).from_arrays(rows.x, rng.integers(0, 6, 300))
    request = asked({"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}}, metrics=metrics)
    found, expected = own(request, tensors, rows, metrics=[*metrics, "top5"]), engine(request, tensors, rows)
    assert found.quantities.keys() == expected.quantities.keys() == {"top5", *(f"class_accuracy_{c}" for c in range(6))}
    for name, table in expected.quantities.items():
        np.testing.assert_array_equal(found.quantities[name], table)
    assert len({*found.quantities["top5"].ravel()}) > 2
    assert found.provenance["metrics"] == list(metrics)
    for name in ("own_top5", "own_class_accuracy"):
        assert found.provenance[name] == expected.provenance[name]


def test_eigenvalues_at_every_cell_are_the_engines(mlp_weights, rows):
    spec = {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}, "normalisation": {"norm": "layer"}}
    request = asked(spec, curvature={"examples": 60})
    found, expected = own(request, mlp_weights, rows, curvature=60), engine(request, mlp_weights, rows)
    for name in ("max_eig", "min_eig"):
        np.testing.assert_allclose(found.quantities[name], expected.quantities[name], rtol=2e-3, atol=2e-4)
    assert found.provenance["curvature"] == {
        **expected.provenance["curvature"],
        "products": found.provenance["curvature"]["products"],
    }
    assert found.provenance["curvature"]["examples"] == 60
    check_same(found, expected)


def test_eigenvalues_see_running_statistics_that_move():
    """With of="states" the Hessian at a cell is that with the moved statistics: y = γ (wx − m)/√(v + ε), L = y²."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)).double()
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model[1].running_mean.fill_(0.0)
        model[1].running_var.fill_(3.0)
    x = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    plane = {"x": {"kind": "random", "seed": 1}, "normalisation": {"norm": "layer", "ignore": "none", "of": "states"}}
    found = lc.landscape(model, lambda out, _: out[:, 0] ** 2, [(x, x)], plane=plane, grid="0:0.5:2", curvature=10)
    from landscape_core.compute import draw
    from landscape_core.requests import Normalisation, RandomDirection

    how = Normalisation(norm="layer", ignore="none", of="states")
    names = list(model.state_dict())
    direction = dict(zip(names, draw(RandomDirection(seed=1), model, how), strict=True))
    for column, alpha in enumerate(found.x):
        w, gamma, shift, mean, var = (
            float(model.state_dict()[n].reshape(-1)[0] + alpha * direction[n].reshape(-1)[0])
            for n in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        )

        def loss(p, mean=mean, var=var):
            return ((p[1] * (p[0] * x[:, 0] - mean) / (var + 1e-5) ** 0.5 + p[2]) ** 2).mean()

        matrix = torch.autograd.functional.hessian(loss, torch.tensor([w, gamma, shift], dtype=torch.float64))
        values = np.linalg.eigvalsh(matrix.numpy())
        assert found.quantities["max_eig"][0, column] == pytest.approx(values[-1], rel=1e-6)
        assert found.quantities["min_eig"][0, column] == pytest.approx(values[0], rel=1e-2, abs=1e-6)


def test_a_half_done_surface_gets_the_eigenvalues_that_it_lacks(mlp_weights, rows, tmp_path):
    request = asked({"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}})
    whole = own(request, mlp_weights, rows, curvature=40)
    plain = own(request, mlp_weights, rows)
    plain.loss[0, 0] *= 1 + 1e-9
    plain.save(tmp_path / "plain.npz")
    found = own(request, mlp_weights, rows, curvature=40, resume=lc.load(tmp_path / "plain.npz"))
    np.testing.assert_array_equal(found.loss, plain.loss)
    for name in ("max_eig", "min_eig"):
        np.testing.assert_array_equal(found.quantities[name], whole.quantities[name])
    marked = whole.quantities["max_eig"].copy()
    whole.quantities["max_eig"][1, 1] += 1.0
    again = own(request, mlp_weights, rows, curvature=40, resume=whole)
    assert again.quantities["max_eig"][1, 1] == marked[1, 1] + 1.0  # it is kept as it is
    assert HalfDone(again).kept(COUNT).all()


def test_stages_are_whole_with_what_they_count(mlp_weights, rows):
    request = asked({"x": {"kind": "random", "seed": 1}}, nx=9, ny=None)
    stages = []
    own(request, mlp_weights, rows, metrics=["class_accuracy"], curvature=20, on_stage=stages.append)
    assert [stage.loss.shape for stage in stages] == [(1, 5), (1, 9)]
    for stage in stages:
        assert {"max_eig", "min_eig", "class_accuracy_0"} <= stage.quantities.keys()
        assert all(np.isfinite(table).all() for table in stage.quantities.values())


def test_the_model_is_given_back_with_its_gradients_wanted(mlp_weights, rows):
    request = asked({"x": {"kind": "hessian", "index": 1}}, ny=None)
    model, (x, y) = load(request.architecture, mlp_weights), prepare(rows, request.data)
    frozen = next(model.parameters()).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    plane = {
        "x": {
            "kind": "towards",
            "checkpoint": network_state(mlp_weights | {"fc1.weight": -mlp_weights["fc1.weight"]}),
            "aligned": True,
        }
    }
    for given in (request.plane, plane):
        lc.landscape(model, cross_entropy, cut(x, y), plane=given, grid="-1:1:3", curvature=10, metrics=["class_accuracy"])
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert frozen.grad is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
