"""Directions: the original's arithmetic to the letter, seeds that depend on names alone, files that are checked."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.compute import directions_for, draw, load, normalise
from landscape_core.compute.directions import moved_tensors, tensor_seed
from landscape_core.errors import DirectionsRejected, InvalidRequest
from landscape_core.requests import ArchitectureSpec, FileDirection, Normalisation, RandomDirection

from .requested import SHA, axis, surface_request

RESNET20, MLP = ArchitectureSpec(name="resnet20"), ArchitectureSpec(name="mlp")
SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=4).map(tuple)


def transcribed(d: np.ndarray, w: np.ndarray, norm: str, ignore: str) -> np.ndarray:
    """`normalize_direction` and `normalize_directions_for_weights` of Li et al. 2018 (net_plotter.py), filter by filter."""
    d = d.copy()
    if d.ndim <= 1:
        return np.zeros_like(d) if ignore == "biasbn" else w.copy()
    if norm == "filter":
        for i in range(len(d)):
            d[i] *= np.linalg.norm(w[i]) / (np.linalg.norm(d[i]) + 1e-10)
    elif norm == "layer":
        d *= np.linalg.norm(w) / np.linalg.norm(d)
    elif norm == "weight":
        d *= w
    elif norm == "dfilter":
        for i in range(len(d)):
            d[i] /= np.linalg.norm(d[i]) + 1e-10
    elif norm == "dlayer":
        d /= np.linalg.norm(d)
    return d


@settings(deadline=None, max_examples=150)
@given(
    shape=SHAPES,
    norm=st.sampled_from(["filter", "layer", "weight", "dfilter", "dlayer", "none"]),
    ignore=st.sampled_from(["biasbn", "none"]),
    scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e4]),
    seed=st.integers(0, 2**32),
)
def test_normalisation_is_the_originals(shape, norm, ignore, scale, seed):
    rng = np.random.default_rng(seed)
    d, w = rng.normal(size=shape).astype(np.float32), (scale * rng.normal(size=shape)).astype(np.float32)
    d, w = np.asarray(d), np.asarray(w)
    ours = normalise(torch.from_numpy(d), torch.from_numpy(w), Normalisation(norm=norm, ignore=ignore))
    expected = transcribed(d.astype(np.float64), w.astype(np.float64), norm, ignore)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-30)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES.filter(lambda shape: len(shape) > 1), seed=st.integers(0, 2**32), dead=st.booleans())
def test_each_filter_of_the_direction_has_the_norm_of_the_networks_filter(shape, seed, dead):
    generator = torch.Generator().manual_seed(seed)
    d, w = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    if dead:
        w[0] = 0
    ours = normalise(d, w, Normalisation(norm="filter"))
    for index in range(shape[0]):
        assert float(ours[index].norm()) == pytest.approx(float(w[index].norm()), rel=1e-5)
    assert torch.isfinite(ours).all()


def test_what_is_not_finite_stays_where_it_is():
    w = torch.tensor([[1.0, 2.0], [float("nan"), 1.0], [0.0, 0.0]])
    ours = normalise(torch.ones(3, 2), w, Normalisation(norm="filter"))
    assert torch.isfinite(ours[[0, 2]]).all()
    assert ours[1].isnan().all()


def test_a_tensors_seed_is_the_documented_one():
    assert tensor_seed(3, "a.weight") == int(hashlib.sha256(b"3:a.weight").hexdigest()[:16], 16)


def test_a_random_direction_depends_on_seed_and_name_alone(resnet_weights):
    module = load(RESNET20, resnet_weights)
    how = Normalisation(norm="none", ignore="none")
    before = torch.get_rng_state()
    first = draw(RandomDirection(seed=7), module, how)
    assert torch.equal(torch.get_rng_state(), before)
    names = [name for name, _ in module.named_parameters()]
    again = draw(RandomDirection(seed=7), module, how)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    index = names.index("layer2.1.conv2.weight")
    generator = torch.Generator().manual_seed(tensor_seed(7, "layer2.1.conv2.weight"))
    assert torch.equal(first[index], torch.randn(first[index].shape, generator=generator))
    other = draw(RandomDirection(seed=8), module, how)
    assert not torch.equal(first[index], other[index])


def test_the_same_network_under_other_names_gets_the_same_direction(mlp_weights):
    renamed = {name.replace("fc1", "0").replace("fc2", "2").replace("fc3", "4"): a for name, a in mlp_weights.items()}
    drawn = [draw(RandomDirection(seed=1), load(MLP, tensors), Normalisation()) for tensors in (mlp_weights, renamed)]
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))


def test_states_are_the_state_dict_with_statistics_and_counters(resnet_weights):
    module = load(RESNET20, resnet_weights)
    how = Normalisation(of="states", ignore="none")
    drawn = dict(zip(moved_tensors(module, how), draw(RandomDirection(seed=1), module, how), strict=True))
    assert list(drawn) == list(module.state_dict())
    assert torch.equal(drawn["bn1.running_var"], module.state_dict()["bn1.running_var"])
    assert drawn["bn1.num_batches_tracked"] == 7.0
    assert drawn["bn1.num_batches_tracked"].shape == ()
    assert {tensor.dtype for tensor in drawn.values()} == {torch.float32}
    masked = draw(RandomDirection(seed=1), module, Normalisation(of="states"))
    assert all(not tensor.any() for tensor in masked if tensor.dim() <= 1)
    assert len(draw(RandomDirection(seed=1), module, Normalisation())) == len(list(module.parameters())) == 65


def test_a_direction_from_a_file_is_used_as_it_is(mlp_weights):
    module = load(MLP, mlp_weights)
    arrays = [np.full(p.shape, index, np.float64) for index, p in enumerate(module.parameters())]
    drawn = draw(FileDirection(file=SHA), module, Normalisation(), arrays)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(arrays, drawn, strict=True))


def test_a_direction_file_of_another_network_is_refused(mlp_weights):
    module = load(MLP, mlp_weights)
    arrays = [np.zeros(p.shape, np.float32) for p in module.parameters()]
    request = surface_request("mlp", axis(3), axis(3), from_file=True)
    with pytest.raises(DirectionsRejected, match="has 5 tensors, but the network has 6 weights"):
        directions_for(request, module, SimpleNamespace(x=arrays[:5], y=arrays))
    with pytest.raises(DirectionsRejected, match=r"Tensor 2 .* shape \(5, 8\), but the network's layers.1.weight has \(5, 7\)"):
        directions_for(request, module, SimpleNamespace(x=[*arrays[:2], np.zeros((5, 8), np.float32), *arrays[3:]], y=arrays))
    with pytest.raises(DirectionsRejected, match="no ydirection"):
        directions_for(request, module, SimpleNamespace(x=arrays, y=None))
    with pytest.raises(InvalidRequest, match="none was given"):
        directions_for(request, module)
