"""Losses of a run's checkpoints beside the plane's where they are projected to, against plain float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.catalogue import match
from landscape_core.compute import Examples, compute_surface, derive, directions_for, load
from landscape_core.compute.evaluation import Evaluator
from landscape_core.compute.run_losses import with_losses
from landscape_core.errors import InvalidRequest, NotFound
from landscape_core.requests import Normalisation, PlaneSpec, PrincipalDirection, RandomDirection, Standardisation

from .requested import SHA, axis, surface_request
from .transformer_files import gpt_file

EPOCHS = tuple(f"{index:064x}" for index in range(1, 10))


@pytest.fixture
def run(mlp_weights):
    """Three networks around `mlp_weights`, which is the last."""
    rng = np.random.default_rng(2)
    moved = [
        {name: array + rng.normal(0, 0.2, array.shape).astype(np.float32) for name, array in mlp_weights.items()}
        for _ in range(3)
    ]
    return {**dict(zip(EPOCHS, moved, strict=False)), SHA: mlp_weights}


def asked(trajectory, y: bool = True):
    second = RandomDirection(seed=2) if y else None
    plane = PlaneSpec(x=RandomDirection(seed=1), y=second, normalisation=Normalisation(ignore="none"), trajectory=trajectory)
    return surface_request("mlp", axis(3), axis(3) if y else None).model_copy(update={"plane": plane})


def plain(module: nn.Module, rows: Examples, x=None, y=None, place=()) -> tuple[float, float]:
    """Loss and accuracy in float64, the network moved to a place of the plane."""
    module = module.double()
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            for coordinate, direction in zip(place, (x, y), strict=False):
                parameter.add_(coordinate * direction[index].double())
        outputs = module(torch.from_numpy(rows.x).double())
    labels = torch.from_numpy(rows.y).long()
    return float(nn.functional.cross_entropy(outputs, labels)), 100 * float((outputs.argmax(1) == labels).double().mean())


@pytest.mark.parametrize("y", [True, False])
def test_own_and_plane_losses_are_those_of_plain_float64(run, rows, y):
    request = asked(EPOCHS[:3], y)
    surface = compute_surface(request, run[SHA], rows, checkpoints=run.__getitem__)
    about = surface.provenance["trajectory"]
    directions = directions_for(request, load(request.architecture, run[SHA]))
    for index, (checkpoint, place) in enumerate(zip(about["checkpoints"], about["coordinates"], strict=True)):
        own = plain(load(request.architecture, run[checkpoint]), rows)
        there = plain(load(request.architecture, run[SHA]), rows, *directions, place)
        assert (about["own_loss"][index], about["own_accuracy"][index]) == pytest.approx(own, rel=1e-6)
        assert (about["plane_loss"][index], about["plane_accuracy"][index]) == pytest.approx(there, rel=1e-6)
    assert about["own_loss"][-1] == about["plane_loss"][-1] == surface.provenance["own_loss"]
    assert about["own_loss"][0] != pytest.approx(about["plane_loss"][0], rel=1e-3)


def test_a_batch_normalised_checkpoint_is_measured_with_its_own_statistics(resnet_weights):
    rng = np.random.default_rng(3)
    other = {name: array * np.float32(1.3) if "running" in name else array for name, array in resnet_weights.items()}
    images = Examples.from_arrays(rng.integers(0, 256, (12, 8, 8, 3), np.uint8), np.arange(12) % 4)
    plane = PlaneSpec(x=RandomDirection(seed=1), trajectory=EPOCHS[:1])
    request = surface_request("resnet20", axis(1)).model_copy(update={"plane": plane})
    about = compute_surface(request, resnet_weights, images, checkpoints={EPOCHS[0]: other}.__getitem__).provenance[
        "trajectory"
    ]
    alone = compute_surface(surface_request("resnet20", axis(1)), other, images)
    assert about["own_loss"][0] == pytest.approx(alone.provenance["own_loss"], rel=1e-6)
    assert about["own_loss"][0] != pytest.approx(about["own_loss"][1], rel=1e-4)
    assert about["coordinates"][0] == [0.0]  # only statistics differ, and they do not move
    assert about["plane_loss"][0] == about["own_loss"][1]


def test_own_losses_are_with_own_statistics_where_those_of_cells_are_re_estimated(resnet_weights):
    rng = np.random.default_rng(3)
    images = Examples.from_arrays(rng.integers(0, 256, (12, 8, 8, 3), np.uint8), np.arange(12) % 4)
    plane = PlaneSpec(x=RandomDirection(seed=1), trajectory=(SHA,))
    asked = {"plane": plane, "batch_norm": "reestimated"}
    request = surface_request("resnet20", axis(3)).model_copy(update=asked)
    surface = compute_surface(request, resnet_weights, images, checkpoints={}.__getitem__)
    about = surface.provenance["trajectory"]
    assert about["own_loss"] == [surface.provenance["own_loss"]]
    assert about["plane_loss"] == [surface.loss[0, 1]]
    assert about["own_loss"][0] != pytest.approx(about["plane_loss"][0], rel=1e-3)


def test_the_accuracy_of_a_language_model_s_run_is_by_token():
    arrays, rows = gpt_file(), np.random.default_rng(4).integers(0, 23, (20, 7)).astype(np.uint16)
    plane = PlaneSpec(x=RandomDirection(seed=1), trajectory=(SHA,))
    request = surface_request("gpt:heads=3", axis(3)).model_copy(update={"plane": plane})
    surface = compute_surface(request, arrays, Examples.from_arrays(rows[:, :-1], rows[:, 1:]), checkpoints={}.__getitem__)
    about = surface.provenance["trajectory"]
    assert about["own_accuracy"] == about["plane_accuracy"] == [surface.provenance["own_accuracy"]]


def test_what_is_gone_or_has_no_place_is_not_known(run, rows):
    broken = {**run, EPOCHS[1]: {name: np.full_like(array, np.nan) for name, array in run[SHA].items()}}
    request = asked(EPOCHS[:3])
    derived = derive(request, run[SHA], rows, checkpoints=broken.__getitem__)
    evaluator = Evaluator(request, run[SHA], rows, derived, about=derived.about)

    def read(checkpoint):
        if checkpoint == EPOCHS[0]:
            raise NotFound("It was deleted.")
        return broken[checkpoint]

    kept = []
    found = with_losses(
        derived.about["trajectory"], evaluator, read, kept=lambda index, measure: kept.append(index) or measure()
    )
    assert kept == [0, 1, 2, 3]
    assert (found["own_loss"][0], found["own_loss"][1], found["plane_loss"][1]) == (None, None, None)
    assert found["plane_loss"][0] is not None
    assert found["own_loss"][2] is not None
    json.dumps(found, allow_nan=False)


@pytest.mark.reference
def test_ten_real_epochs_on_their_principal_plane(weights, arrays):
    """Places as by an independent least squares on the raw files, losses as by a plain float64 network, on 2,000 images."""
    files = [weights(f"trajectory_mnist_cnn_margin/epoch_{index:02d}.pt") for index in range(1, 11)]
    architecture = str(match({name: array.shape for name, array in files[-1].items()})[0].architecture)
    run = {**dict(zip(EPOCHS, files, strict=False)), SHA: files[-1]}
    x, y = arrays("mnist/train_60000.npz")
    examples = Examples.from_arrays(x[:2000], y[:2000])
    how = Normalisation(ignore="none")
    plane = PlaneSpec(
        x=PrincipalDirection(index=1, checkpoints=EPOCHS), y=PrincipalDirection(index=2, checkpoints=EPOCHS), normalisation=how
    )
    half = Standardisation(mean=(0.5,), std=(0.5,))
    request = surface_request(architecture, axis(2), axis(2), preprocessing=half, loss="multi_margin")
    request = request.model_copy(update={"plane": plane})
    about = compute_surface(request, files[-1], examples, checkpoints=run.__getitem__).provenance["trajectory"]
    steps = np.stack([np.concatenate([(f[n].astype(np.float64) - files[-1][n]).ravel() for n in f]) for f in files])
    _, singular, rows = np.linalg.svd(steps - steps.mean(axis=0), full_matrices=False)
    expected = np.linalg.lstsq(rows[:2].T, steps.T, rcond=None)[0].T
    found = np.array(about["coordinates"])
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(about["explained_variance_ratio"], singular[:2] ** 2 / (singular**2).sum(), rtol=1e-6)
    images = (torch.from_numpy(x[:2000]).double()[:, None] / 255 - 0.5) / 0.5
    for index, tensors in enumerate(files):
        module = load(request.architecture, tensors).double()
        with torch.inference_mode():
            loss = nn.functional.multi_margin_loss(module(images), torch.from_numpy(y[:2000]).long())
        assert about["own_loss"][index] == pytest.approx(float(loss), rel=1e-5)
    assert about["own_loss"][0] > about["own_loss"][-1]


# -- in Python -------------------------------------------------------------------------------------------------------


class Bowl(nn.Module):
    """x ↦ x ½‖θ − buffer‖²."""

    def __init__(self, theta) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(3, dtype=torch.float64))

    def forward(self, x):
        return x * 0.5 * ((self.theta - self.centre) ** 2).sum()


def test_in_python_the_way_over_a_bowl_is_met_in_closed_form():
    thetas = [[2.0, 1.0, 0.5], [1.0, -1.0, 0.0], [0.5, 0.25, 0.25]]
    states = {f"epoch {index}": Bowl(theta).state_dict() for index, theta in enumerate(thetas)}
    states["epoch 1"]["centre"] = torch.ones(3, dtype=torch.float64)
    model, (x, y) = Bowl([0.0, 0.0, 0.0]), ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0])
    plane = ([torch.tensor(x).double()], [torch.tensor(y).double()])
    batches = [(torch.ones(4, dtype=torch.float64), None)]
    surface = lc.landscape(model, lambda out, _: out, batches, plane=plane, grid="-1:1:3x-1:1:3", checkpoints=states)
    about = surface.provenance["trajectory"]
    np.testing.assert_allclose(about["coordinates"], [[1, 1], [2, -1], [0.25, 0.25], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(about["off_plane"], [0.5, 0, 0.25, 0], atol=1e-12)
    own = [0.5 * np.sum(np.square(theta)) for theta in thetas]
    own[1] = 0.5 * np.sum(np.square(np.array(thetas[1]) - 1))
    np.testing.assert_allclose(about["own_loss"], [*own, 0], atol=1e-12)
    np.testing.assert_allclose(about["plane_loss"], [0.5 * 5, 0.5 * 2, 0.5 * 0.3125, 0], atol=1e-12)
    assert about["names"] == ["epoch 0", "epoch 1", "epoch 2", "the model"]
    assert model.theta.tolist() == [0, 0, 0]
    assert model.centre.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(
        surface.loss, lc.landscape(model, lambda out, _: out, batches, plane=plane, grid="-1:1:3x-1:1:3").loss
    )


def test_in_python_wrapped_state_dicts_are_read_and_others_refused():
    model, batches = Bowl([0.0, 0.0, 0.0]), [(torch.ones(2, dtype=torch.float64), None)]
    wrapped = {f"module.{name}": tensor for name, tensor in Bowl([1.0, 2.0, 3.0]).state_dict().items()}
    landscape = {"plane": ([torch.tensor([1.0, 2.0, 3.0]).double()], None), "grid": "0:1:2"}
    last = model.state_dict()
    about = lc.landscape(model, lambda o, _: o, batches, **landscape, checkpoints=[wrapped, last]).provenance["trajectory"]
    np.testing.assert_allclose(about["coordinates"], [[1], [0]], atol=1e-12)
    assert about["own_loss"] == [7.0, 0.0]
    assert "names" not in about
    for wrong, sentence in (
        ([], "should be 1 to 1,000 state_dicts"),
        ([{"theta": torch.zeros(4)}], r"checkpoints\[0\] is of another network: it has the shape \(4,\) for theta"),
        ([last, {}], r"checkpoints\[1\] is of another network: it has no tensor for theta"),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            lc.landscape(model, lambda o, _: o, batches, **landscape, checkpoints=wrong)
