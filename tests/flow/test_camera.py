"""The hand on the camera: it stays where the hand left it, however slowly the scene is drawn, and fingers turn both pictures too."""

from __future__ import annotations

import math

import httpx
import pytest
from playwright.sync_api import Page

from tests.flow.scene import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EYES = "[...document.querySelectorAll('.surface-plot')].map((plot) => plot._fullLayout.scene._scene.getCamera().eye)"
SLOW = """() => document.querySelector('.surface-plot').addEventListener('mousemove', () => {
  const end = performance.now() + 250;
  while (performance.now() < end);
})"""
"""Takes a quarter of a second at each movement over the first picture, as drawing does where a processor draws."""


@pytest.fixture
def compared(open_context, atlas) -> Page:
    """The gallery's surface beside itself, at rest."""
    found = next(s for s in httpx.get(f"{atlas}/api/v1/surfaces").json() if s["origin"] == "gallery")
    page: Page = open_context(800, 560, has_touch=True)
    page.goto(f"/compare?a={found['id']}&b={found['id']}")
    until(page, "document.querySelectorAll('.surface-graph.painted').length === 2")
    page.locator(".compare-a .surface-graph").scroll_into_view_if_needed()
    until(
        page, "[...document.querySelectorAll('.surface-plot')].every((p) => p._fullLayout.scene._scene.glplot.pixelRatio === 2)"
    )
    return page


def middle(page: Page) -> tuple[float, float, float]:
    """Where the first picture's middle is, and how high it is, in pixels."""
    box = page.locator(".compare-a .surface-plot").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"]


def round_(eye: dict[str, float]) -> float:
    """How far around the vertical axis an eye stands, in radians."""
    return math.atan2(eye["y"], eye["x"])


def turned_alike(page: Page, before: float, by: float) -> None:
    """Both pictures come to rest, turned by this angle."""
    former, eyes = None, page.evaluate(EYES)
    while eyes != former:
        page.wait_for_timeout(1500)
        former, eyes = eyes, page.evaluate(EYES)
    assert len(eyes) == 2
    for eye in eyes:
        assert before - round_(eye) == pytest.approx(by, abs=0.05)


def test_the_camera_stays_where_the_hand_left_it_however_slowly_the_scene_is_drawn(compared):
    x, y, high = middle(compared)
    before = round_(compared.evaluate(EYES)[0])
    compared.evaluate(SLOW)
    compared.mouse.move(x, y)
    compared.mouse.down()
    for step in range(1, 5):
        compared.mouse.move(x + 10 * step, y)
    compared.mouse.up()
    turned_alike(compared, before, math.pi * 40 / high)


def test_a_finger_turns_both_pictures(compared):
    x, y, high = middle(compared)
    before = round_(compared.evaluate(EYES)[0])
    touch = compared.context.new_cdp_session(compared)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 5):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x + 10 * step, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    turned_alike(compared, before, math.pi * 40 / high)
