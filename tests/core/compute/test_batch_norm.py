"""Batch norm re-estimated at every cell: against plain float64 PyTorch, whoever computes which chunk, and what it is for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from pydantic import ValidationError
from torch import nn
from torch.optim.swa_utils import update_bn

import landscape_core as lc
from landscape_core.compute import Evaluator, compute_surface, directions_for, load, prepare
from landscape_core.compute.batch_norm import BatchNormStatistics, moments
from landscape_core.errors import InvalidRequest, OutOfMemory
from landscape_core.estimate import chunk_bounds
from landscape_core.requests import BATCH_NORM_EXAMPLES, Normalisation, PlaneSpec, RandomDirection, SurfaceRequest

from .requested import axis, surface_request
from .small_models import classifier, cross_entropy, cut, points

ALL_MOVE = Normalisation(ignore="none")


def reestimated(request: SurfaceRequest, **changes) -> SurfaceRequest:
    return SurfaceRequest.model_validate({**request.model_dump(), "batch_norm": "reestimated", **changes})


def plainly(module: nn.Module, x: torch.Tensor, labels: torch.Tensor, most: int = BATCH_NORM_EXAMPLES) -> tuple[float, float]:
    """(mean loss, accuracy) in float64 after torch's own `update_bn` with one batch."""
    module = copy.deepcopy(module).double()
    update_bn([x[:most].double()], module)
    module.eval()
    with torch.inference_mode():
        outputs = module(x.double())
    right = 100 * (outputs.argmax(dim=1) == labels).double().mean()
    return float(nn.functional.cross_entropy(outputs, labels)), float(right)


@pytest.mark.parametrize("how", [Normalisation(), ALL_MOVE], ids=["biasbn", "all move"])
def test_the_surface_is_that_of_update_bn_in_float64(how, resnet_weights, images):
    request = reestimated(surface_request("resnet20", axis(2, 0.6), axis(2, 0.5), examples=70, seed=3, normalisation=how))
    surface = compute_surface(request, resnet_weights, images)
    module = load(request.architecture, resnet_weights)
    x, y = directions_for(request, module)
    pictures, labels = prepare(images, request.data)
    origin = [p.double() for p in module.parameters()]
    module = module.double()
    for row, beta in enumerate(request.grid.y.coordinates):
        for column, alpha in enumerate(request.grid.x.coordinates):
            for p, w, d, e in zip(module.parameters(), origin, x, y, strict=True):
                p.copy_(w + alpha * d + beta * e)
            loss, accuracy = plainly(module, pictures, labels)
            assert surface.loss[row, column] == pytest.approx(loss, rel=2e-5)
            assert surface.accuracy[row, column] == pytest.approx(accuracy)
    assert surface.provenance["batch_norm_examples"] == 70


def test_a_value_depends_neither_on_the_batch_nor_on_who_computes_which_chunk(resnet_weights, images):
    request = reestimated(surface_request("resnet20", axis(2, 0.5), examples=150))
    whole = compute_surface(request, resnet_weights, images)
    one, other = (Evaluator(request, resnet_weights, images) for _ in "ab")
    other._batch = 7
    cells = [(0, 1), (0, 0)]
    sums = np.zeros(2)
    for index, (start, stop) in enumerate(reversed(chunk_bounds(150))):
        for cell in cells[:: 1 if index % 2 else -1]:  # other workers, in another order, in other batches
            sums[cell[1]] += (other if index % 2 else one).tally([cell], start, stop).loss_sum[0]
    np.testing.assert_allclose(sums / 150, whole.loss[0], rtol=1e-6)


def test_the_networks_own_loss_is_with_its_own_statistics(resnet_weights, images):
    fixed = surface_request("resnet20", axis(3, 0.5), examples=40)
    anew = compute_surface(reestimated(fixed), resnet_weights, images)
    own = compute_surface(fixed, resnet_weights, images)
    assert anew.provenance["own_loss"] == own.provenance["own_loss"] == pytest.approx(own.loss[0, 1], rel=1e-9)
    assert abs(anew.loss[0, 1] / own.loss[0, 1] - 1) > 1e-3
    assert "batch_norm_examples" not in own.provenance


def test_away_from_a_trained_network_fixed_statistics_explode_and_its_own_do_not(weights, arrays):
    """A real ResNet-20 along a random direction, as the fixed statistics show it and as it is."""
    from landscape_core.compute import Examples

    examples = Examples.from_arrays(*(part[:64] for part in arrays("cifar10/test_1000.npz")))
    tensors, chance = weights("checkpoints/resnet20-12fca82f.th"), np.log(10)
    fixed = surface_request("resnet20:shortcut=A", axis(5, 1.0), examples=64, preprocessing="imagenet")
    before, after = (compute_surface(request, tensors, examples).loss[0] for request in (fixed, reestimated(fixed)))
    assert max(before[2], after[2]) < chance / 3  # at the network itself both are good
    assert before[[1, 3]].min() > chance > 1.2 * after[[1, 3]].max()  # half a filter's length away one is worse than a guess
    assert before[0] > 25 * chance
    assert after[[0, 4]].max() < 4 * chance


def test_more_examples_than_the_statistics_are_of():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(700, 6)).astype(np.float32)), torch.from_numpy(rng.integers(0, 3, 700))
    model = classifier(dropout=0.0).eval()
    found = lc.landscape(model, cross_entropy, cut(x, y, 90), batch_norm="reestimated", grid="0:0:1x0:0:1")
    assert found.loss[0, 0] == pytest.approx(plainly(model, x, y)[0], rel=1e-5)
    assert found.loss[0, 0] != pytest.approx(plainly(model, x, y, most=700)[0], rel=1e-6)
    assert found.provenance["batch_norm_examples"] == 512
    assert found.provenance["own_loss"] == pytest.approx(cross_entropy(model(x), y).mean().item(), rel=1e-5)


# -- in Python -------------------------------------------------------------------------------------------------------


def test_any_network_of_ones_own_and_dropout_stays_off():
    model, (x, y) = classifier(dropout=0.5), points(60)
    plane = PlaneSpec(x=RandomDirection(seed=4), normalisation=ALL_MOVE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = lc.landscape(model, cross_entropy, cut(x, y), plane=plane, grid="-1:1:3", batch_norm="reestimated")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert not any(part._forward_pre_hooks for part in model.modules())
    again = lc.landscape(model, cross_entropy, cut(x, y, 13), plane=plane, grid="-1:1:3", batch_norm="reestimated")
    np.testing.assert_allclose(found.loss, again.loss, rtol=1e-5)
    plain = nn.Sequential(*(part for part in copy.deepcopy(model) if not isinstance(part, nn.Dropout)))
    from landscape_core.compute import draw

    direction = draw(plane.x, model, plane.normalisation)
    for column, alpha in enumerate((-1, 0, 1)):
        moved = copy.deepcopy(plain)
        for p, d in zip(moved.parameters(), direction, strict=True):
            p.data += alpha * d
        assert found.loss[0, column] == pytest.approx(plainly(moved, x, y)[0], rel=1e-5)


class Twice(nn.Module):
    """One batch norm, used twice, and one that nothing reaches."""

    def __init__(self, *, named: bool = False) -> None:
        super().__init__()
        self.norm, self.idle, self.named = nn.BatchNorm1d(6), nn.BatchNorm1d(2), named
        self.idle.running_mean.fill_(3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(input=3 * self.norm(x) + 1) if self.named else self.norm(3 * self.norm(x) + 1)


@pytest.mark.parametrize("named", [False, True])
def test_a_layer_used_twice_keeps_the_mean_of_both_and_an_idle_one_its_own(named):
    model, (x, _) = Twice(named=named).eval(), points(30)
    expected = copy.deepcopy(model)
    update_bn([x], expected)
    BatchNormStatistics(model).reestimate(lambda: model(x))
    for part in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(model.norm, part), getattr(expected.norm, part), rtol=1e-5, atol=1e-6)
    assert (model.idle.running_mean == 3).all()


def test_inputs_by_name_and_in_tuples_are_put_together():
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier(dropout=0.0)

        def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return self.inner(torch.cat([left, right], dim=1) * scale)

    model, (x, y) = Takes(), points(30)
    named = [({"right": a[:, 2:], "left": a[:, :2], "scale": 1.0}, b) for a, b in cut(x, y)]
    tuples = [((a[:, :2], a[:, 2:]), b) for a, b in cut(x, y, 11)]
    found = [lc.landscape(model, cross_entropy, b, grid="-1:1:3", batch_norm="reestimated").loss for b in (named, tuples)]
    np.testing.assert_allclose(*found, rtol=1e-5)


# -- refusals --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_re_estimated_is_refused(mlp_weights, resnet_weights, rows, images, monkeypatch):
    with pytest.raises(InvalidRequest, match="This mlp has no batch norm") as refused:
        compute_surface(reestimated(surface_request("mlp", axis(3))), mlp_weights, rows)
    assert refused.value.field == "batch_norm"
    with pytest.raises(ValidationError, match="take the place of moved ones"):
        reestimated(surface_request("resnet20", axis(3), normalisation=Normalisation(of="states")))
    with pytest.raises(InvalidRequest, match="over two examples at least"):
        compute_surface(reestimated(surface_request("resnet20", axis(3), examples=1)), resnet_weights, images)
    evaluator = Evaluator(reestimated(surface_request("resnet20", axis(3), examples=20)), resnet_weights, images)

    def exhausted(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(evaluator._network._statistics, "reestimate", exhausted)
    with pytest.raises(OutOfMemory, match="re-estimate batch norm over 20 examples in one batch; choose batch_norm fixed"):
        evaluator.tally([(0, 0)], 0, 20)


def test_what_cannot_be_re_estimated_in_python_is_refused():
    model, (x, y) = classifier(), points(20)
    with pytest.raises((InvalidRequest, TypeCheckError), match="reestimated"):  # annotations are checked in tests alone
        lc.landscape(model, cross_entropy, cut(x, y), batch_norm="moved")
    states = {"x": {"kind": "random", "seed": 1}, "normalisation": {"of": "states"}}
    for changes, text in (
        ({"model": nn.Linear(6, 3)}, "no batch norm"),
        ({"plane": states, "grid": "-1:1:3"}, "of=weights"),
        ({"eval_mode": False}, "leave out eval_mode=False"),
        ({"batches": [(x[:1], y[:1])]}, "two examples at least"),
        ({"batches": [(torch.zeros(3, 6), y[:3]), (torch.zeros(3, 2, 6), y[:3])]}, "cannot be put together"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            lc.landscape(
                **{"model": model, "loss_fn": cross_entropy, "batches": cut(x, y), "batch_norm": "reestimated"} | changes
            )


# -- the moments -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    channels=st.integers(1, 4),
    places=st.lists(st.integers(1, 4), max_size=3),
    offset=st.sampled_from([0.0, 1.0, -1e4]),
    scale=st.sampled_from([1e-12, 1.0, 1e6]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 2**32),
)
def test_moments_are_those_of_float64(n, channels, places, offset, scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    x = scale * (torch.randn(n, channels, *places, generator=generator) + offset)
    x = (x.clamp(-6e4, 6e4) if dtype == torch.float16 else x).to(dtype)
    mean, variance = moments(x)
    flat = x.double().transpose(0, 1).flatten(1)
    size = float(x.abs().max())
    torch.testing.assert_close(mean, flat.mean(dim=1), rtol=1e-6, atol=1e-6 * size)
    torch.testing.assert_close(variance, flat.var(dim=1, correction=0), rtol=1e-5, atol=(1e-6 * size) ** 2)


def test_a_variance_that_overflows_is_a_hole_not_a_number():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[0].weight.mul_(1e25)
    x, y = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    surface = lc.landscape(model, cross_entropy, [(x, y)], batch_norm="reestimated", grid="0:0:1x0:0:1")
    assert surface.not_finite == 1
