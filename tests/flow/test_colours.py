"""The colours of a surface may show another quantity than its heights; a link opens it so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from landscape_core import formats, quantities
from landscape_core.results import Surface
from tests.core.formats.surfaces import bowl
from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRACES = """() => document.querySelector('.surface-plot')._fullData.map((t) => ({
  type: t.type, name: t.name, visible: t.visible, title: t.colorbar?.title?.text ?? null, low: t.cmin ?? t.zmin, high: t.cmax ?? t.zmax,
  z: t.type === 'surface' || t.type === 'contour' ? Array.from(t.z ?? [], (row) => Array.from(row)) : null,
}))"""
CELLS = """(name) => {
  const { surface, address } = window.lossAtlas.stream.current(), { available, table } = window.lossAtlas.values;
  return { names: available(surface, address.told), values: table(surface, name).map((row) => row.map((v) => (Number.isFinite(v) ? v : null))) };
}"""


def curved() -> Surface:
    """A surface that knows its eigenvalues but in one corner, and the accuracies of two classes."""
    surface = bowl(7, 5)
    low = 1.0 - surface.x[None, :] ** 2 - 2 * surface.y[:, None] ** 2
    low[0, 0] = np.nan
    classes = {f"class_accuracy_{n}": surface.accuracy * (n / 10) for n in (2, 10)}
    return replace(surface, quantities={"max_eig": 2 - low, "min_eig": low, **classes})


def bring(page: Page, atlas: str, surface: Surface) -> str:
    """The page of a surface that was imported."""
    answer = page.request.post(f"{atlas}/api/v1/surfaces/import?filename=a.npz", data=formats.to_bytes(surface, ".npz"))
    assert answer.status == 201, answer.text()
    page.goto(f"/surface/{answer.json()['id']}")
    painted(page)
    return str(answer.json()["id"])


def traces(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(TRACES)
    return found


def colour_by(page: Page, title: str) -> None:
    page.locator("#surface-colour-by").click()
    page.get_by_role("option", name=title, exact=True).click()


def test_the_colours_show_a_quantity_and_the_heights_stay_the_loss(person, atlas):
    surface = curved()
    bring(person, atlas, surface)
    before = traces(person)
    colour_by(person, "Smallest eigenvalue")
    until(person, "document.querySelector('.surface-plot')._fullData[0].surfacecolor")
    solid, *_, grey = traces(person)
    low = surface.quantities["min_eig"]
    assert solid["title"] == "smallest eigenvalue"
    np.testing.assert_allclose([solid["low"], solid["high"]], [np.nanmin(low), np.nanmax(low)], rtol=1e-6)
    assert (grey["name"], grey["visible"]) == ("unknown", True)
    shown = [
        (a["z"][j][i], b["z"][j][i]) for a, b in ((before[0], solid),) for j in range(5) for i in range(7) if (j, i) != (0, 0)
    ]
    assert all(one == other for one, other in shown)
    expect(person.locator("#surface-holes")).to_contain_text("Smallest eigenvalue: unknown at 1 cell that has a loss")
    person.locator(".surface-graph").focus()
    person.keyboard.press("ArrowRight")
    cell = person.locator("#surface-cell")
    expect(cell).to_contain_text("Negative curvature")
    expect(cell.locator(".class-row")).to_contain_text(["Pullover", "class 10"])
    person.get_by_text("Contours", exact=True).click()
    until(person, "document.querySelector('.surface-plot')._fullData[0].type === 'contour'")
    flat, *_, lines = traces(person)
    assert flat["title"] == "smallest eigenvalue"
    np.testing.assert_allclose(flat["z"][1], low[1], rtol=1e-6)
    assert lines["visible"] is True
    np.testing.assert_allclose(lines["z"][1], surface.loss[1], rtol=1e-6)


def test_what_the_browser_derives_is_what_python_derives(person, atlas):
    surface = curved()
    bring(person, atlas, surface)
    for name in ("perplexity", "negative_curvature", "class_accuracy_10"):
        found = person.evaluate(CELLS, name)
        assert found["names"] == quantities.available(surface)
        values = np.array([[np.nan if v is None else v for v in row] for row in found["values"]])
        np.testing.assert_allclose(values, quantities.values(surface, name), rtol=1e-5)


def test_a_link_opens_with_the_colours_that_it_was_made_with_and_old_links_still_open(person, atlas, open_context):
    surface = bring(person, atlas, curved())
    colour_by(person, "Accuracy, Pullover")
    until(person, "document.querySelector('.surface-plot')._fullData[0].surfacecolor")
    person.get_by_role("button", name="Share").click()
    with person.expect_response(lambda answer: "_dash-update-component" in answer.url):
        person.get_by_role("button", name="Create link").click()
    until(person, "document.querySelector('input[value*=\"/s/\"]')")
    guest = open_context()
    guest.goto(person.evaluate("document.querySelector('input[value*=\"/s/\"]').value"))
    painted(guest)
    assert traces(guest)[0]["title"] == "accuracy, Pullover (%)"
    expect(guest.locator("#surface-colour-by")).to_have_value("Accuracy, Pullover")
    old = person.request.post(f"{atlas}/api/v1/surfaces/{surface}/shares", data={"view": {"colour": "Magma"}}).json()
    guest.goto(old["url"])
    painted(guest)
    assert traces(guest)[0]["title"] == "loss (nats)"


def test_while_eigenvalues_are_measured_their_own_grid_is_drawn_in_their_colours_and_the_whole_one_in_others(person, atlas):
    surface, rows, columns = curved(), [0, 2, 4], [0, 3, 6]
    inside = np.zeros(surface.loss.shape, bool)
    inside[np.ix_(rows, columns)] = True
    part = {name: np.where(inside, table, np.nan) for name, table in surface.quantities.items()}
    stage = {"stage": 4, "stages": 5, "examples": 9, "rows": list(range(5)), "columns": list(range(7))}
    about = {"stage": stage | {"eigenvalues": {"rows": rows, "columns": columns}}}
    bring(person, atlas, replace(surface, quantities=part, provenance=about))
    holes = person.locator("#surface-holes")
    expect(holes).to_contain_text("Eigenvalues so far on a grid of 3 × 3 of its cells")
    expect(holes).to_contain_text("Smallest eigenvalue: unknown at 1 cell that has a loss")
    assert np.shape(traces(person)[0]["z"]) == (5, 7)
    colour_by(person, "Negative curvature")
    until(person, "document.querySelector('.surface-plot')._fullData[0].z.length === 3")
    drawn = np.array(traces(person)[0]["z"], float)[1:]
    np.testing.assert_allclose(drawn, surface.loss[np.ix_(rows, columns)][1:], rtol=1e-6)
    colour_by(person, "Accuracy")
    until(person, "document.querySelector('.surface-plot')._fullData[0].z.length === 5")
