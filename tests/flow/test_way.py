"""A training run in a real browser: on the surface, in the contours, on a curve, behind a link, and in words."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from landscape_core.formats import json as surface_json
from landscape_core.results import MEASURED, Surface
from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACES = [[-1.5, 0.0], [-0.5, 0.3], [0.25, -0.25], [0.0, 0.0]]
RUN = {
    "coordinates": PLACES, "off_plane": [3.0, 2.0, 1.0, 0.0], "explained_variance_ratio": [0.75, 0.125],
    "own_loss": [9.0, 4.0, 1.0, 0.5], "plane_loss": [8.0, 3.0, 1.5, 0.5],
    "names": ["<img src=x onerror=alert(1)>", "b.pt", "c.pt", "d.pt"],
}  # fmt: skip
TRACES = """() => document.querySelector('.surface-plot')._fullData.slice(-2).map((t) => ({
  type: t.type, x: Array.from(t.x), y: Array.from(t.y), z: t.z ? Array.from(t.z) : null, text: t.text, symbol: t.marker && t.marker.symbol }))"""


def posted(page, atlas, name, *, curve=False) -> str:
    """The id of an imported surface 2 α − β + α β + 5, or of the curve 2 α + 5, with the run."""
    x, y = np.linspace(-1, 1, 5), np.linspace(-1, 1, 4)
    loss = (2 * x + 5)[None, :] if curve else 2 * x[None, :] - y[:, None] + x[None, :] * y[:, None] + 5
    run = RUN | ({"coordinates": [place[:1] for place in PLACES], "explained_variance_ratio": [0.75]} if curve else {})
    surface = Surface(
        x=x, y=None if curve else y, loss=loss, state=np.full(loss.shape, MEASURED, np.uint8), accuracy=np.full(loss.shape, 50.0),
        examples=np.full(loss.shape, 10, np.int64), stderr=np.full(loss.shape, 0.1), provenance={"trajectory": run},
    )  # fmt: skip
    answer = page.request.post(f"{atlas}/api/v1/surfaces/import?filename={name}.json", data=surface_json.dump(surface))
    assert answer.ok, answer.text()
    return answer.json()["id"]


def test_the_way_lies_on_the_surface_and_what_is_not_drawn_is_said(person, atlas):
    surface = posted(person, atlas, "run")
    person.goto(f"/surface/{surface}")
    painted(person)
    line, marks = person.evaluate(TRACES)
    assert (line["type"], marks["type"]) == ("scatter3d", "scatter3d")
    lift = 0.016 * 1.025 * (7 - 1)  # of the scene's height: from a little below the lowest loss to a little above the highest
    for trace in (line, marks):
        shown = [(a, b, z) for a, b, z in zip(trace["x"], trace["y"], trace["z"], strict=True) if a is not None]
        for a, b, z in shown:
            assert z == pytest.approx(5 + 2 * a - b + a * b + lift, abs=1e-3)
    assert marks["x"] == [None, -0.5, 0.25, 0.0]
    assert marks["symbol"] == ["square", "circle", "circle", "diamond"]
    assert min(a for a in line["x"] if a is not None) == pytest.approx(-1)
    assert (
        marks["text"][1]
        == "<b>checkpoint 2 of 4, b.pt</b><br>own loss 4<br>the plane’s loss here 3<br>distance off the plane 2"
    )
    assert "&lt;img" in marks["text"][0]
    panel = person.locator("#surface-run")
    for words in (
        "Training run",
        "Variance along δ",
        "75 %",
        "12.5 %",
        "1 of 4 checkpoints lies outside the range and is not drawn.",
    ):
        expect(panel).to_contain_text(words)
    expect(panel.locator("tbody tr").nth(2)).to_have_text("311.51")
    person.get_by_text("Contours", exact=True).click()
    until(person, "document.querySelector('.surface-plot')._fullData[0].type === 'contour'")
    line, marks = person.evaluate(TRACES)
    assert (line["type"], marks["x"][1:], marks["y"][1:]) == ("scatter", [-0.5, 0.25, 0.0], [0.3, -0.25, 0.0])
    link = person.request.post(f"{atlas}/api/v1/surfaces/{surface}/shares", data={}).json()["token"]
    person.goto(f"/s/{link}")
    painted(person)
    assert person.evaluate(TRACES)[1]["x"] == [None, -0.5, 0.25, 0.0]
    expect(person.locator("#surface-run")).to_contain_text("Training run")


def test_a_curve_and_a_surface_without_a_run(person, atlas):
    person.goto(f"/surface/{posted(person, atlas, 'curve', curve=True)}")
    painted(person)
    line, marks = person.evaluate(TRACES)
    assert (line["type"], marks["x"]) == ("scatter", [None, -0.5, 0.25, 0.0])
    assert marks["y"][1:] == pytest.approx([4, 5.5, 5], abs=1e-6)
    person.goto("/")
    person.locator(".card", has_text="A small network on Fashion-MNIST").click()
    painted(person)
    expect(person.locator("#surface-run")).to_be_empty()
