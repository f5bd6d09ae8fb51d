"""Which tensors are filters along which axis: every kind of layer of docs/normalisation.md, every dtype, odd values."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import landscape_core as lc
from landscape_core.compute import draw, normalise
from landscape_core.compute.directions import moved_tensors, moving
from landscape_core.compute.normalization import transposed_groups
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Norm, Normalisation, RandomDirection

LAYERS = {
    "linear": nn.Linear(3, 4),
    "bilinear": nn.Bilinear(2, 3, 4),
    "conv1d": nn.Conv1d(2, 4, 3),
    "conv2d": nn.Conv2d(2, 4, 3),
    "conv3d": nn.Conv3d(2, 4, 2),
    "grouped": nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, groups=4),
    "embedding": nn.Embedding(7, 3),
    "embedding_bag": nn.EmbeddingBag(7, 3),
    "attention": nn.MultiheadAttention(4, 2),
    "rnn": nn.RNN(3, 4),
    "lstm": nn.LSTM(3, 4, proj_size=2, bidirectional=True),
    "gru": nn.GRU(3, 4, num_layers=2),
    "layer_norm": nn.LayerNorm(4),
    "rms_norm": nn.RMSNorm(4),
    "batch_norm": nn.BatchNorm2d(4),
    "prelu": nn.PReLU(3),
}
with torch.random.fork_rng(devices=[]):  # not what the order of the tests makes of them
    torch.manual_seed(0)
    TRANSPOSED = {
        "1d": nn.ConvTranspose1d(2, 4, 3),
        "2d": nn.ConvTranspose2d(2, 4, 3),
        "3d": nn.ConvTranspose3d(2, 4, 2),
        "grouped": nn.ConvTranspose2d(4, 6, 3, groups=2),
        "spectral": nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(2, 4, 3)),
    }


def drawn(module: nn.Module, norm: Norm = "filter", **rest) -> dict[str, tuple[Tensor, Tensor]]:
    """(the network's tensor, the direction's) by name."""
    how = Normalisation(norm=norm, **rest)
    tensors = moved_tensors(module, how)
    return dict(zip(tensors, zip(tensors.values(), draw(RandomDirection(seed=3), module, how), strict=True), strict=True))


def norms(tensor: Tensor, groups: int | None) -> list[float]:
    """Filter by filter, as it is written in the documentation."""
    t = tensor.detach().double()
    if groups is None:
        return [float(t[i].norm()) for i in range(len(t))]
    size = len(t) // groups
    return [float(t[g * size : (g + 1) * size, j].norm()) for g in range(groups) for j in range(t.shape[1])]


@pytest.mark.parametrize("name", LAYERS)
def test_a_filter_of_most_layers_is_an_index_of_the_first_dimension(name):
    module = LAYERS[name]
    assert transposed_groups(module) == {}
    for tensor, direction in drawn(module).values():
        if tensor.dim() <= 1:
            assert not direction.any()
        else:
            assert direction.any()
            assert norms(direction, None) == pytest.approx(norms(tensor, None), rel=1e-6)
    for tensor, direction in drawn(module, ignore="none").values():
        assert tensor.dim() > 1 or torch.equal(direction, tensor.detach())


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_a_filter_of_a_transposed_convolution_is_an_output_channel(kind):
    layer = TRANSPOSED[kind]
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ModuleDict({"up": layer}))
    found = {name: pair for name, pair in drawn(network).items() if name.startswith("1.up") and pair[0].dim() > 1}
    ((name, (tensor, direction)),) = found.items()
    assert transposed_groups(network) == {name: layer.groups}
    assert len(norms(tensor, layer.groups)) == layer.out_channels
    assert norms(direction, layer.groups) == pytest.approx(norms(tensor, layer.groups), rel=1e-6)
    assert norms(direction, None) != pytest.approx(norms(tensor, None), rel=1e-2)
    to_one = drawn(network, "dfilter")[name][1]
    assert norms(to_one, layer.groups) == pytest.approx([1.0] * layer.out_channels, rel=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_so_a_landscape_does_not_see_how_a_decoders_channels_are_scaled(groups):
    """What filters are for (section 4): output channels times c, the next layer's inputs by 1 / c, and nothing changes."""
    torch.manual_seed(0)
    up, out = nn.ConvTranspose2d(2, 4, 2, stride=2, groups=groups, bias=False), nn.Conv2d(4, 3, 4)
    network = nn.Sequential(up, nn.ReLU(), out, nn.Flatten())
    scaled = copy.deepcopy(network)
    c = torch.tensor([0.01, 1.0, 7.0, 100.0])
    per_group = c.view(groups, -1)
    with torch.no_grad():
        for g in range(groups):
            rows = slice(g * 2 // groups, (g + 1) * 2 // groups)
            scaled[0].weight[rows] *= per_group[g].view(1, -1, 1, 1)
        scaled[2].weight /= c.view(1, -1, 1, 1)
    # the layer after has filters of other norms then, so it is kept where it is: a direction in `up` alone
    batch = [(torch.randn(9, 2, 2, 2), torch.arange(9) % 3)]
    loss = nn.CrossEntropyLoss(reduction="none")
    losses = []
    for model in (network, scaled):
        d = [pair[1] if name == "0.weight" else torch.zeros_like(pair[1]) for name, pair in drawn(model).items()]
        losses.append(lc.landscape(model, loss, batch, plane=(d, None), grid="-1:1:5").loss)
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_tied_weight_is_scaled_as_the_filters_of_its_first_name():
    class Tied(nn.Module):
        def __init__(self, *, up_first: bool) -> None:
            super().__init__()
            down, up = nn.Conv2d(3, 4, 2, bias=False), nn.ConvTranspose2d(4, 3, 2, bias=False)
            down.weight = up.weight
            for name, part in [("up", up), ("down", down)][:: 1 if up_first else -1]:
                self.add_module(name, part)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(self.down(x)).square().sum(dim=(1, 2, 3))

    for up_first, groups in ((True, 1), (False, None)):
        model = Tied(up_first=up_first)
        ((tensor, direction),) = drawn(model).values()
        assert norms(direction, groups) == pytest.approx(norms(tensor, groups), rel=1e-6)
        states = drawn(model, of="states")
        assert moving({name: pair[0] for name, pair in states.items()}) == [True, False]
        assert torch.equal(next(iter(states.values()))[1], direction)
        x = torch.randn(2, 3, 4, 4)
        surface = lc.landscape(model, lambda out, _: out, [(x, None)], plane={"x": {"kind": "random", "seed": 3}}, grid="1:1:1")
        moved = copy.deepcopy(model)
        moved.up.weight.data += direction  # both uses see it
        assert surface.loss[0, 0] == pytest.approx(float(moved(x).detach().mean()), rel=1e-5)


class Odd(nn.Module):
    """Parameters and buffers that are no weights of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.token = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.randn(1, 1, 5))
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mask", torch.ones(2, 2, dtype=torch.bool))
        self.register_buffer("turns", torch.ones(2, 2, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.token.sum() * self.mask.sum() / self.count * self.turns.real.mean()


def test_scalars_tokens_and_buffers():
    model = Odd()
    found = drawn(model, of="states", ignore="none")
    assert moving({name: pair[0] for name, pair in found.items()}) == [True, True, True, False, False, False]
    assert found["scale"][1] == 2
    assert norms(found["token"][1], None) == pytest.approx(norms(model.token, None), rel=1e-6)
    plane = {"x": {"kind": "random", "seed": 3}, "normalisation": {"of": "states", "ignore": "none"}}
    surface = lc.landscape(model, lambda out, _: out, [(torch.ones(4), None)], plane=plane, grid="-1:1:3")
    for column, alpha in enumerate((-1, 0, 1)):
        token = (model.token.detach() + alpha * found["token"][1]).sum() * 4 / 3
        assert surface.loss[0, column] == pytest.approx(float(2 + 2 * alpha + token), rel=1e-5)
    assert (model.count, bool(model.mask.all())) == (3, True)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=5).map(tuple),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    norm=st.sampled_from(["filter", "layer", "weight", "dfilter", "dlayer", "none"]),
    exponent=st.integers(-30, 30),
    groups=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 2**32),
)
def test_every_shape_dtype_and_span_is_scaled_as_float64_would(shape, dtype, norm, exponent, groups, seed):
    groups = None if len(shape) < 3 or shape[0] % (groups or 1) else groups
    generator = torch.Generator().manual_seed(seed)
    w = (torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0**exponent).to(dtype)
    module = nn.Module()
    module.register_parameter("w", nn.Parameter(w))
    d = torch.randn(shape, generator=generator)
    ours = normalise(d, w.double() if dtype == torch.float64 else w.float(), Normalisation(norm=norm, ignore="none"), groups)
    assert ours.dtype == torch.float32
    wide, d = w.double(), d.double()
    if w.dim() <= 1:
        expected = wide
    elif norm in {"filter", "dfilter"}:
        size = len(w) // (groups or 1)
        expected = torch.empty_like(d)
        pieces = (
            [(i, slice(None)) for i in range(len(w))]
            if groups is None
            else [(slice(g * size, (g + 1) * size), j) for g in range(groups) for j in range(w.shape[1])]
        )
        for piece in pieces:
            expected[piece] = d[piece] / (d[piece].norm() + 1e-10) * (wide[piece].norm() if norm == "filter" else 1)
    else:
        expected = d * {"layer": wide.norm() / d.norm(), "weight": wide, "dlayer": 1 / d.norm(), "none": 1}[norm]
    torch.testing.assert_close(ours, expected.float(), rtol=1e-5, atol=1e-38, equal_nan=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_holes_beside_the_network_and_at_it(bad):
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[0, 0] = bad
    batch = [(torch.ones(5, 4), torch.arange(5) % 3)]
    surface = lc.landscape(model, nn.CrossEntropyLoss(reduction="none"), batch, grid="-1:1:3x0:0:1")
    assert surface.not_finite == 3


def test_a_direction_that_moves_nothing_is_refused_and_not_drawn_flat():
    batch, loss = [(torch.ones(5, 4), torch.arange(5) % 3)], nn.CrossEntropyLoss(reduction="none")
    with pytest.raises(
        InvalidRequest, match=r"Direction x moves nothing: all tensors have at most one dimension.* ignore none"
    ):
        lc.landscape(nn.LayerNorm(4), loss, batch)
    dead = nn.Linear(4, 3)
    nn.init.zeros_(dead.weight)
    with pytest.raises(InvalidRequest, match=r"Direction x moves nothing: every weight .* is zero; choose the norm none"):
        lc.landscape(dead, loss, batch)
    assert lc.landscape(
        dead, loss, batch, plane={"x": {"kind": "random", "seed": 1}, "normalisation": {"norm": "none"}}
    ).is_curve


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    at=st.tuples(st.sampled_from([-1e6, -1.0, 0.0, 0.25, 1e6]), st.sampled_from([-1e6, 0.0, 1.0])),
    seed=st.integers(0, 100),
)
def test_one_point_of_a_quadratic_in_every_dtype(dtype, at, seed):
    """‖(W + α δ + β η) 1‖², with the sum rounded once to the parameter's own type, wherever the point is."""
    torch.manual_seed(seed)
    model = nn.Linear(3, 2, bias=False).to(dtype)
    plane = lc.PlaneSpec(x=RandomDirection(seed=seed), y=RandomDirection(seed=seed + 1))
    grid = lc.Grid(x=lc.Axis(start=at[0], stop=at[0], points=1), y=lc.Axis(start=at[1], stop=at[1], points=1))
    surface = lc.landscape(model, lambda out, _: out.double().square().sum(dim=1), [(torch.ones(1, 3, dtype=dtype), None)], plane=plane, grid=grid)  # fmt: skip
    w = model.weight.detach().to(torch.float64 if dtype == torch.float64 else torch.float32)
    d, e = (draw(spec, model, plane.normalisation)[0].to(w.dtype) for spec in (plane.x, plane.y))
    place = (w + (at[0] * d + at[1] * e)).to(dtype)
    expected = float(nn.functional.linear(torch.ones(1, 3, dtype=dtype), place).double().square().sum())
    if np.isfinite(expected):
        assert surface.loss[0, 0] == pytest.approx(expected, rel=1e-5, abs=1e-12)
    else:
        assert surface.not_finite == 1
