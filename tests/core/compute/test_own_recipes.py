"""What `lc.landscape` says of planes, metrics and eigenvalues that it cannot have: one sentence, and its field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.compute.own_measure import check_counted
from landscape_core.compute.own_models import checked_half
from landscape_core.errors import CheckpointRejected, DirectionsRejected, InvalidRequest
from landscape_core.requests import PlaneSpec, PrincipalDirection, TowardsDirection

cross_entropy = nn.CrossEntropyLoss(reduction="none")
X, LABELS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def tanh_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def state(seed: int = 1) -> dict[str, torch.Tensor]:
    return tanh_net(seed).state_dict()


def towards(checkpoint: object, **more: object) -> dict:
    return {"x": {"kind": "towards", "checkpoint": checkpoint, **more}}


def principal(index: int = 1, **more: object) -> dict:
    return {"x": {"kind": "principal", "index": index, **more}}


BAD = {
    "of no form": (towards(7), {}, "plane.x.checkpoint", "plane.x.checkpoint should be a state_dict, the path of a checkpoint"),
    "a file that is not there": (towards("none.pt"), {}, "plane.x.checkpoint", "plane.x.checkpoint: there is no file 'none.pt'"),
    "another network": (
        towards({"0.weight": torch.ones(2, 2)}), {}, "plane.x.checkpoint",
        "is of another network: it has the shape (2, 2) for 0.weight, but the model has (5, 4); give a checkpoint of this model",
    ),
    "itself": (towards(state(0)), {}, "plane.x.checkpoint", "goes towards the very checkpoint that it starts from"),
    "by hash": (
        PlaneSpec(x=TowardsDirection(checkpoint="a" * 64)), {}, "plane.x.checkpoint",
        "names its checkpoint by hash, which a model in Python has not; give a state_dict",
    ),
    "a run by hashes": (
        PlaneSpec(x=PrincipalDirection(index=1, checkpoints=["a" * 64])), {}, "plane.x.checkpoints", "names its checkpoints by hash",
    ),
    "no run": (principal(), {}, "plane.x.checkpoints", "no run was given; give checkpoints=[…]"),
    "two runs": (
        principal(checkpoints=[state()]), {"checkpoints": [state()]}, "checkpoints", "name the run once, by checkpoints=… or in the plane",
    ),
    "too high a number": (
        principal(2), {"checkpoints": [state()]}, "plane.x.index",
        "A run of 2 different checkpoints, with the network's own, has at most 1 principal direction, so no number 2",
    ),
    "an empty run": (principal(checkpoints=[]), {}, "checkpoints", "checkpoints should be 1 to 1,000 state_dicts, paths or modules"),
    "a run of another network": (
        principal(checkpoints=[state(), {}]), {}, "plane.x.checkpoints", "plane.x.checkpoints[1] is of another network: it has no tensor",
    ),
    "no such eigenvector": (
        {"x": {"kind": "hessian", "index": 0}}, {}, "plane.x.hessian.index", "eigenvectors are counted from 1",
    ),
    "no such file": ({"x": {"kind": "file", "file": "d.h5"}}, {}, "plane.x.file", "should be the path of a direction file"),
    "no such kind": ({"x": {"kind": "up"}}, {}, "plane.x", "plane.x cannot be read"),
    "a curve at right angles": (towards(state()) | {"orthogonal": True}, {}, "plane", "a curve has one direction"),
    "a metric that is none": (None, {"metrics": "top5"}, "metrics", "metrics should be a list of top5 and class_accuracy, but 'top5' came"),
    "another metric": (None, {"metrics": ["f1"]}, "metrics", "but ['f1'] came"),
    "few classes": (None, {"metrics": ["top5"]}, "metrics", "The model has 3 classes, of which five are nearly all; top5 needs at least 6"),
    "no examples": (None, {"curvature": 0}, "curvature", "a whole number of at least 1, but 0 came"),
    "a truth value": (None, {"curvature": True}, "curvature", "but True came"),
}  # fmt: skip


@pytest.mark.parametrize(("plane", "more", "field", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_asked(plane, more, field, sentence):
    with pytest.raises(InvalidRequest) as refused:
        lc.landscape(tanh_net(), cross_entropy, [(X, LABELS)], plane=plane, grid="-1:1:2", **more)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.field == field


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "not.pt").write_bytes(b"hello")
    with pytest.raises(CheckpointRejected):
        lc.landscape(tanh_net(), cross_entropy, [(X, LABELS)], plane=towards(tmp_path / "not.pt"), grid="-1:1:2")
    with pytest.raises(DirectionsRejected):
        lc.landscape(
            tanh_net(), cross_entropy, [(X, LABELS)], plane={"x": {"kind": "file", "file": str(tmp_path / "not.pt")}}, grid="-1:1:2"
        )  # fmt: skip


def test_metrics_need_classes():
    regression = [(X, torch.zeros(12, 3))]
    with pytest.raises(InvalidRequest, match="metrics count classes, of outputs of shape") as refused:
        lc.landscape(
            tanh_net(), lambda out, y: ((out - y) ** 2).mean(dim=1), regression, grid="-1:1:2", metrics=["class_accuracy"]
        )
    assert refused.value.field == "metrics"
    padded = LABELS.clone()
    padded[3] = -100
    with pytest.raises(InvalidRequest, match="count labels of 0 to 2 over 3 outputs in every batch, but labels of -100 to 2"):
        lc.landscape(tanh_net(), cross_entropy, [(X, padded)], grid="-1:1:2", metrics=["class_accuracy"])


def test_eigenvalues_need_fixed_statistics_and_a_matrix():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(InvalidRequest, match="Eigenvalues are those with fixed statistics"):
        lc.landscape(model, cross_entropy, [(X, LABELS)], grid="-1:1:2", curvature=5, batch_norm="reestimated")
    plane = {"x": {"kind": "hessian", "index": 1}}
    with pytest.raises(InvalidRequest, match="no parameter of two dimensions or more") as refused:
        lc.landscape(nn.BatchNorm1d(4), lambda out, _: (out**2).mean(dim=1), [(X, LABELS)], plane=plane, grid="-1:1:2")
    assert refused.value.field == "ignore"


def test_a_half_done_surface_without_what_is_counted():
    half = lc.landscape(tanh_net(), cross_entropy, [(X, LABELS)], grid="-1:1:3")
    with pytest.raises(InvalidRequest, match="has no class_accuracy at the cells that are kept") as refused:
        lc.landscape(tanh_net(), cross_entropy, [(X, LABELS)], resume=half, metrics=["class_accuracy"])
    assert refused.value.field == "metrics"


class Twisted(nn.Module):
    """Named like an mlp, but its hidden units are not alike: each is multiplied by its number."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(x)) * torch.arange(5.0))


def test_hidden_units_are_matched_where_they_are_known_and_really_alike():
    normed = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    other = {name: tensor + 0.1 for name, tensor in normed.state_dict().items()}
    for model, theirs, sentence in (
        (normed, other, "Hidden units are matched in networks whose tensors are those of a catalogued architecture"),
        (Twisted(0), Twisted(1).state_dict(), "named as in a catalogued network, but it computes something else"),
    ):
        with pytest.raises(InvalidRequest, match=sentence) as refused:
            lc.landscape(model, cross_entropy, [(X, LABELS)], plane=towards(theirs, aligned=True), grid="0:1:2")
        assert refused.value.field == "plane.x.aligned"
        lc.landscape(model, cross_entropy, [(X, LABELS)], plane=towards(theirs), grid="0:1:2")


def test_the_two_ends_of_a_way_in_double_precision_are_exact():
    model, other = tanh_net().double(), tanh_net(1).double()
    batches = [(X.double(), LABELS)]
    found = lc.landscape(model, cross_entropy, batches, plane=towards(other), grid="0:1:2")
    for column, end in enumerate((model, other)):
        with torch.no_grad():
            assert found.loss[0, column] == pytest.approx(float(cross_entropy(end(X.double()), LABELS).mean()), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_second_derivatives_too(dtype):
    plane = {"x": {"kind": "hessian", "index": 1}}
    exact, found = (
        lc.landscape(tanh_net().to(kind), cross_entropy, [(X.to(kind), LABELS)], plane=plane, grid="-1:1:3", curvature=12)
        for kind in (torch.float64, dtype)
    )
    for name in ("max_eig", "min_eig"):
        np.testing.assert_allclose(found.quantities[name], exact.quantities[name], rtol=0.05, atol=0.02)
    spectrum = lc.curvature(
        tanh_net().to(dtype), cross_entropy, [(X.to(dtype), LABELS)], top=1, trace_probes=4, density_probes=1
    )
    assert spectrum.largest[0] == pytest.approx(exact.quantities["max_eig"][0, 1], rel=0.05)


@pytest.mark.parametrize("of", ["weights", "states"])
def test_the_other_end_has_its_own_statistics_if_states_move(of):
    torch.manual_seed(3)
    model, other = (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)) for _ in "ab")
    other(X * 3)  # other statistics, and another counter
    plane = towards(other) | {"normalisation": {"of": of}}
    found = lc.landscape(model, cross_entropy, [(X, LABELS)], plane=plane, grid="0:1:2", checkpoints={"other": other})
    met = found.loss[0, 1] == pytest.approx(found.provenance["trajectory"]["own_loss"][0], rel=1e-5)
    assert met == (of == "states")
    assert found.provenance["trajectory"]["coordinates"] == [[pytest.approx(1)], [pytest.approx(0, abs=1e-6)]]


def test_what_is_of_another_type_is_refused_by_name():
    """Tests check types by themselves, so this calls what checks them for everyone else."""
    with pytest.raises(InvalidRequest, match="metrics should be a list"):
        check_counted([["top5"]])
    for resume in ("half.npz", 3):
        with pytest.raises(InvalidRequest, match="resume should be a Surface"):
            checked_half(resume)
