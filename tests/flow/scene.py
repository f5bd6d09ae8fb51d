"""What a page's figure shows, as the browser knows it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page

STATE = """() => {
  const plot = document.querySelector('.surface-plot'), page = window.lossAtlas?.stream.current();
  const scene = plot?._fullLayout?.scene?._scene, trace = plot?._fullData?.[0];
  return {
    type: trace?.type, visible: trace?.visible, rows: trace?.z?.length, columns: trace?.z?.[0]?.length ?? trace?.x?.length,
    finite: (trace?.z ? trace.z.flat() : Array.from(trace?.y ?? [])).filter(Number.isFinite).length,
    low: trace?.cmin, high: trace?.cmax, colours: JSON.stringify(trace?.colorscale?.[0]),
    eye: scene ? scene.getCamera().eye : null, stages: page?.stages ?? [], view: page?.view ?? null,
  };
}"""


def painted(page: Page) -> dict[str, Any]:
    """Waits for the figure, and tells what it shows."""
    page.locator(".surface-graph.painted").wait_for()
    return shown(page)


def shown(page: Page) -> dict[str, Any]:
    """What the figure shows now."""
    found: dict[str, Any] = page.evaluate(STATE)
    return found


def drag(page: Page, right: int, down: int) -> None:
    """Turns the scene with the mouse, as slowly as a hand does."""
    box = page.locator(".surface-graph").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(x + right * step / 8, y + down * step / 8)
        page.wait_for_timeout(70)
    page.mouse.up()
    page.wait_for_timeout(200)


def near(one: dict[str, float], other: dict[str, float], within: float = 1e-6) -> bool:
    """Whether two points are the same."""
    return all(abs(one[axis] - other[axis]) <= within for axis in "xyz")


def until(page: Page, expression: str, within_s: float = 120) -> None:
    """Waits until an expression is true in the page. (Playwright's own wait uses eval there, which our content policy forbids.)"""
    end = time.monotonic() + within_s
    while not page.evaluate(f"Boolean({expression})"):
        if time.monotonic() > end:
            pytest.fail(f"not true within {within_s:g} s: {expression}")
        page.wait_for_timeout(100)
