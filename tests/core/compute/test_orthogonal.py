"""The second direction at right angles to the first: closed forms, every kind of direction, and what has none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

import landscape_core as lc
from landscape_core.compute import compute_surface, directions_for, load
from landscape_core.compute.directions import moved_tensors, moving, orthogonalised
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Normalisation, PlaneSpec, SurfaceRequest, TowardsDirection

from .requested import axis, surface_request

OTHER = "1" * 64


def orthogonal(request: SurfaceRequest, **plane) -> SurfaceRequest:
    body = request.model_dump()
    return SurfaceRequest.model_validate(body | {"plane": body["plane"] | {"orthogonal": True} | plane})


def flat(direction: list, moves: list[bool]) -> np.ndarray:
    return np.concatenate([np.asarray(t, np.float64).ravel() for t, chosen in zip(direction, moves, strict=True) if chosen])


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=4),
    lean=st.floats(-50, 50),
    scale=st.sampled_from([1e-15, 1.0, 1e15]),
    seed=st.integers(0, 2**32),
)
def test_what_is_taken_off_is_the_component_along_the_first(shapes, lean, scale, seed):
    rng = np.random.default_rng(seed)
    x, across = ([torch.from_numpy(np.asarray(rng.normal(size=s), np.float32)) for s in [*shapes, (3,)]] for _ in "xy")
    y = [scale * (b + lean * a) for a, b in zip(x, across, strict=True)]
    moves = [True] * len(x)
    found = orthogonalised(x, y, moves)
    d, e, o = flat(x, moves), flat(y, moves), flat(found, moves)
    np.testing.assert_allclose(o, e - (d @ e) / (d @ d) * d, rtol=1e-5, atol=1e-6 * np.abs(e).max())
    assert abs(d @ o) <= 1e-6 * np.linalg.norm(d) * np.linalg.norm(e)
    assert np.linalg.norm(o) <= np.linalg.norm(e) * (1 + 1e-6)  # and the plane is the same one
    assert {t.dtype for t in found} == {torch.float32}


@pytest.mark.parametrize("of", ["weights", "states"])
def test_a_random_plane_at_right_angles(of, resnet_weights, images):
    how = Normalisation(norm="weight", ignore="none", of=of)
    drawn = surface_request("resnet20", axis(1), axis(1), examples=2, normalisation=how)
    module = load(drawn.architecture, resnet_weights)
    moves = moving(moved_tensors(module, how))
    x, y = directions_for(drawn, module)
    again, right = directions_for(orthogonal(drawn), module)
    assert all(torch.equal(a, b) for a, b in zip(x, again, strict=True))
    d, e, o = (flat(part, moves) for part in (x, y, right))
    assert abs(d @ e) > 1e-3 * np.linalg.norm(d) * np.linalg.norm(e)
    np.testing.assert_allclose(o, e - (d @ e) / (d @ d) * d, rtol=1e-5, atol=1e-7)
    if of == "states":  # batch norm's counters have no part in it
        assert [bool(chosen) for chosen in moves].count(False) == sum(n.endswith("tracked") for n in module.state_dict())
    found = compute_surface(orthogonal(drawn), resnet_weights, images).provenance["directions"]
    assert abs(found["cosine"]) < 1e-7
    assert found["y_norm"] == pytest.approx(np.linalg.norm(o), rel=1e-6)


def test_a_plane_through_three_networks_and_its_run(mlp_weights, rows):
    """Derived directions too; and what is projected on the plane is projected on the right-angled one."""
    rng = np.random.default_rng(3)
    others = {
        digit * 64: {n: a + rng.normal(size=a.shape).astype(np.float32) + 0.5 for n, a in mlp_weights.items()} for digit in "12"
    }
    request = orthogonal(
        surface_request("mlp", axis(3), axis(2), examples=20),
        x=TowardsDirection(checkpoint="1" * 64), y=TowardsDirection(checkpoint="2" * 64), trajectory=["1" * 64, "2" * 64],
    )  # fmt: skip
    surface = compute_surface(request, mlp_weights, rows, checkpoints=others.__getitem__)
    d, e = (np.concatenate([(others[c * 64][n] - a).ravel() for n, a in mlp_weights.items()]).astype(np.float64) for c in "12")
    share = (d @ e) / (d @ d)
    assert share > 0.05
    np.testing.assert_allclose(surface.provenance["trajectory"]["coordinates"], [[1, 0], [share, 1], [0, 0]], atol=1e-5)
    assert abs(surface.provenance["directions"]["cosine"]) < 1e-6


def test_directions_of_a_file_are_put_at_right_angles_if_asked(mlp_weights):
    module = load(surface_request("mlp", axis(2)).architecture, mlp_weights)
    arrays = [np.ones(p.shape, np.float32) for p in module.parameters()]
    half = [np.where(np.arange(a.size).reshape(a.shape) % 2, a, 0).astype(np.float32) for a in arrays]
    request = orthogonal(surface_request("mlp", axis(2), axis(2), from_file=True))
    y = directions_for(request, module, SimpleNamespace(x=arrays, y=half))[1]
    mean = sum(a.sum() for a in half) / sum(a.size for a in half)
    for found, given_ in zip(y, half, strict=True):
        np.testing.assert_allclose(found, given_ - mean, rtol=1e-6)
    for parallel in ([-3 * a for a in arrays], [0 * a for a in arrays]):
        with pytest.raises(InvalidRequest, match="The directions are parallel, or one has no length") as refused:
            directions_for(request, module, SimpleNamespace(x=arrays, y=parallel))
        assert refused.value.field == "plane.orthogonal"
    with pytest.raises(InvalidRequest, match="no length"):
        directions_for(request, module, SimpleNamespace(x=parallel, y=arrays))
    with pytest.raises(InvalidRequest, match="not finite"):
        directions_for(request, module, SimpleNamespace(x=arrays, y=[np.nan * a for a in arrays]))


def test_a_quadratic_over_a_right_angled_plane_has_no_mixed_term():
    """½‖θ‖² = ½‖θ*‖² + α⟨θ*, δ⟩ + β⟨θ*, η⟩ + ½α²‖δ‖² + ½β²‖η‖²: a sum of two curves, unlike that of the plane as drawn."""
    torch.manual_seed(1)
    model = nn.Linear(3, 2, bias=False).double()

    def loss(outputs: torch.Tensor, _: object) -> torch.Tensor:
        return 0.5 * (outputs**2).sum(dim=1).sum().reshape(())

    batch = [(torch.eye(3, dtype=torch.float64), torch.zeros(3))]
    spec = {"x": {"kind": "random", "seed": 1}, "y": {"kind": "random", "seed": 2}}
    mixed = []
    for plane in (spec, spec | {"orthogonal": True}):
        z = lc.landscape(model, loss, batch, plane=plane, grid="-1:1:2x-1:1:2").loss
        mixed.append((z[1, 1] - z[1, 0] - z[0, 1] + z[0, 0]) / 4)
    assert abs(mixed[0]) > 1e-2
    assert abs(mixed[1]) < 1e-7


def test_a_request_says_so_and_others_keep_their_ids():
    spec = PlaneSpec(x=TowardsDirection(checkpoint=OTHER), y={"kind": "random", "seed": 2})
    assert "orthogonal" not in spec.model_dump()
    assert PlaneSpec.model_validate({**spec.model_dump(), "orthogonal": True}).model_dump()["orthogonal"] is True
    with pytest.raises(ValidationError, match="a curve has one direction"):
        PlaneSpec(x=TowardsDirection(checkpoint=OTHER), orthogonal=True)
