"""The `fast` budget for a network of the user's own: as good as it says, and measured cells are those of the exact surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core.catalogue import match
from landscape_core.compute import compute_surface, load, load_dataset, prepare
from landscape_core.compute import own_batches as keeping
from landscape_core.compute.own_chunks import ORDER_SEED, in_chunks
from landscape_core.compute.own_fast import checked_budget
from landscape_core.errors import InvalidRequest
from landscape_core.estimate import chunk_bounds, example_order
from landscape_core.reading import read_checkpoint
from landscape_core.requests import SurfaceRequest
from landscape_core.results import ESTIMATED, MEASURED

from .requested import axis, surface_request
from .small_models import classifier, cross_entropy, cut, points

GALLERY = Path(__file__).parents[3] / "app" / "gallery" / "fashion-mlp" / "checkpoint.pt"
EXAMPLES, WIDE = 1500, 17
GRID = "-1:1:9x-.5:1:7"


@pytest.fixture(scope="module")
def garments() -> tuple[SurfaceRequest, dict, object]:
    """The gallery's network on the sample of Fashion-MNIST that ships: a request, tensors, examples."""
    tensors = read_checkpoint(GALLERY).tensors
    name = str(match({key: array.shape for key, array in tensors.items()})[0].architecture)
    request = surface_request(name, axis(WIDE), axis(WIDE), examples=EXAMPLES, seed=0, preprocessing="fashion-mnist")
    return request, tensors, load_dataset("fashion-mnist-sample", "train", Path())


@pytest.fixture(scope="module")
def clothed(garments) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    request, tensors, examples = garments
    return load(request.architecture, tensors), *prepare(examples, request.data)


@pytest.fixture(scope="module")
def whole(clothed) -> lc.Surface:
    model, x, y = clothed
    return lc.landscape(model, cross_entropy, cut(x, y, 64), grid=f"-1:1:{WIDE}x-1:1:{WIDE}")


def check_error(found: lc.Surface, exact: lc.Surface, factor: float = 3) -> None:
    """The true error is within the tolerance, and within a factor of the estimated one."""
    true = float(np.sqrt(np.mean((found.loss - exact.loss) ** 2)) / np.ptp(exact.loss))
    about = found.provenance["fast"]
    assert about["met"]
    assert true <= about["tolerance"]
    assert about["estimated_rmse"]["share_of_range"] / factor < true < factor * about["estimated_rmse"]["share_of_range"]


def check_measured(found: lc.Surface, exact: lc.Surface) -> None:
    known = found.state == MEASURED
    assert 0 < known.sum() < known.size
    assert (known | (found.state == ESTIMATED)).all()
    names = ("loss", "accuracy", "examples", "stderr")
    for mine, theirs in [(getattr(found, n), getattr(exact, n)) for n in names] + [
        (found.quantities[n], table) for n, table in exact.quantities.items()
    ]:
        np.testing.assert_array_equal(mine[known], theirs[known])
    assert not found.quantities["estimation_error"][known].any()
    assert (found.quantities["estimation_error"][~known] > 0).all()


def test_a_trained_network_within_tolerance_and_as_sure_as_it_says(clothed, whole):
    model, x, y = clothed
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = lc.landscape(model, cross_entropy, cut(x, y, 64), grid=f"-1:1:{WIDE}x-1:1:{WIDE}", budget="fast")
    check_error(found, whole)
    check_measured(found, whole)
    assert found.provenance["fast"]["cost_share"] < 0.2
    assert found.provenance["batch_order"] == "permuted with seed 0"
    assert "fast" not in whole.provenance
    assert found.request is None
    guessed = found.state == ESTIMATED
    assert 0.6 < np.median(found.stderr[guessed] / whole.stderr[guessed]) < 1.6
    assert np.sqrt(np.mean((found.accuracy - whole.accuracy) ** 2)) < 5, "percent"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_it_is_the_requests_where_chunks_are_the_same(garments, clothed):
    """The batches lie so that the drawn order is the request's."""
    request, tensors, examples = garments
    model, x, y = clothed
    pieces = cut(x, y, 32)
    lying = list(pieces)
    for position, piece in zip(example_order(len(pieces), ORDER_SEED), pieces, strict=True):
        lying[position] = piece
    found = lc.landscape(model, cross_entropy, lying, plane=request.plane, grid=request.grid, budget="fast")
    expected = compute_surface(request.model_copy(update={"budget": "fast"}), tensors, examples)
    ours, theirs = found.provenance["fast"], expected.provenance["fast"]
    assert [part["examples"] for part in ours["seen"]] == [list(bounds) for bounds in chunk_bounds(EXAMPLES)]
    for name in ("seen", "form", "cost_share", "tolerance", "met", "measured_cells", "estimated_cells"):
        assert ours[name] == theirs[name]
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    np.testing.assert_allclose(found.stderr, expected.stderr, rtol=1e-3)
    np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=1e-6)
    np.testing.assert_array_equal(found.state, expected.state)
    errors = (surface.quantities["estimation_error"] for surface in (found, expected))
    np.testing.assert_allclose(*errors, rtol=0.01, atol=1e-6)


def test_a_mean_has_an_estimation_error_but_no_standard_error(clothed, whole):
    model, x, y = clothed
    grid = f"-1:1:{WIDE}x-1:1:{WIDE}"
    found = lc.landscape(model, nn.CrossEntropyLoss(), cut(x, y, 64), grid=grid, budget="fast")
    each = lc.landscape(model, cross_entropy, cut(x, y, 64), grid=grid, budget="fast")
    np.testing.assert_allclose(found.loss, each.loss, rtol=1e-5)
    np.testing.assert_allclose(found.loss, whole.loss, atol=0.05 * np.ptp(whole.loss))
    assert np.isnan(found.stderr).all()
    assert found.provenance["fast"]["seen"] == each.provenance["fast"]["seen"]
    errors = (surface.quantities["estimation_error"] for surface in (found, each))
    np.testing.assert_allclose(*errors, rtol=0.01, atol=1e-6)


def test_sorted_examples_are_seen_in_a_drawn_order(clothed, whole):
    model, x, y = clothed
    order = np.argsort(y.numpy(), kind="stable")
    batches, grid = cut(x[order], y[order], 64), f"-1:1:{WIDE}x-1:1:{WIDE}"
    found = lc.landscape(model, cross_entropy, batches, grid=grid, budget="fast")
    check_error(found, whole)
    again = lc.landscape(model, cross_entropy, iter(batches), grid=grid, budget="fast")
    np.testing.assert_array_equal(again.loss, found.loss)


# -- chunks ----------------------------------------------------------------------------------------------------------


def test_chunks_are_whole_batches_that_double():
    assert in_chunks([50] * 15, permuted=False) == [[0, 1], [2, 3], [4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14]]
    for size in (1, 8, 64):
        chunks = in_chunks([size] * (640 // size), permuted=False)
        assert [size * len(chunk) for chunk in chunks] == [stop - start for start, stop in chunk_bounds(640)]
    drawn = in_chunks([3, 500, 1, 70, 64] * 9, permuted=True)
    assert sorted(position for chunk in drawn for position in chunk) == list(range(45))
    assert all(chunk == sorted(chunk) for chunk in drawn)
    assert in_chunks([3, 500, 1, 70, 64] * 9, permuted=True) == drawn
    assert in_chunks([7], permuted=True) == [[0]]


@pytest.mark.parametrize("batches", [[points(300)], cut(*points(60))], ids=["one batch", "few examples"])
def test_where_there_is_but_one_chunk_fast_is_exact(batches):
    model, stages = classifier(), []
    found = lc.landscape(model, cross_entropy, batches, grid=GRID, budget="fast", on_stage=stages.append)
    exact = lc.landscape(model, cross_entropy, batches, grid=GRID)
    assert [stage.loss.shape for stage in stages] == [(5, 5), (5, 9), (7, 9)]
    assert stages[-1] is found
    assert (found.state == MEASURED).all()
    for name in ("loss", "accuracy", "examples", "stderr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(exact, name))
    assert not found.quantities["estimation_error"].any()
    about = found.provenance["fast"]
    assert (about["cost_share"], about["met"], about["estimated_cells"]) == (1.0, True, 0)


class Shelf(list):
    """Batches that can be read again, and count how often one was taken."""

    taken = 0

    def __iter__(self):
        for item in super().__iter__():
            self.taken += 1
            yield item


def test_batches_that_are_read_again_are_taken_as_they_come(monkeypatch):
    model, pairs = classifier(), cut(*points(400), 16)
    monkeypatch.setattr(keeping, "RESIDENT_BYTES", 300)
    shelf = Shelf(pairs)
    found = lc.landscape(model, cross_entropy, shelf, grid=GRID, budget="fast", tolerance=0.05)
    assert found.provenance["batch_order"] == "as they are read"
    seen = found.provenance["fast"]["seen"]
    assert [part["examples"] for part in seen] == [list(bounds) for bounds in chunk_bounds(400)]
    # the try to keep them, the network itself twice, then at every cell each chunk's end
    reads = sum(-(-part["examples"][1] // 16) * part["columns"] * part["rows"] for part in seen)
    assert shelf.taken == 1 + 2 * 25 + reads
    check_measured(found, lc.landscape(model, cross_entropy, shelf, grid=GRID))
    once = lc.landscape(model, cross_entropy, iter(pairs), grid=GRID, budget="fast", tolerance=0.05)
    assert once.provenance["batches"] == "read once, kept in memory"
    assert once.provenance["batch_order"] == "permuted with seed 0"


def test_batches_that_come_in_another_order_each_time_are_refused(monkeypatch):
    x, y = points(400)
    loader = torch.utils.data.DataLoader(list(zip(x, y, strict=True)), 16, shuffle=True)
    monkeypatch.setattr(keeping, "RESIDENT_BYTES", 300)
    with pytest.raises(InvalidRequest, match="give a DataLoader with shuffle=False, or choose budget exact"):
        lc.landscape(classifier(), cross_entropy, loader, grid=GRID, budget="fast")
    lc.landscape(classifier(), cross_entropy, loader, grid="-1:1:2")


def test_batches_of_other_sizes_each_time_are_refused(monkeypatch):
    class Fewer(list):
        reads = 0

        def __iter__(self):
            self.reads += 1
            return iter(cut(*points(400), 16) if self.reads < 4 else cut(*points(30), 16))

    monkeypatch.setattr(keeping, "RESIDENT_BYTES", 300)
    with pytest.raises(InvalidRequest, match="held 64 examples in one part when they were read first, and 30 now"):
        lc.landscape(classifier(), cross_entropy, Fewer(), grid=GRID, budget="fast")


def test_kept_batches_need_not_agree_part_by_part():
    """A loss that differs by 6e-5 in one batch of 33, and by 2e-6 in all, is as deterministic as an exact surface's has to be."""
    calls = iter(range(10**6))

    def loss(outputs, targets):
        return cross_entropy(outputs, targets) * (1 + 3e-5 * (-1) ** next(calls))

    found = lc.landscape(classifier(), loss, cut(*points(33 * 64), 64), grid="-1:1:2", budget="fast")
    assert found.provenance["batch_order"] == "permuted with seed 0"


# -- what else can be asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"budget": "quick"}, "budget should be exact or fast, but 'quick' came."),
        ({"budget": np.array(["fast", "exact"])}, "budget should be exact or fast, but array("),
        ({"budget": "fast", "tolerance": np.complex64(0.01)}, "but np.complex64(0.01+0j) came."),
        ({"tolerance": 0.01}, "An exact surface has no tolerance; choose budget fast, or leave out tolerance."),
        (
            {"budget": "fast", "tolerance": 0.5},
            "tolerance takes a share of the losses' range from 0.0001 to 0.2, but 0.5 came.",
        ),
        ({"budget": "fast", "tolerance": float("nan")}, "but nan came."),
        ({"budget": "fast", "tolerance": "1 %"}, "but '1 %' came."),
        (
            {"budget": "fast", "curvature": 8},
            "The fast budget estimates losses, not eigenvalues; choose budget exact, or leave",
        ),
    ],
)
def test_refusals(asked, sentence):
    given = {"budget": "exact", "tolerance": 0.005} | asked
    with pytest.raises(InvalidRequest) as refused:
        checked_budget(given["budget"], given["tolerance"], eigenvalues="curvature" in given, resumes=False)
    assert sentence in str(refused.value)


def test_a_half_done_surface_and_eigenvalues_are_refused_before_anything_is_measured():
    def never(_outputs, _targets):
        raise AssertionError

    half = lc.landscape(classifier(), cross_entropy, [points()], grid="-1:1:3")
    for given, sentence in (
        ({"resume": half}, "A half-done surface is completed by measuring; choose budget exact."),
        ({"curvature": 8}, "The fast budget estimates losses, not eigenvalues"),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            lc.landscape(classifier(), never, [points()], grid="-1:1:3", budget="fast", **given)


def test_what_is_counted_is_estimated_too():
    model, batches = classifier(), cut(*points(400), 16)
    wide = nn.Sequential(model, nn.Linear(3, 6))
    more = {"grid": GRID, "metrics": ["top5", "class_accuracy"]}
    found = lc.landscape(wide, cross_entropy, batches, budget="fast", tolerance=0.02, **more)
    exact = lc.landscape(wide, cross_entropy, batches, **more)
    assert found.quantities.keys() == exact.quantities.keys() | {"estimation_error"}
    check_measured(found, exact)
    for name in exact.quantities:
        assert ((found.quantities[name] >= 0) & (found.quantities[name] <= 100)).all()
        assert np.sqrt(np.mean((found.quantities[name] - exact.quantities[name]) ** 2)) < 15


def test_where_no_accuracy_is_known_none_is_told():
    model, (x, _) = nn.Linear(6, 1), points(400)
    batches, stages = cut(x, x[:, :1] ** 2, 16), []

    def loss(outputs, targets):
        return ((outputs - targets) ** 2).mean(dim=1)

    found = lc.landscape(model, loss, batches, grid=GRID, budget="fast", on_stage=stages.append)
    assert all(np.isnan(stage.accuracy).all() for stage in stages)
    assert found.provenance["fast"]["estimated_rmse"]["accuracy_points"] is None
    check_measured(found, lc.landscape(model, loss, batches, grid=GRID))


def test_where_nothing_is_finite_nothing_is_estimated():
    model = classifier()
    with torch.no_grad():
        model[4].weight[0, 0] = torch.nan
    found = lc.landscape(model, cross_entropy, cut(*points(400), 16), grid=GRID, budget="fast")
    assert found.not_finite == 63
    assert np.isnan(found.quantities["estimation_error"]).all()
    assert not found.provenance["fast"]["met"]


def test_reestimated_statistics_are_part_of_the_cost_and_of_the_values():
    model, batches = classifier(), cut(*points(400), 16)
    more = {"grid": GRID, "batch_norm": "reestimated"}
    found = lc.landscape(model, cross_entropy, batches, budget="fast", tolerance=0.05, **more)
    check_measured(found, lc.landscape(model, cross_entropy, batches, **more))
    seen = found.provenance["fast"]["seen"]
    passes = [part["examples"][1] - part["examples"][0] + 400 for part in seen]
    cells = [part["columns"] * part["rows"] for part in seen]
    assert found.provenance["fast"]["cost_share"] == pytest.approx(np.dot(passes, cells) / (sum(passes) * 63), abs=1e-6)


def test_rounded_is_what_exact_rounds():
    model, batches = classifier(), cut(*points(200), 16)
    more = {"grid": GRID, "precision": "bfloat16"}
    found = lc.landscape(model, cross_entropy, batches, budget="fast", tolerance=0.05, **more)
    exact = lc.landscape(model, cross_entropy, batches, **more)
    check_measured(found, exact)
    assert found.provenance["precision"] == "bfloat16"
    assert found.provenance["precision_check"] == exact.provenance["precision_check"]


def test_a_curve_with_a_training_run_beside_it():
    model, batches = classifier(), cut(*points(400), 16)
    more = {"grid": "-1:1:41", "checkpoints": [classifier(5), classifier(6)]}
    found = lc.landscape(model, cross_entropy, batches, budget="fast", tolerance=0.05, **more)
    exact = lc.landscape(model, cross_entropy, batches, **more)
    assert found.is_curve
    check_measured(found, exact)
    assert found.provenance["trajectory"] == exact.provenance["trajectory"], "a run is measured over all examples"


def test_an_exact_surface_resumes_a_fast_one(tmp_path):
    model, batches = classifier(), cut(*points(400), 16)
    found = lc.landscape(model, cross_entropy, batches, grid=GRID, budget="fast", tolerance=0.05)
    exact = lc.landscape(model, cross_entropy, batches, grid=GRID)
    found.save(tmp_path / "fast.npz")
    shares: list[float] = []
    whole = lc.landscape(model, cross_entropy, batches, resume=lc.load(tmp_path / "fast.npz"), progress=shares.append)
    known = int((found.state == MEASURED).sum())
    assert len(shares) == 63 - known
    for name in ("loss", "state", "accuracy", "examples", "stderr"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(exact, name))
    assert not whole.quantities
    assert "fast" not in whole.provenance
    assert whole.provenance["resumed"][0]["kept_cells"] == known
    assert whole.provenance["resumed"][0]["source"]["fast"] == found.provenance["fast"]


# -- while it computes -----------------------------------------------------------------------------------------------


def test_stages_go_from_the_first_chunk_to_estimates(capfd):
    model, batches = classifier(), cut(*points(400), 16)
    stages: list[lc.Surface] = []
    shares: list[float] = []
    more = {"grid": GRID, "budget": "fast", "tolerance": 0.01}
    found = lc.landscape(model, cross_entropy, batches, on_stage=stages.append, progress=shares.append, **more)
    first, rest = stages[:3], stages[3:]
    assert [stage.loss.shape for stage in first] == [(5, 5), (5, 9), (7, 9)]
    for stage in first:
        assert (stage.state == MEASURED).all()
        assert (stage.examples == 64).all()
        assert stage.provenance["fast"]["seen"][0]["examples"] == [0, 64]
        assert not stage.provenance["fast"]["met"]
        rows, columns = np.searchsorted(found.y, stage.y), np.searchsorted(found.x, stage.x)
        np.testing.assert_array_equal(stage.loss, first[-1].loss[np.ix_(rows, columns)])
    assert len(rest) > 1, "the pilot does not suffice here"
    costs = [stage.provenance["fast"]["cost_share"] for stage in rest]
    assert costs == sorted(costs)
    assert rest[-1] is found
    assert all(stage.loss.shape == (7, 9) and stage.estimated for stage in rest[:-1])
    assert shares == sorted(shares)
    assert shares[-1] == 1 > shares[-2]
    lc.landscape(model, cross_entropy, batches, progress=True, **more)
    assert capfd.readouterr().err.endswith(": 100%\n")


def test_ctrl_c_loses_nothing_but_the_stage_in_hand():
    model, batches = classifier(), cut(*points(400), 16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stages: list[lc.Surface] = []

    def stop(_share: float) -> None:
        if len(stages) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lc.landscape(
            model, cross_entropy, batches, grid=GRID, budget="fast", tolerance=0.01, on_stage=stages.append, progress=stop
        )
    assert stages[-1].estimated
    whole = lc.landscape(model, cross_entropy, batches, resume=stages[-1])
    np.testing.assert_array_equal(whole.loss, lc.landscape(model, cross_entropy, batches, grid=GRID).loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
