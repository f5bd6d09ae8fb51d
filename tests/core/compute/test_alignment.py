"""Permutation alignment: permuted networks compute the same, a permutation is found again, and the distance never grows."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_core.catalogue import architectures, check_request
from landscape_core.catalogue.family import NamedFamily, Shapes
from landscape_core.catalogue.networks import family_of, symmetry_of
from landscape_core.compute import build, compute_surface, derive, load
from landscape_core.compute.alignment import UNTRAINED, align, permuted
from landscape_core.errors import Cancelled, InvalidRequest
from landscape_core.requests import ArchitectureSpec, Axis, Normalisation, PlaneSpec, RandomDirection, TowardsDirection

from .requested import axis, surface_request
from .test_networks import random_tensors, shapes_of

OTHER = "a" * 64
NETWORKS = [
    *("vgg9", "resnet20", "resnet20:shortcut=A", "resnet20_noshort", "wrn56_2", "wrn56_2_noshort"),
    *("resnet18", "resnet18_noshort", "resnet50", "resnet50_noshort"),
]
CONVNET = {
    "features.0.weight": (6, 3, 3, 3),
    "features.1.weight": (6,),
    "features.1.bias": (6,),
    "features.1.running_mean": (6,),
    "features.1.running_var": (6,),
    "features.1.num_batches_tracked": (),
    "features.4.weight": (8, 6, 3, 3),
    "features.4.bias": (8,),
    "fc1.weight": (9, 8 * 36),
    "fc1.bias": (9,),
    "fc2.weight": (4, 9),
    "fc2.bias": (4,),
}
MLP = {"a.weight": (7, 27), "a.bias": (7,), "b.weight": (5, 7), "c.weight": (4, 5), "c.bias": (4,)}
PLAIN = {"mlp": MLP, "mlp:activation=gelu": MLP, "convnet": CONVNET, "convnet:pool=average,norm=after": CONVNET}


def own_state(spec: ArchitectureSpec, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in load(spec, tensors).state_dict().items()}


def network(text: str, seed: int = 0):
    """A random network: its architecture, the shapes of its file, its tensors by its own names."""
    spec = ArchitectureSpec.parse(text)
    shapes = PLAIN[text] if text in PLAIN else shapes_of(spec)
    return spec, shapes, own_state(spec, random_tensors(shapes, seed))


def shuffled(symmetry, tensors, seed: int = 1):
    rng = np.random.default_rng(seed)
    orders = {layer: rng.permutation(len(places[0].at)) for layer, places in symmetry.layers.items()}
    return permuted(symmetry, tensors, orders)


def outputs(spec: ArchitectureSpec, shapes: Shapes, tensors: dict[str, np.ndarray], x: torch.Tensor) -> np.ndarray:
    module = build(spec, shapes)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    with torch.no_grad():
        return module.double()(x.double()).numpy()


def distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(((a[n].astype(float) - b[n]) ** 2).sum() for n in a if not n.endswith(UNTRAINED))))


@pytest.mark.parametrize("text", [*NETWORKS, *PLAIN])
def test_a_permuted_network_computes_the_same(text):
    spec, shapes, tensors = network(text)
    symmetry = symmetry_of(spec, shapes)
    other = shuffled(symmetry, tensors)
    side = 3 if text.startswith("mlp") else 32 if text in {*PLAIN, "vgg9"} else 12
    x = torch.randn((2, 3, side, side), generator=torch.Generator().manual_seed(0))
    found, expected = (outputs(spec, shapes, net, x) for net in (other, tensors))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())
    moved = {name for name in tensors if not np.array_equal(other[name], tensors[name])}
    still = {name for name, a in tensors.items() if a.ndim == 0} | {list(tensors)[-1]}  # counters, and the outputs' biases
    assert moved == set(tensors) - still


@pytest.mark.parametrize("text", [*(n for n in NETWORKS if n[:8] in {"vgg9", "resnet20"}), *PLAIN])
def test_a_permutation_is_found_again(text):
    spec, shapes, tensors = network(text)
    symmetry = symmetry_of(spec, shapes)
    other = shuffled(symmetry, tensors)
    found = align(symmetry, tensors, other)
    assert found.distance_before == pytest.approx(distance(tensors, other))
    assert found.distance == 0
    assert found.moved > 0.8 * found.units * (1 - 1 / 4)
    back = permuted(symmetry, other, found.orders)
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)


def test_what_option_a_leaves_free():
    """Stage 1's 16 channels stand in the middle of stage 2's 32, those in the middle of stage 3's 64; the new ones are free."""
    symmetry = symmetry_of(ArchitectureSpec.parse("resnet20:shortcut=A"), {})
    between = {layer: len(places[0].at) for layer, places in symmetry.layers.items() if not layer.endswith(".conv1")}
    assert between == {"conv1": 16, "layer2.0.conv2": 16, "layer3.0.conv2": 32}
    last = {layer: at for layer in between for t, _, at, _ in symmetry.layers[layer] if t == "linear.weight"}
    assert last["conv1"] == tuple(range(24, 40))
    assert sorted(n for at in last.values() for n in at) == list(range(64))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_the_distance_never_grows_and_is_the_permuted_networks(widths, seed):
    rng = np.random.default_rng(seed)
    shapes = {f"layers.{i}.weight": (b, a) for i, (a, b) in enumerate(pairwise(widths))}
    own, other = ({name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2))
    symmetry = symmetry_of(ArchitectureSpec(name="mlp"), shapes)
    found = align(symmetry, own, other)
    assert found.distance <= found.distance_before
    assert found.distance_before == pytest.approx(distance(own, other))
    assert found.distance == pytest.approx(distance(own, permuted(symmetry, other, found.orders)))
    again = align(symmetry, own, other)
    assert {layer: order.tolist() for layer, order in again.orders.items()} == {
        layer: order.tolist() for layer, order in found.orders.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_no_single_layer_can_be_bettered(seed):
    """Against every order of each layer of a small network; with one hidden layer that is the best order of all."""
    for widths in ([3, 5, 2], [3, 4, 4, 2]):
        rng = np.random.default_rng(seed)
        shapes = {f"layers.{i}.weight": (b, a) for i, (a, b) in enumerate(pairwise(widths))}
        own, other = ({name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2))
        symmetry = symmetry_of(ArchitectureSpec(name="mlp"), shapes)
        found = align(symmetry, own, other)
        at = permuted(symmetry, other, found.orders)
        for layer, places in symmetry.layers.items():
            for order in permutations(range(len(places[0].at))):
                assert distance(own, permuted(symmetry, at, {layer: np.array(order)})) >= found.distance - 1e-6


def test_every_family_says_what_may_change_places_or_is_refused_with_a_sentence():
    known = {"mlp", "convnet", "vgg9", *(n for n in (e.name for e in architectures()) if n.startswith(("resnet", "wrn")))}
    for entry in architectures():
        spec = ArchitectureSpec(name=entry.name)
        named = isinstance(family_of(entry.name), NamedFamily)
        shapes = PLAIN.get(entry.name) or (shapes_of(spec) if named else {})
        if entry.name in known:
            layout = shapes if entry.name in PLAIN else None
            symmetry = family_of(entry.name).symmetry(spec, {"shortcut": "conv"}, shapes)
            for places, (tensor, ax, at, span) in ((p, q) for p in symmetry.layers.values() for q in p):
                assert len(at) == len(places[0].at)
                assert layout is not None or max(at) * span + span <= shapes[tensor][ax]
        else:
            with pytest.raises(InvalidRequest, match=f"which of {entry.name}'s may change places is not known") as refused:
                symmetry_of(spec, shapes, "plane.x.aligned")
            assert refused.value.field == "plane.x.aligned"


# -- as a direction --------------------------------------------------------------------------------------------------


def towards(text: str, grid: Axis, *, aligned: bool, of: str = "weights"):
    request = surface_request(text, grid, normalisation=Normalisation(of=of))
    spec = TowardsDirection(checkpoint=OTHER, aligned=aligned)
    return request.model_copy(update={"plane": PlaneSpec(x=spec, normalisation=request.plane.normalisation)})


def test_an_old_request_keeps_its_id():
    assert "aligned" not in TowardsDirection(checkpoint=OTHER).model_dump()
    assert TowardsDirection(checkpoint=OTHER, aligned=True).model_dump()["aligned"] is True


@pytest.mark.parametrize(("text", "of"), [(a, b) for a in ("mlp", "resnet20") for b in ("weights", "states")])
def test_towards_a_permuted_copy_nothing_is_left_to_go(text, of, mlp_weights, resnet_weights, rows, images):
    tensors, examples = (mlp_weights, rows) if text == "mlp" else (resnet_weights, images)
    spec, shapes = ArchitectureSpec(name=text), {name: a.shape for name, a in tensors.items()}
    symmetry = symmetry_of(spec, shapes)
    own = own_state(spec, tensors)
    files = dict(zip(tensors, shuffled(symmetry, own).values(), strict=True))  # under the file's names again
    unit = Axis(start=0, stop=1, points=3)
    far, near = (
        compute_surface(towards(text, unit, aligned=aligned, of=of), tensors, examples, checkpoints=lambda _: files)
        for aligned in (False, True)
    )
    np.testing.assert_array_equal(near.loss, np.full((1, 3), near.loss[0, 0]))
    assert np.ptp(far.loss) > 0.01
    about = near.provenance["directions"]
    assert (about["x_norm"], about["x_aligned_distance"]) == (0, 0)
    assert 0 < about["x_units_moved"] <= about["x_units"]
    assert about["x_unaligned_distance"] == pytest.approx(distance(own, own_state(spec, files)))


def test_at_1_stands_a_network_with_the_others_loss(resnet_weights, images):
    other = {
        n: (a if a.ndim == 0 else (a * np.random.default_rng(3).uniform(0.6, 1.4, a.shape)).astype(a.dtype))
        for n, a in resnet_weights.items()
    }
    other = shuffled(symmetry_of(ArchitectureSpec(name="resnet20"), {}), other)
    request = towards("resnet20", Axis(start=0, stop=1, points=2), aligned=True, of="states")
    found = compute_surface(request, resnet_weights, images, checkpoints=lambda _: other)
    alone = compute_surface(surface_request("resnet20", Axis(start=0, stop=0, points=1)), other, images)
    np.testing.assert_allclose(found.loss[0, 1], alone.loss[0, 0], rtol=2e-5)


def test_what_cannot_be_matched_is_refused(mlp_weights, rows, images):
    request = towards("mlp", axis(3), aligned=True)
    broken = {
        n: np.where(np.arange(a.size).reshape(a.shape) == 3, np.nan, a).astype(np.float32) for n, a in mlp_weights.items()
    }
    with pytest.raises(InvalidRequest, match="holds values that are not finite in one of the two") as refused:
        derive(request, mlp_weights, rows, checkpoints=lambda _: broken)
    assert refused.value.field == "plane.x.checkpoint"
    with pytest.raises(Cancelled):
        derive(request, mlp_weights, rows, checkpoints=lambda _: mlp_weights, should_stop=lambda: True)
    dense = towards("densenet121", axis(3), aligned=True)
    with pytest.raises(InvalidRequest, match="Hidden units are matched in resnet20") as refused:
        check_request(dense, shapes_of(dense.architecture), images.facts)
    assert refused.value.field == "plane.x.aligned"
    mixed = dense.model_copy(update={"plane": PlaneSpec(x=RandomDirection(seed=1))})
    check_request(mixed, shapes_of(dense.architecture), images.facts)
