"""Training runs: principal directions as by a plain SVD, places on the plane as by least squares."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_core.compute import Examples, compute_surface, derive, load, project, reference_surface
from landscape_core.compute.directions import moved_tensors
from landscape_core.errors import InvalidRequest
from landscape_core.formats import npz
from landscape_core.requests import (
    Axis,
    HessianDirection,
    Normalisation,
    PlaneSpec,
    PrincipalDirection,
    RandomDirection,
    SurfaceRequest,
    TowardsDirection,
)
from landscape_core.training_run import Run

from .requested import SHA, axis, surface_request

EPOCHS = tuple(f"{index:064x}" for index in range(1, 9))


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """240 rows of 12 numbers around 4 centres."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(4, 12))
    y = rng.integers(0, 4, 240)
    return (centres[y] + 0.7 * rng.normal(size=(240, 12))).astype(np.float32), y


DATA = drawn()
EXAMPLES = Examples.from_arrays(*DATA)


@pytest.fixture(scope="module")
def run() -> dict[str, dict[str, np.ndarray]]:
    """A network 12-7-4 after each of eight epochs of training, and at last, under SHA."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 4))
    x, y = torch.from_numpy(DATA[0]), torch.from_numpy(DATA[1])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.8)
    places = {}
    for epoch in (*EPOCHS, SHA):
        for batch in torch.randperm(240).split(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        places[epoch] = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    return places


def asked(x, y, how=Normalisation(), trajectory=None, grid=None) -> SurfaceRequest:  # noqa: B008  frozen
    plane = PlaneSpec(x=x, y=y, normalisation=how, trajectory=trajectory)
    base = surface_request("mlp", grid or axis(3), None if y is None else grid or axis(3))
    return base.model_copy(update={"plane": plane})


def principal(*indices: int) -> list[PrincipalDirection]:
    return [PrincipalDirection(index=index, checkpoints=EPOCHS) for index in indices]


def steps(run, ignore: str) -> np.ndarray:
    """θ_k − θ* in float64, biases last; zero where they are left out."""
    rows = []
    for place in run.values():
        pairs = [(place[name].astype(np.float64), run[SHA][name]) for name in place]
        rows.append(np.concatenate([(a - b).ravel() * (ignore == "none" or a.ndim > 1) for a, b in pairs]))
    return np.stack(rows)


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_principal_directions_are_those_of_an_svd(run, ignore):
    centred = steps(run, ignore)
    centred = centred - centred.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    request = asked(*principal(1, 2), Normalisation(ignore=ignore))
    derived = derive(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    for index, direction in enumerate((derived.x, derived.y)):
        ours = flat(direction)
        assert np.linalg.norm(ours) == pytest.approx(1, rel=1e-6)
        assert ours[np.abs(ours).argmax()] > 0
        np.testing.assert_allclose(ours * np.sign(ours @ rows[index]), rows[index], atol=2e-7)
    biases = [array for array in derived.x if array.ndim == 1]
    assert any(array.any() for array in biases) == (ignore == "none")
    about = derived.about["trajectory"]
    ratio = singular[:2] ** 2 / (singular**2).sum()
    np.testing.assert_allclose(about["explained_variance_ratio"], ratio, rtol=1e-6)
    assert about["explained_variance_ratio"][0] > 0.5
    assert about["checkpoints"] == [*EPOCHS, SHA]


def test_with_biases_place_and_distance_are_pythagoras(run):
    """Directions at right angles, of length one: coordinates are inner products, and what is left is off the plane."""
    request = asked(*principal(1, 2), Normalisation(ignore="none"))
    derived = derive(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    about, away = derived.about["trajectory"], steps(run, "none")
    expected = away @ np.stack([flat(derived.x), flat(derived.y)], axis=1)
    np.testing.assert_allclose(about["coordinates"], expected, rtol=1e-5, atol=1e-6)
    left = np.sqrt(np.maximum((away**2).sum(axis=1) - (expected**2).sum(axis=1), 0))
    np.testing.assert_allclose(about["off_plane"], left, rtol=1e-4, atol=1e-4)
    assert about["coordinates"][-1] == [0.0, 0.0]
    assert about["off_plane"][-1] == 0.0


@pytest.mark.parametrize("kind", ["random", "towards", "mixed", "curve"])
def test_places_on_any_plane_are_least_squares(run, kind):
    x, y = RandomDirection(seed=1), RandomDirection(seed=2)
    first, last = (TowardsDirection(checkpoint=EPOCHS[index]) for index in (0, 6))
    x, y = {"random": (x, y), "towards": (first, last), "mixed": (last, y), "curve": (first, None)}[kind]
    request = asked(x, y, Normalisation(ignore="none"), EPOCHS)
    derived = derive(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    about, away = derived.about["trajectory"], steps(run, "none")
    from landscape_core.compute import directions_for

    drawn = directions_for(request, load(request.architecture, run[SHA]), derived)
    plane = np.stack([flat(direction) for direction in drawn if direction is not None], axis=1)
    expected = np.linalg.lstsq(plane, away.T, rcond=None)[0].T
    np.testing.assert_allclose(about["coordinates"], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(about["off_plane"], np.linalg.norm(away - expected @ plane.T, axis=1), rtol=1e-7, atol=1e-9)
    centred = away - away.mean(axis=0)
    for index, share in enumerate(about["explained_variance_ratio"]):
        column = plane[:, index] / np.linalg.norm(plane[:, index])
        assert share == pytest.approx(((centred @ column) ** 2).sum() / (centred**2).sum(), rel=1e-9)
    if kind == "towards":  # they lie in the plane themselves
        np.testing.assert_allclose([about["coordinates"][0], about["coordinates"][6]], [[1, 0], [0, 1]], atol=1e-6)
        assert max(about["off_plane"][0], about["off_plane"][6]) < 1e-6


def test_the_surface_at_a_place_is_the_loss_there(run):
    """The checkpoint that spans the curve lies on it: the plane's loss at its place is its own."""
    request = asked(TowardsDirection(checkpoint=EPOCHS[0]), None, trajectory=EPOCHS[:1], grid=Axis(start=1, stop=1, points=1))
    surface = compute_surface(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    (place, _), (distance, _) = (surface.provenance["trajectory"][part] for part in ("coordinates", "off_plane"))
    assert (place, distance) == (pytest.approx([1.0], rel=1e-6), pytest.approx(0, abs=1e-5))
    own = compute_surface(surface_request("mlp", Axis(start=0, stop=0, points=1)), run[EPOCHS[0]], EXAMPLES)
    assert surface.loss[0, 0] == pytest.approx(own.loss[0, 0], rel=1e-6)


def test_a_surface_of_principal_directions_and_its_file(run):
    request = asked(*principal(1, 2))
    surface = compute_surface(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    expected, _ = reference_surface(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    np.testing.assert_allclose(surface.loss, expected, rtol=1e-6, atol=1e-7)
    assert surface.provenance["directions"]["cosine"] == pytest.approx(0, abs=1e-6)
    back = npz.load(npz.dump(surface))
    assert back.request == request
    assert back.provenance["trajectory"] == surface.provenance["trajectory"]
    json.dumps(back.provenance, allow_nan=False)


@pytest.mark.parametrize("of", ["weights", "states"])
def test_a_run_along_a_line_has_all_its_variance_along_it(resnet_weights, of):
    """Whatever is left out of the variance is left out of the direction's length too."""
    rng = np.random.default_rng(5)
    step = {
        name: array if array.ndim == 0 else rng.normal(0, 0.1, array.shape).astype(np.float32)
        for name, array in resnet_weights.items()
    }
    run = {
        epoch: {name: array + (0 if array.ndim == 0 else np.float32(t) * step[name]) for name, array in resnet_weights.items()}
        for epoch, t in zip(EPOCHS, (1.0, 0.75, 0.5, 0.25), strict=False)
    }
    request = surface_request("resnet20", axis(1))
    plane = PlaneSpec(x=TowardsDirection(checkpoint=EPOCHS[0]), normalisation=Normalisation(of=of), trajectory=tuple(run))
    images = Examples.from_arrays(rng.integers(0, 256, (4, 8, 8, 3), np.uint8), np.arange(4))
    about = derive(request.model_copy(update={"plane": plane}), resnet_weights, images, checkpoints=run.__getitem__).about
    np.testing.assert_allclose(about["trajectory"]["coordinates"], [[1.0], [0.75], [0.5], [0.25], [0.0]], atol=1e-5)
    assert about["trajectory"]["explained_variance_ratio"] == [pytest.approx(1.0, abs=1e-4)]


def test_files_of_a_run_may_list_their_tensors_in_any_order(run):
    shuffled = {epoch: dict(reversed(tensors.items())) if epoch == EPOCHS[2] else tensors for epoch, tensors in run.items()}
    request = asked(*principal(1, 2))
    expected, found = (derive(request, run[SHA], EXAMPLES, checkpoints=files.__getitem__) for files in (run, shuffled))
    np.testing.assert_array_equal(flat(found.x), flat(expected.x))
    assert found.about == expected.about


def test_the_end_of_the_run_counts_whether_or_not_it_is_named(run):
    named = asked(PrincipalDirection(index=1, checkpoints=(*EPOCHS, SHA)), None)
    found = [
        derive(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__) for request in (named, asked(principal(1)[0], None))
    ]
    np.testing.assert_array_equal(flat(found[0].x), flat(found[1].x))
    assert found[0].about == found[1].about


def test_statistics_belong_to_the_run_of_states_and_counters_do_not(resnet_weights):
    rng = np.random.default_rng(1)
    other = {name: array + 999 if array.ndim == 0 else array * np.float32(1.1) for name, array in resnet_weights.items()}
    third = {name: array.copy() for name, array in resnet_weights.items()}
    third["bn1.running_mean"] = third["bn1.running_mean"] + np.float32(1)
    run = {EPOCHS[0]: other, EPOCHS[1]: third}
    how = Normalisation(of="states", ignore="none")
    request = surface_request("resnet20", axis(1), normalisation=how)
    plane = PlaneSpec(x=PrincipalDirection(index=1, checkpoints=EPOCHS[:2]), normalisation=how)
    request = request.model_copy(update={"plane": plane})
    images = Examples.from_arrays(rng.integers(0, 256, (4, 8, 8, 3), np.uint8), np.arange(4))
    derived = derive(request, resnet_weights, images, checkpoints=run.__getitem__)
    names = list(moved_tensors(load(request.architecture, resnet_weights), how))
    found = dict(zip(names, derived.x, strict=True))
    assert not found["bn1.num_batches_tracked"].any()
    assert found["bn1.running_var"].any()
    floating = [np.sum((0.1 * array.astype(np.float64)) ** 2) for array in resnet_weights.values() if array.ndim]
    place, away = (derived.about["trajectory"][part][0] for part in ("coordinates", "off_plane"))
    assert np.hypot(place[0], away) == pytest.approx(np.sqrt(sum(floating)), rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 6), seed=st.integers(0, 2**32), same=st.booleans())
def test_shares_add_up_and_there_are_no_more_directions_than_places(count, seed, same):
    rng = np.random.default_rng(seed)
    nets = [nn.Linear(3, 2, bias=False).requires_grad_(False) for _ in range(count + 1)]
    for net in nets:
        net.weight.copy_(torch.from_numpy(np.ones((2, 3)) if same else rng.normal(size=(2, 3))))
    run = Run([nets[-1].weight.numpy()], [[net.weight.numpy()] for net in nets], Normalisation(ignore="none"))
    rank = 0 if same else min(count, 6)
    directions = [[torch.from_numpy(part) for part in run.principal(k, "plane.x.index")] for k in range(1, rank + 1)]
    shares = [run.seen_along(direction, None)["explained_variance_ratio"][0] for direction in directions]
    if directions:
        assert sum(shares) == pytest.approx(1, rel=1e-5)
        assert shares == sorted(shares, reverse=True)
    with pytest.raises(InvalidRequest, match=f"so there is no number {rank + 1}") as refused:
        run.principal(rank + 1, "plane.x.index")
    assert refused.value.field == "plane.x.index"


def test_what_is_not_finite_has_no_place_and_no_principal_direction(run):
    broken = dict(run)
    broken[EPOCHS[2]] = {name: np.full_like(array, np.nan) for name, array in run[SHA].items()}
    derived = derive(
        asked(RandomDirection(seed=1), None, trajectory=EPOCHS), run[SHA], EXAMPLES, checkpoints=broken.__getitem__
    )
    about = derived.about["trajectory"]
    assert (about["coordinates"][2], about["off_plane"][2]) == ([None], None)
    assert about["coordinates"][3] != [None]
    json.dumps(about, allow_nan=False)
    with pytest.raises(InvalidRequest, match="not finite") as refused:
        derive(asked(principal(1)[0], None), run[SHA], EXAMPLES, checkpoints=broken.__getitem__)
    assert refused.value.field == "plane.x.checkpoints"


def test_questions_that_cannot_be_asked(run, resnet_weights):
    with pytest.raises(ValueError, match="of the same checkpoints"):
        PlaneSpec(x=principal(1)[0], y=PrincipalDirection(index=2, checkpoints=EPOCHS[:3]))
    with pytest.raises(ValueError, match=r"leave out plane\.trajectory"):
        PlaneSpec(x=principal(1)[0], trajectory=EPOCHS)
    with pytest.raises(InvalidRequest, match="holds no parameters of this mlp") as refused:
        derive(asked(*principal(1, 2)), run[SHA], EXAMPLES, checkpoints=lambda _: resnet_weights)
    assert refused.value.field == "plane.x.checkpoints"
    with pytest.raises(InvalidRequest) as refused:
        derive(
            asked(RandomDirection(seed=1), None, trajectory=EPOCHS), run[SHA], EXAMPLES, checkpoints=lambda _: resnet_weights
        )
    assert refused.value.field == "plane.trajectory"


def test_a_run_that_is_not_named_leaves_no_trace_in_the_request():
    plain = asked(RandomDirection(seed=1), RandomDirection(seed=2))
    assert "trajectory" not in plain.canonical_json()
    with_run = asked(RandomDirection(seed=1), RandomDirection(seed=2), trajectory=EPOCHS)
    assert SurfaceRequest.model_validate_json(with_run.canonical_json()) == with_run
    assert with_run.digest != plain.digest


def test_a_projection_measures_nothing_and_gives_both_directions(run):
    request = asked(RandomDirection(seed=1), RandomDirection(seed=2), trajectory=EPOCHS)
    found = project(request, run[SHA], checkpoints=run.__getitem__)
    derived = derive(request, run[SHA], EXAMPLES, checkpoints=run.__getitem__)
    assert found.about == derived.about
    assert len(found.x) == len(found.y) == 4
    with pytest.raises(InvalidRequest, match="Eigenvectors of the Hessian need data"):
        project(asked(HessianDirection(index=1), None, trajectory=EPOCHS), run[SHA], checkpoints=run.__getitem__)
