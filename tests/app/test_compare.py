"""Two surfaces side by side: what differs is named, the other split is asked for, and two links open their comparison alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from app.pages.compare.differences import differences, names, title
from app.pages.compare.splits import on_other_split
from app.schemas import DatasetInfo, Progress, SurfaceInfo
from landscape_core.errors import InvalidRequest
from landscape_core.requests import HessianDirection, SurfaceRequest

TITLES = {"fashion-mnist-sample": "Fashion-MNIST sample"}


def info(request: SurfaceRequest | None, **about: object) -> SurfaceInfo:
    fields = {"id": "a" * 64, "state": "finished", "title": "A surface", "request": request, "progress": Progress()}
    return SurfaceInfo(**(fields | {"created": datetime.now(UTC)} | about))


@pytest.fixture
def asked(request_for) -> dict:
    return request_for("0" * 64)


def changed(asked: dict, path: str, value: object) -> SurfaceRequest:
    """The request with one field changed."""
    body = SurfaceRequest.model_validate(asked).model_dump(mode="json")
    *way, last = path.split(".")
    inner = body
    for step in way:
        inner = inner[step]
    inner[last] = value
    return SurfaceRequest.model_validate(body)


CHANGES = [
    ("data.split", "test", "Split: train / test"),
    ("plane.normalisation.norm", "none", "Norm: filter / none"),
    ("plane.normalisation.ignore", "none", "Ignored: biases and batch norm / nothing"),
    ("plane.normalisation.of", "states", "What moves: weights / states"),
    ("architecture.name", "resnet56_noshort", "Architecture: mlp / resnet56_noshort"),
    ("architecture.options", {"activation": "tanh"}, "Activation: none / tanh"),
    ("checkpoint", "1" * 64, "Checkpoint: 00000000… / 11111111…"),
    ("data.dataset", "2" * 64, "Data: Fashion-MNIST sample / an uploaded data set"),
    ("data.examples", 1200, "Examples: 200 / 1,200"),
    ("data.seed", None, "Order of the examples: seed 0 / the data set's own"),
    ("data.preprocessing", {"mean": [0.5], "std": [0.25]}, "Preprocessing: fashion-mnist / (x − [0.5]) / [0.25]"),
    ("loss", "mse", "Loss: Cross-entropy / Squared error"),
    ("plane.x", {"kind": "random", "seed": 7}, "Direction δ: random, seed 1 / random, seed 7"),
    ("plane.trajectory", ["3" * 64, "4" * 64], "Training run: none / 2 checkpoints"),
    ("plane.orthogonal", True, "Angle between δ and η: as it is / a right angle"),
    ("batch_norm", "reestimated", "Batch norm's statistics: the checkpoint's / re-estimated"),
    ("precision", "bfloat16", "Precision: float32 / bfloat16"),
    ("metrics", ["top5", "class_accuracy"], "Also counted: none / class accuracy, top5"),
    ("curvature", {"examples": 64}, "Examples of the eigenvalues: none / 64"),
    ("grid.x", {"start": -1, "stop": 1, "points": 21}, "α: −1 … 1 in 9 points / −1 … 1 in 21 points"),
]


@pytest.mark.parametrize(("path", "value", "said"), CHANGES)
def test_the_one_field_that_differs_is_named_in_words(asked, path, value, said):
    first, second = info(SurfaceRequest.model_validate(asked)), info(changed(asked, path, value))
    found = differences(first, second, TITLES)
    assert [str(one) for one in found] == [said]
    assert title(found) == said
    assert names(first, second, found) == (found[0].a, found[0].b)


def test_a_curve_and_a_surface_differ_in_the_second_direction_and_axis(asked):
    curve = SurfaceRequest.model_validate({**asked, "plane": {"x": asked["plane"]["x"]}, "grid": {"x": asked["grid"]["x"]}})
    found = differences(info(SurfaceRequest.model_validate(asked)), info(curve), TITLES)
    assert [str(one) for one in found] == ["Direction η: random, seed 2 / none", "β: −1 … 1 in 9 points / none"]


def test_long_lists_are_cut_in_the_title_alone(asked):
    other = changed({**asked, "loss": "mse"}, "data.split", "test").model_copy(update={"checkpoint": "1" * 64})
    first, second = (
        info(SurfaceRequest.model_validate(asked), checkpoint_name="a.pt"),
        info(other, checkpoint_name="b.pt", title="B"),
    )
    found = differences(first, second, TITLES)
    assert title(found) == "Checkpoint: a.pt / b.pt · Split: train / test · and 1 more difference"
    assert names(first, second, found) == ("A surface", "B")
    assert names(first, first, []) == ("A surface (first)", "A surface (second)")


def test_nothing_is_said_of_files_that_do_not_say_what_was_asked(asked):
    assert differences(info(None), info(SurfaceRequest.model_validate(asked)), TITLES) is None
    assert differences(info(SurfaceRequest.model_validate(asked)), info(SurfaceRequest.model_validate(asked)), TITLES) == []


def dataset(**splits: int) -> DatasetInfo:
    return DatasetInfo(id="fashion-mnist-sample", title="Fashion-MNIST sample", state="ready", uploaded=False, splits=splits)


def test_the_other_split_is_asked_the_same_with_as_many_examples_as_it_has(asked):
    request = SurfaceRequest.model_validate(asked)
    other = on_other_split(request, [dataset(train=3000, test=150)])
    assert other == changed({**asked, "data": {**asked["data"], "examples": 150}}, "data.split", "test")
    assert on_other_split(other, [dataset(train=3000, test=150)]).data.split == "train"
    assert on_other_split(request, [dataset(train=3000, test=1000)]).data.examples == 200


def test_the_other_split_is_refused_where_it_is_none_or_another_plane(asked):
    request = SurfaceRequest.model_validate(asked)
    for datasets, said in (([dataset(train=3000)], "Fashion-MNIST sample has no test split"), ([], "The data set has no test")):
        with pytest.raises(InvalidRequest, match=said):
            on_other_split(request, datasets)
    plane = request.plane.model_copy(update={"x": HessianDirection(index=1)})
    with pytest.raises(InvalidRequest, match="has another plane"):
        on_other_split(request.model_copy(update={"plane": plane}), [dataset(train=3000, test=1000)])


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paged(working_site):
    """A site with pages and a worker."""
    running = type(working_site)(working_site.settings, pages=True).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gallery(paged):
    return next(s["id"] for s in paged.http.get("/surfaces").json() if s["origin"] == "gallery")


@pytest.fixture(scope="module")
def imported(paged):
    curve = {"format": "loss-atlas surface", "version": 1, "x": [-1, 0, 1], "y": None, "loss": [[1, 0, 1]], "accuracy": [[None] * 3],
             "stderr": [[None] * 3], "examples": [[10] * 3], "state": [[1] * 3], "request": None, "provenance": {}}  # fmt: skip
    return paged.finished(paged.http.post("/surfaces/import?filename=line.json", json=curve).json()["id"])["id"]


def content(site, address: str) -> httpx.Response:
    path, _, query = address.partition("?")
    return httpx.get(f"{site.url}{path}/content?{query}")


def test_the_page_shows_both_or_what_there_is_to_choose_from(paged, gallery, imported):
    both = content(paged, f"/compare?a={gallery}&b={imported}").json()
    assert both["title"] == "Compare · Loss Atlas"
    for said in ("does not say how it was made", f"/api/v1/surfaces/{gallery}/events", f"/surface/{imported}", "compare-same"):
        assert said in str(both), said
    first = str(content(paged, f"/compare?a={gallery}").json())
    for said in ("The same on the test split", "1,000 test examples", f"/compare?a={gallery}&b={imported}"):
        assert said in first, said
    assert f"/compare?a={gallery}'" in str(content(paged, "/compare").json())
    assert "same surface" in str(content(paged, f"/compare?a={gallery}&b={gallery}").json())


def test_what_is_not_there_is_said(paged, gallery):
    answer = content(paged, f"/compare?a={gallery}&b=nothing")
    assert answer.status_code == 404
    assert "There is no surface 'nothing'." in answer.text


def test_two_curves_share_one_picture(paged, imported):
    shown = str(content(paged, f"/compare?a={imported}&b={imported}").json())
    assert shown.count("'surface-plot'") == 1
    assert "compare-linked" not in shown


def test_two_links_open_their_comparison_until_either_is_revoked(paged, gallery, imported):
    from app.schemas import View

    address = paged.services.create_link([gallery, imported], View(log=True), "For the group")
    path = httpx.URL(address).path
    assert path.count("/") == 3
    page = httpx.get(f"{paged.url}{path}?embed=1")
    assert page.status_code == 200
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert "frame-ancestors *" in page.headers["content-security-policy"]
    shown = content(paged, path)
    assert shown.headers["cache-control"] == "private, no-store"
    tokens = path.split("/")[2:]
    for token in tokens:
        assert f"/api/v1/shares/{token}/events" in shown.text
        assert paged.http.get(f"/shares/{token}").json()["share"]["views"] == 1
    for kept_out in ("/api/v1/surfaces/", "/surface/", "surface-share", "compare-other-split"):
        assert kept_out not in shown.text, kept_out
    paged.http.delete(f"/shares/{tokens[1]}")
    assert httpx.get(f"{paged.url}{path}").status_code == content(paged, path).status_code == 404
    assert content(paged, f"/s/{tokens[0]}").status_code == 200
    assert content(paged, f"/s/{tokens[0]}/{tokens[0]}x").status_code == 404


def test_no_link_is_made_where_one_of_the_two_is_missing(paged, gallery):
    from app.schemas import View
    from landscape_core.errors import NotFound

    before = len(paged.http.get(f"/surfaces/{gallery}/shares").json())
    with pytest.raises(NotFound):
        paged.services.create_link([gallery, "0" * 64], View())
    assert len(paged.http.get(f"/surfaces/{gallery}/shares").json()) == before


def test_the_button_asks_the_other_split_once(paged, gallery):
    from app.pages.compare.callbacks import ask

    led = asyncio.run(ask(paged.services, 1, gallery))
    assert led.startswith(f"?a={gallery}&b=")
    other = paged.http.get(f"/surfaces/{led.rpartition('=')[2]}").json()
    theirs, ours = other["request"], paged.http.get(f"/surfaces/{gallery}").json()["request"]
    assert theirs["data"] == {**ours["data"], "split": "test", "examples": 1000}
    assert {**theirs, "data": None} == {**ours, "data": None}
    assert asyncio.run(ask(paged.services, 2, gallery)) == led
    assert f"/compare{led}" in str(content(paged, f"/compare?a={gallery}").json())
    paged.services.cancel(other["id"])


def test_an_imported_file_with_both_splits_says_how_to_get_the_other():
    from app.pages.surface.panels import other_split

    assert "convert --split test" in other_split(info(None, provenance={"source": {"also_in_file": ["test"]}}))
    for source in ({}, {"also_in_file": ["<b>"]}, {"also_in_file": "test"}, "text"):
        assert other_split(info(None, provenance={"source": source})) == ""
