"""Two surfaces side by side in a real browser: one hand turns both, one scale for both, and it streams on."""

from __future__ import annotations

import time

import httpx
import pytest
from playwright.sync_api import expect

from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EYES = "[...document.querySelectorAll('.surface-plot')].map((plot) => plot._fullLayout.scene._scene.getCamera().eye)"
RANGES = "[...document.querySelectorAll('.surface-plot')].map((plot) => plot._fullLayout.scene.zaxis.range)"
SAME_EYE = f"(([a, b]) => ['x', 'y', 'z'].every((k) => Math.abs(a[k] - b[k]) < 1e-6))({EYES})"
DRAWN = "document.querySelectorAll('.surface-graph.painted').length === 2"
SAME_RANGE = f"(([a, b]) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) < 1e-9)({RANGES})"


@pytest.fixture
def gallery(atlas):
    """The gallery's surface, and how it was asked, once its checkpoint can be computed with."""
    found = next(s for s in httpx.get(f"{atlas}/api/v1/surfaces").json() if s["origin"] == "gallery")
    checkpoint, end = f"{atlas}/api/v1/checkpoints/{found['request']['checkpoint']}", time.monotonic() + 120
    while httpx.get(checkpoint).json()["state"] == "inspecting" and time.monotonic() < end:
        time.sleep(0.2)
    return found


def test_the_same_on_the_test_split_is_computed_and_turned_together(person, gallery):
    person.set_viewport_size({"width": 800, "height": 560})
    person.goto(f"/surface/{gallery['id']}")
    painted(person)
    person.get_by_role("link", name="Compare with…").click()
    person.get_by_role("button", name="Compute it and compare").click()
    expect(person.get_by_role("heading", level=1)).to_contain_text("Split: train / test")
    until(person, DRAWN)
    expect(person.locator("#compare-a-facts")).to_contain_text("0.036")
    expect(person.locator("#compare-b-facts")).to_contain_text("Maximum")
    until(person, SAME_RANGE)
    graph = person.locator(".compare-a .surface-graph")
    graph.scroll_into_view_if_needed()
    box, before = graph.bounding_box(), person.evaluate(EYES)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    person.mouse.move(x, y)
    person.mouse.down()
    for step in range(1, 7):
        person.mouse.move(x + 12 * step, y + 2 * step)
        person.wait_for_timeout(70)
    person.mouse.up()
    until(person, f"{SAME_EYE} && Math.abs({EYES}[0].x - {before[0]['x']}) > 0.05")
    person.locator("#compare-same").uncheck(force=True)
    until(person, f"!{SAME_RANGE}")
    graph.focus()
    person.keyboard.press("ArrowRight")
    person.keyboard.press("ArrowRight")
    for side in "ab":
        expect(person.locator(f"#compare-{side}-cell")).to_contain_text("chosen")
        expect(person.locator(f"#compare-{side}-cell")).to_contain_text("0.04")


def test_two_curves_are_two_lines_of_one_picture_also_behind_their_link(person, open_context, atlas, gallery):
    asked = gallery["request"]
    body = {**asked, "plane": {**asked["plane"], "y": None}, "grid": {"x": {"start": -1, "stop": 1, "points": 11}, "y": None}}
    ids = []
    for split in ("train", "test"):
        data = {**asked["data"], "split": split, "examples": 200}
        answer = httpx.post(f"{atlas}/api/v1/surfaces", json={**body, "data": data})
        assert answer.is_success, answer.text
        ids.append(answer.json()["id"])
    person.goto(f"/compare?a={ids[0]}&b={ids[1]}")
    until(person, "document.querySelector('.surface-plot')?._fullData?.filter((t) => t.mode === 'lines+markers').length === 2")
    assert person.evaluate("document.querySelector('.surface-plot')._fullData.slice(0, 2).map((t) => t.name)") == [
        "train",
        "test",
    ]
    person.get_by_role("button", name="Share").click()
    person.get_by_role("button", name="Create link").click()
    address = person.get_by_role("textbox", name="Link", exact=True).input_value()
    viewer = open_context(800, 560)
    viewer.goto(address)
    expect(viewer.get_by_role("heading", level=1)).to_contain_text("Split: train / test")
    until(viewer, "document.querySelector('.surface-plot')?._fullData?.length > 2")
    expect(viewer.get_by_role("button", name="Share")).to_have_count(0)
