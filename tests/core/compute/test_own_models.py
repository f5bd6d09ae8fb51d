"""`lc.landscape`: right against closed forms, the engine and the reference; and the model is given back as it was."""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import landscape_core as lc
from landscape_core.compute import compute_surface, draw, load, prepare, reference_surface
from landscape_core.compute import own_batches as keeping
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Normalisation, PlaneSpec, RandomDirection
from landscape_core.results import MEASURED, NOT_FINITE

from .requested import axis, surface_request
from .small_models import GRID, classifier, cross_entropy, cut, points


class Bowl(nn.Module):
    """x ↦ x ½‖θ − centre‖², so that the landscape is known in closed form."""

    def __init__(self, centre: torch.Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros_like(centre))
        self.register_buffer("centre", centre)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.5 * ((self.theta - self.centre) ** 2).sum()


def identity(outputs: torch.Tensor, _targets: object) -> torch.Tensor:
    return outputs


# -- values ----------------------------------------------------------------------------------------------------------


def test_a_quadratic_is_met_in_closed_form():
    rng = np.random.default_rng(0)
    centre, d, e = (rng.normal(size=(3, 4)) for _ in range(3))
    x = torch.from_numpy(rng.uniform(0.5, 2, 7))
    model = Bowl(torch.from_numpy(centre))
    plane = ([torch.from_numpy(d)], [torch.from_numpy(e)])
    surface = lc.landscape(model, identity, [(x[:4], None), (x[4:], None)], plane=plane, grid="-2:2:9x-1:3:6")
    alphas, betas = np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-1, 3, 6))
    heights = 0.5 * ((alphas[..., None, None] * d + betas[..., None, None] * e - centre) ** 2).sum(axis=(2, 3))
    np.testing.assert_allclose(surface.loss, heights * x.numpy().mean(), rtol=1e-13)
    np.testing.assert_allclose(surface.stderr, heights * x.numpy().std(ddof=1) / np.sqrt(7), rtol=1e-9)
    assert np.isnan(surface.accuracy).all()
    assert (surface.state == MEASURED).all()
    assert surface.provenance["plane"]["x"]["kind"] == "given"


@pytest.mark.parametrize(
    "how", [Normalisation(), Normalisation(norm="layer", ignore="none", of="states")], ids=["filter", "states"]
)
@pytest.mark.parametrize("name", ["mlp", "resnet20"])
def test_a_catalogued_network_gives_what_the_engine_gives(name, how, mlp_weights, resnet_weights, rows, images):
    tensors, examples = (mlp_weights, rows) if name == "mlp" else (resnet_weights, images)
    request = surface_request(name, axis(3, 0.5), axis(2, 0.4), examples=80, seed=3, normalisation=how)
    x, y = prepare(examples, request.data)
    found = lc.landscape(
        load(request.architecture, tensors), cross_entropy, cut(x, y, 64), plane=request.plane, grid=request.grid
    )
    engine = compute_surface(request, tensors, examples)
    for part in ("loss", "stderr"):
        np.testing.assert_allclose(getattr(found, part), getattr(engine, part), rtol=1e-6 if part == "loss" else 1e-5)
    np.testing.assert_array_equal(found.accuracy, engine.accuracy)
    np.testing.assert_array_equal(found.examples, engine.examples)
    reference, accuracy = reference_surface(request, tensors, examples)
    np.testing.assert_allclose(found.loss, reference, rtol=1e-5)
    np.testing.assert_allclose(found.accuracy, accuracy, atol=1e-9)
    assert found.provenance["own_loss"] == pytest.approx(engine.provenance["own_loss"], rel=1e-6)
    assert found.provenance["directions"] == engine.provenance["directions"]
    assert found.request is None


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
def test_how_examples_are_cut_into_batches_does_not_matter(sizes, mean):
    x, y = points(sum(sizes))
    ends = np.cumsum([0, *sizes])
    batches = [(x[a:b], y[a:b]) for a, b in pairwise(ends)]
    model = classifier()
    loss_fn = nn.CrossEntropyLoss() if mean else cross_entropy
    found = lc.landscape(model, loss_fn, batches, grid="0:1:2x-1:1:2")
    whole = lc.landscape(model, cross_entropy, [(x, y)], grid="0:1:2x-1:1:2")
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-5)
    np.testing.assert_array_equal(found.accuracy, whole.accuracy)
    np.testing.assert_array_equal(found.examples, whole.examples)
    if mean and max(sizes) > 1:
        assert np.isnan(found.stderr).all()
    elif len(x) > 1:
        np.testing.assert_allclose(found.stderr, whole.stderr, rtol=1e-4, atol=1e-7)


def test_losses_that_a_network_puts_into_the_same_memory_every_time_are_told_apart():
    room = torch.zeros(8)

    def again(outputs, targets):
        return room[: len(targets)].copy_(cross_entropy(outputs, targets))

    found, expected = (lc.landscape(classifier(), loss, cut(*points()), grid=GRID) for loss in (again, cross_entropy))
    np.testing.assert_array_equal(found.loss, expected.loss)


def test_half_precision_is_rounded_once():
    model = nn.Linear(6, 3, bias=False).to(torch.bfloat16)
    x, y = points()
    found = lc.landscape(model, cross_entropy, [(x.to(torch.bfloat16), y)], grid="-1:1:3x-1:1:3")
    d, e = (draw(RandomDirection(seed=s), model, Normalisation())[0] for s in (1, 2))
    assert d.dtype == torch.float32
    for row, beta in enumerate((-1, 0, 1)):
        for column, alpha in enumerate((-1, 0, 1)):
            w = (model.weight.detach().float() + (alpha * d + beta * e)).to(torch.bfloat16)
            expected = cross_entropy(functional.linear(x.to(torch.bfloat16), w), y).double().mean().item()
            assert found.loss[row, column] == pytest.approx(expected, rel=1e-12)
    assert model.weight.dtype == torch.bfloat16


class Tied(nn.Module):
    """x ↦ ‖W x‖² by two names of one W."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a(x) * self.b(x)).sum(dim=1)


@pytest.mark.parametrize("of", ["weights", "states"])
def test_tied_weights_move_once(of):
    torch.manual_seed(0)
    model, (x, _) = Tied(), points()
    how = Normalisation(norm="none", of=of)
    plane = PlaneSpec(x=RandomDirection(seed=4), normalisation=how)
    found = lc.landscape(model, identity, [(x, None)], plane=plane, grid="-1:1:5")
    d = draw(RandomDirection(seed=4), model, how)[0]
    for column, alpha in enumerate(np.linspace(-1, 1, 5)):
        expected = ((x @ (model.a.weight.detach() + alpha * d).T) ** 2).sum(dim=1).mean().item()
        assert found.loss[0, column] == pytest.approx(expected, rel=1e-5)


def test_what_is_not_finite_is_a_hole():
    model, (x, y) = classifier(), points()
    with torch.no_grad():
        model[4].weight[0, 0] = torch.nan
    surface = lc.landscape(model, cross_entropy, [(x, y)], grid="-1:1:3x-1:1:3")
    assert (surface.state == NOT_FINITE).all()
    assert np.isnan(surface.loss).all()
    assert surface.provenance["own_loss"] is None


# -- batches and wrappers --------------------------------------------------------------------------------------------


class Takes(nn.Module):
    """A model with two arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = classifier()

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.cat([left, right], dim=1))


def test_every_form_of_batches_gives_the_same(monkeypatch):
    model, (x, y) = Takes(), points()
    expected = lc.landscape(model.inner, cross_entropy, cut(x, y), grid=GRID, plane=_named_inner(model))
    pairs = cut(x, y)
    forms = {
        "tuples": [((a[:, :2], a[:, 2:]), b) for a, b in pairs],
        "mappings": [[{"right": a[:, 2:], "left": a[:, :2]}, b] for a, b in pairs],
        "once": (((a[:, :2], a[:, 2:]), b) for a, b in pairs),
        "loader": torch.utils.data.DataLoader([((a[:2], a[2:]), b) for a, b in zip(x, y, strict=True)], 8, shuffle=True),
    }
    for name, batches in forms.items():
        found = lc.landscape(model, cross_entropy, batches, grid=GRID, plane=_named_inner(model))
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5, err_msg=name)
        assert found.provenance["batches"] == "read once, kept on the device"


def _named_inner(model: Takes) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Explicit directions, so that other names of the same tensors make no difference."""
    generator = torch.Generator().manual_seed(3)
    x, y = ([torch.randn(p.shape, generator=generator) for p in model.parameters()] for _ in "xy")
    return x, y


def test_what_does_not_fit_is_read_again_or_kept_in_memory(monkeypatch):
    x, y = points()
    model = classifier()
    expected = lc.landscape(model, cross_entropy, cut(x, y), grid=GRID)

    class Counted(list):
        reads = 0

        def __iter__(self):
            self.reads += 1
            return super().__iter__()

    monkeypatch.setattr(keeping, "RESIDENT_BYTES", 300)
    again = Counted(cut(x, y))
    found = lc.landscape(model, cross_entropy, again, grid=GRID)
    assert again.reads == 1 + 2 + 20  # the try to keep them, the network itself twice, every cell
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert found.provenance["batches"] == "read again at every cell"
    once = lc.landscape(model, cross_entropy, iter(cut(x, y)), grid=GRID)
    np.testing.assert_array_equal(once.loss, expected.loss)
    assert once.provenance["batches"] == "read once, kept in memory"


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel], ids=lambda w: w.__name__
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrappers_are_looked_through(wrap):
    model, (x, y) = classifier(), points()
    expected = lc.landscape(model, cross_entropy, cut(x, y), grid="-1:1:3x-1:1:2")
    found = lc.landscape(wrap(model), cross_entropy, cut(x, y), grid="-1:1:3x-1:1:2")
    np.testing.assert_array_equal(found.loss, expected.loss)
    assert found.provenance["model"] == "torch.nn.modules.container.Sequential"


# -- the model is given back -----------------------------------------------------------------------------------------


def _odd() -> nn.Module:
    """A model with everything that could be changed: modes, gradients, buffers of all kinds, tied and frozen weights."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 3), nn.Linear(3, 3))
    model.add_module("tied", nn.Linear(3, 3))
    model.tied.weight = model[4].weight
    model.register_buffer("secret", torch.arange(3.0), persistent=False)
    model.register_buffer("nothing", None)
    model.train()
    model[1].eval()
    model[0].requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    return model


def _state(model: nn.Module) -> list[object]:
    found: list[object] = []
    for part in model.modules():
        tensors = {**part._parameters, **part._buffers}
        found.append((part.training, list(part._parameters), list(part._buffers)))
        for name, tensor in tensors.items():
            if tensor is None:
                found.append(name)
            else:
                same = (id(tensor), tensor.data_ptr(), tensor.stride(), tensor.requires_grad, id(tensor.grad))
                found.append((name, same, tensor.detach().numpy().tobytes()))
    return found


class Stop(Exception):
    pass


@pytest.mark.parametrize("end", ["well", "loss", "ctrl-c", "bad batch"])
@pytest.mark.parametrize("eval_mode", [True, False])
def test_the_model_is_given_back_as_it_was(end, eval_mode):
    torch.manual_seed(0)
    model = _odd()
    model[1].train(not eval_mode)
    before = _state(model)
    batches = [(torch.randn(4, 1, 3, 3), torch.randint(0, 3, (4,))) for _ in range(2)]
    calls = 0

    def loss_fn(outputs, targets):
        nonlocal calls
        calls += 1
        if end == "loss" and calls == 9:
            raise Stop
        return cross_entropy(outputs, targets)

    def progress(share):
        if end == "ctrl-c" and share > 0.5:
            raise KeyboardInterrupt

    batches = [*batches, (torch.zeros(2, 7), torch.zeros(2, dtype=torch.long))] if end == "bad batch" else batches
    expected = {"well": None, "loss": Stop, "ctrl-c": KeyboardInterrupt, "bad batch": RuntimeError}[end]
    run = functools.partial(
        lc.landscape, model, loss_fn, batches, grid="-.3:.3:3x-.3:.3:3", eval_mode=eval_mode, progress=progress,
        plane=PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2), normalisation=Normalisation(ignore="none", of="states")),
    )  # fmt: skip
    if expected is None:
        assert np.isfinite(run().loss).all()
    else:
        with pytest.raises(expected):
            run()
    assert _state(model) == before


class Counting(nn.Module):
    """A model whose outputs depend on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return self.inner(x) * self.calls


def test_a_cell_does_not_depend_on_the_cells_before():
    model, (x, y) = Counting(), points()
    found = lc.landscape(model, cross_entropy, [(x, y)], grid="-1:1:3x-1:1:3")
    alone = lc.landscape(model, cross_entropy, [(x, y)], grid="1:1:1x1:1:1")
    assert found.loss[2, 2] == alone.loss[0, 0]
    assert model.calls == 0


# -- stages ----------------------------------------------------------------------------------------------------------


def test_every_stage_is_a_whole_surface():
    model, (x, y) = classifier(), points()
    stages: list[lc.Surface] = []
    shares: list[float] = []
    final = lc.landscape(model, cross_entropy, cut(x, y), grid="-1:1:13x-1:1:9", on_stage=stages.append, progress=shares.append)
    assert [stage.loss.shape for stage in stages] == [(5, 5), (5, 13), (9, 13)]
    for stage in stages:
        rows, columns = np.searchsorted(final.y, stage.y), np.searchsorted(final.x, stage.x)
        np.testing.assert_array_equal(stage.loss, final.loss[np.ix_(rows, columns)])
        assert (stage.state == MEASURED).all()
    assert len(shares) == 9 * 13
    assert shares[-1] == 1
    assert (np.diff(shares) > 0).all()


def test_a_line_says_how_far_it_is(capfd):
    model, (x, y) = classifier(), points()
    lc.landscape(model, cross_entropy, cut(x, y), grid="-1:1:2", progress=True)
    assert capfd.readouterr().err == "\rComputing the landscape:  50%\rComputing the landscape: 100%\n"


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_what_hooks_set_on_a_module_is_given_back_too():
    """Old-style weight norm sets a plain tensor, `weight`, before each evaluation."""
    module = torch.nn.utils.weight_norm(torch.nn.Linear(3, 2))
    batches = [(torch.randn(8, 3), torch.randint(0, 2, (8,)))]
    module(batches[0][0])
    before = module.weight
    lc.landscape(module, torch.nn.CrossEntropyLoss(reduction="none"), batches, grid="-1:1:3x-1:1:3")
    assert module.weight is before


def test_a_run_of_files_has_no_place_in_python():
    plane = {"x": {"kind": "random", "seed": 1}, "trajectory": ["a" * 64]}
    batches = [(torch.randn(8, 3), torch.randint(0, 2, (8,)))]
    for bad, text in ((plane, "leave it out"), (([["a"], ["b"]],), "list of tensors"), (([torch.ones(2, 3) * 1j],), "complex")):
        with pytest.raises(InvalidRequest, match=text):
            lc.landscape(torch.nn.Linear(3, 2, bias=False), torch.nn.CrossEntropyLoss(), batches, plane=bad)
