"""Directions towards other checkpoints: at 1 stands the other network, whatever moves with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape_core.compute import compute_surface, derive, load, reference_surface
from landscape_core.compute.derivation import difference
from landscape_core.compute.directions import moved_tensors
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Axis, Normalisation, PlaneSpec, RandomDirection, SurfaceRequest, TowardsDirection

from .requested import SHA, axis, surface_request

A, B = "a" * 64, "b" * 64


def changed(tensors: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Another network of the same shapes, its statistics still positive."""
    rng = np.random.default_rng(seed)
    return {
        name: array + 5 if array.ndim == 0 else (array * rng.uniform(0.6, 1.4, array.shape)).astype(np.float32)
        for name, array in tensors.items()
    }


def towards(request: SurfaceRequest, x: str, y: str | None = None) -> SurfaceRequest:
    plane = PlaneSpec(
        x=TowardsDirection(checkpoint=x),
        y=None if y is None else TowardsDirection(checkpoint=y),
        normalisation=request.plane.normalisation,
    )
    return request.model_copy(update={"plane": plane})


@pytest.mark.parametrize("name", ["mlp", "resnet20"])
def test_a_plane_through_three_checkpoints_meets_the_loss_of_each(name, mlp_weights, resnet_weights, rows, images):
    tensors, examples = (mlp_weights, rows) if name == "mlp" else (resnet_weights, images)
    others = {A: changed(tensors, 1), B: changed(tensors, 2)}
    how = Normalisation(of="states")
    unit = Axis(start=0, stop=1, points=2)
    request = towards(surface_request(name, unit, unit, normalisation=how), A, B)
    found = compute_surface(request, tensors, examples, checkpoints=others.__getitem__)
    point = surface_request(name, Axis(start=0, stop=0, points=1))
    for (row, column), own in {(0, 0): tensors, (0, 1): others[A], (1, 0): others[B]}.items():
        alone = compute_surface(point, own, examples)
        np.testing.assert_allclose(found.loss[row, column], alone.loss[0, 0], rtol=2e-5)
        np.testing.assert_allclose(found.accuracy[row, column], alone.accuracy[0, 0], atol=1.2)
    expected = reference_surface(request, tensors, examples, checkpoints=others.__getitem__)
    np.testing.assert_allclose(found.loss, expected[0], rtol=2e-5)


def test_without_the_statistics_batch_norm_keeps_its_own(resnet_weights, images):
    """`of="weights"` leaves the running statistics at θ*, so that the other's loss is not met; as in the original."""
    other = changed(resnet_weights, 1)
    unit = Axis(start=0, stop=1, points=2)
    point = surface_request("resnet20", Axis(start=0, stop=0, points=1))
    alone = compute_surface(point, other, images).loss[0, 0]
    mixed = {name: resnet_weights[name] if "running" in name else array for name, array in other.items()}
    expected = compute_surface(point, mixed, images).loss[0, 0]
    found = compute_surface(towards(surface_request("resnet20", unit), A), resnet_weights, images, checkpoints=lambda _: other)
    np.testing.assert_allclose(found.loss[0, 1], expected, rtol=2e-5)
    assert abs(alone - expected) > 1e-3


@pytest.mark.parametrize("norm", ["filter", "none"])
@pytest.mark.parametrize("of", ["weights", "states"])
def test_the_difference_is_neither_normalised_nor_masked(norm, of, resnet_weights, images):
    how = Normalisation(norm=norm, ignore="biasbn", of=of)
    other = changed(resnet_weights, 3)
    request = towards(surface_request("resnet20", axis(3), normalisation=how), A)
    derived = derive(request, resnet_weights, images, checkpoints=lambda _: other)
    names = list(moved_tensors(load(request.architecture, resnet_weights), how))
    assert len(derived.x) == len(names)
    for name, array in zip(names, derived.x, strict=True):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.float32(other[name] - resnet_weights[name]))
    assert (derived.y, derived.about) == (None, {})


def test_the_length_of_a_direction_is_of_what_moves(resnet_weights, images):
    """Batch norm's counters differ by thousands between checkpoints, but nothing moves with them."""
    other = {name: array + 40_000 if array.ndim == 0 else array for name, array in changed(resnet_weights, 3).items()}
    how = Normalisation(of="states")
    request = towards(surface_request("resnet20", axis(1), normalisation=how), A)
    surface = compute_surface(request, resnet_weights, images, checkpoints=lambda _: other)
    squares = [np.sum(np.square(other[n] - a, dtype=np.float64)) for n, a in resnet_weights.items() if a.ndim]
    assert surface.provenance["directions"]["x_norm"] == pytest.approx(np.sqrt(sum(squares)), rel=1e-6)


def test_random_and_towards_span_one_plane(mlp_weights, rows):
    other = changed(mlp_weights, 1)
    request = surface_request("mlp", axis(3), axis(3), examples=100)
    plane = PlaneSpec(x=RandomDirection(seed=1), y=TowardsDirection(checkpoint=A))
    request = request.model_copy(update={"plane": plane})
    found = compute_surface(request, mlp_weights, rows, checkpoints=lambda _: other)
    expected, _ = reference_surface(request, mlp_weights, rows, checkpoints=lambda _: other)
    np.testing.assert_allclose(found.loss, expected, rtol=2e-6)


def test_the_same_network_under_other_names_is_met(mlp_weights, rows):
    other = {name.replace("fc", "module."): array for name, array in changed(mlp_weights, 1).items()}
    request = towards(surface_request("mlp", Axis(start=1, stop=1, points=1)), A)
    found = compute_surface(request, mlp_weights, rows, checkpoints=lambda _: other)
    alone = compute_surface(surface_request("mlp", Axis(start=0, stop=0, points=1)), other, rows)
    np.testing.assert_allclose(found.loss, alone.loss, rtol=1e-5)


def test_what_is_not_finite_in_the_other_is_a_hole_off_the_origin(mlp_weights, rows):
    other = {name: array.copy() for name, array in mlp_weights.items()}
    other["fc3.bias"][0] = np.nan
    surface = compute_surface(towards(surface_request("mlp", axis(3)), A), mlp_weights, rows, checkpoints=lambda _: other)
    np.testing.assert_array_equal(np.isfinite(surface.loss), [[False, True, False]])
    assert "x_norm" not in surface.provenance["directions"]


def test_a_checkpoint_of_another_network_is_refused(mlp_weights, rows, resnet_weights):
    request = towards(surface_request("mlp", axis(3)), A)
    wider = {name: np.zeros((9, *array.shape[1:]), np.float32) for name, array in mlp_weights.items() if "fc3" in name}

    def refusal(tensors):
        with pytest.raises(InvalidRequest) as refused:
            compute_surface(request, mlp_weights, rows, checkpoints=lambda _: tensors)
        assert refused.value.field == "plane.x.checkpoint"
        return str(refused.value)

    assert "its layers.2.weight has the shape (9, 5), but this network's has the shape (4, 5)" in refusal(mlp_weights | wider)
    assert "holds no parameters of this mlp" in refusal(resnet_weights)
    shorter = {name: array for name, array in mlp_weights.items() if name != "fc3.bias"}
    assert "its layers.2.bias has no tensor of this name" in refusal(shorter)
    with pytest.raises(InvalidRequest, match="it was not given"):
        compute_surface(request, mlp_weights, rows)
    with pytest.raises(InvalidRequest, match="very checkpoint that it starts from"):
        compute_surface(towards(request, SHA), mlp_weights, rows, checkpoints=lambda _: mlp_weights)
    both = towards(surface_request("mlp", axis(3), axis(3)), A, A)
    with pytest.raises(InvalidRequest, match="Both directions are the same"):
        compute_surface(both, mlp_weights, rows, checkpoints=lambda _: mlp_weights)


def test_differences_are_of_the_networks_own_order():
    a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    weight, bias = difference(a, b, Normalisation())
    assert torch.equal(weight, b.weight - a.weight)
    assert torch.equal(bias, b.bias - a.bias)
    assert not weight.requires_grad
