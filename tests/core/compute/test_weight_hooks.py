"""Weights that are made anew before each evaluation: spectral norm, weight norm, pruning, old-style hooks and parametrisations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import landscape_core as lc
from landscape_core.compute import draw
from landscape_core.compute.directions import moved_tensors
from landscape_core.compute.normalization import transposed_groups
from landscape_core.requests import Normalisation, PlaneSpec, RandomDirection

from .small_models import cross_entropy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")

PLANE = PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2), normalisation=Normalisation(ignore="none"))


def spectral(w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """W / σ with σ = uᵀ W v of the stored vectors, as both forms have it in evaluation mode."""
    return w / (u @ w.flatten(1) @ v)


def by_length(g: Tensor, v: Tensor) -> Tensor:
    """g v / ‖v‖, row by row (Salimans and Kingma 2016)."""
    return g * v / v.flatten(1).norm(dim=1).view(g.shape)


def effective(t: dict[str, Tensor], kind: str) -> Tensor:
    """The first layer's weight from the tensors of the state_dict, written down once more."""
    if kind == "spectral_norm":
        return spectral(t["0.weight_orig"], t["0.weight_u"], t["0.weight_v"])
    if kind == "spectral parametrisation":
        w = "0.parametrizations.weight"
        return spectral(t[f"{w}.original"], t[f"{w}.0._u"], t[f"{w}.0._v"])
    if kind == "weight_norm":
        return by_length(t["0.weight_g"], t["0.weight_v"])
    if kind == "weight parametrisation":
        return by_length(t["0.parametrizations.weight.original0"], t["0.parametrizations.weight.original1"])
    return t["0.weight_orig"] * t["0.weight_mask"]


KINDS = {
    "spectral_norm": spectral_norm,
    "spectral parametrisation": parametrizations.spectral_norm,
    "weight_norm": weight_norm,
    "weight parametrisation": parametrizations.weight_norm,
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.4),
}


def network(kind: str) -> nn.Sequential:
    torch.manual_seed(3)
    model = nn.Sequential(KINDS[kind](nn.Conv2d(2, 4, 2)), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3))
    model(torch.randn(5, 2, 3, 3))  # a step of training, which sets what hooks set
    return model


def batch(n: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, 2, 3, 3, generator=generator), torch.arange(n) % 3


def everything(model: nn.Module) -> list[object]:
    """Every tensor that a module holds in any way: which object, where, which bytes; and what else it holds."""
    found: list[object] = []
    for part in model.modules():
        held = {**{k: v for k, v in vars(part).items() if isinstance(v, Tensor)}, **part._parameters, **part._buffers}
        found.append((part.training, sorted(vars(part)), len(part._forward_pre_hooks), part.extra_repr()))
        for name, tensor in held.items():
            if tensor is not None:
                found.append((name, id(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.detach().numpy().tobytes()))
    return found


@pytest.mark.parametrize("eval_mode", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_landscape_is_that_of_the_weights_made_anew_and_all_is_given_back(kind, eval_mode):
    model, (x, y) = network(kind), batch()
    if not eval_mode:
        model.eval()  # training mode itself goes on with spectral norm's power iteration; see below
    before = everything(model)
    surface = lc.landscape(model, cross_entropy, [(x, y)], plane=PLANE, grid="-.5:.5:3x-.4:.4:2", eval_mode=eval_mode)
    assert everything(model) == before
    tensors = {name: value.detach().double() for name, value in model.state_dict().items()}
    names = list(moved_tensors(model, PLANE.normalisation))
    drawn = [draw(spec, model, PLANE.normalisation) for spec in (PLANE.x, PLANE.y)]
    for row, beta in enumerate((-0.4, 0.4)):
        for column, alpha in enumerate((-0.5, 0.0, 0.5)):
            moved = dict(tensors)
            for name, d, e in zip(names, *drawn, strict=True):
                moved[name] = tensors[name] + alpha * d + beta * e
            hidden = nn.functional.conv2d(x.double(), effective(moved, kind), moved["0.bias"]).tanh().flatten(1)
            outputs = hidden @ moved["3.weight"].T + moved["3.bias"]
            assert surface.loss[row, column] == pytest.approx(float(cross_entropy(outputs, y).mean()), rel=1e-5)


def test_a_power_iteration_in_training_mode_does_not_leak_from_cell_to_cell():
    """Each cell begins from the stored vectors, so that it does not depend on the cells before; and they are given back."""
    model, (x, y) = network("spectral_norm"), batch()
    before = everything(model)
    surface = lc.landscape(model, cross_entropy, [(x, y)], plane=PLANE, grid="-.5:.5:3x-.4:.4:2", eval_mode=False)
    alone = lc.landscape(model, cross_entropy, [(x, y)], plane=PLANE, grid=".5:.5:1x.4:.4:1", eval_mode=False)
    assert everything(model) == before
    assert surface.loss[1, 2] == alone.loss[0, 0]
    stepped = network("spectral_norm")
    drawn = [draw(spec, model, PLANE.normalisation) for spec in (PLANE.x, PLANE.y)]
    with torch.no_grad():
        for p, d, e in zip(stepped.parameters(), *drawn, strict=True):
            p.add_(0.5 * d + 0.4 * e)
        expected = float(cross_entropy(stepped(x), y).mean())
    assert surface.loss[1, 2] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_given_back_whatever_ends_it(kind, end):
    model = network(kind)
    before = everything(model)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise end
        return cross_entropy(outputs, targets)

    calls = 0
    with pytest.raises(end):
        lc.landscape(model, loss, [batch()], plane=PLANE, grid="-.5:.5:3x-.4:.4:2")
    assert everything(model) == before
    model(batch()[0]).sum().backward()  # and it can be trained on


def test_filters_of_a_transposed_convolution_are_found_behind_hooks():
    for wrap, name in (
        (spectral_norm, "weight_orig"),
        (weight_norm, "weight_v"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.4), "weight_orig"),
        (parametrizations.weight_norm, "parametrizations.weight.original1"),
    ):
        layer = wrap(nn.ConvTranspose2d(2, 6, 3, groups=2))
        groups = transposed_groups(nn.Sequential(layer))
        assert groups[f"0.{name}"] == 2
        w = dict(layer.named_parameters())[name].detach()
        d = dict(zip(moved_tensors(layer, PLANE.normalisation), draw(PLANE.x, layer, PLANE.normalisation), strict=True))[name]
        for group in range(2):
            for channel in range(3):
                assert float(d[group, channel].norm()) == pytest.approx(float(w[group, channel].norm()), rel=1e-6)
        assert np.isfinite(d.numpy()).all()
