"""What a browser does with a surface: how much it is sent, how long it paints, and how far it is behind the workers.

Chromium runs without a window and draws with the processor (SwiftShader): a real graphics card is faster.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import processes
from benchmarks.announcements import stage_words
from benchmarks.comparison import CORES, Comparison
from benchmarks.system import Atlas, running
from benchmarks.table import Goal, Row, Skipped, Spread
from landscape_core.errors import ComputationFailed
from landscape_core.formats import npz
from landscape_core.results import MEASURED, Surface

if TYPE_CHECKING:
    from playwright.sync_api import Page

KINDS: tuple[str, ...] = ()
SIZES, REPEATS = (51, 101, 201), 5
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run"]
WITHIN_MS = 120_000

LISTEN = """() => {
  window.bench = { arrivals: [], paints: [] };
  const Native = window.EventSource;
  window.EventSource = class extends Native {
    constructor(...given) {
      super(...given);
      super.addEventListener("surface", (event) => window.bench.arrivals.push({
        id: event.lastEventId, at: Date.now(), bytes: event.data.length, stage: JSON.parse(event.data).stage }));
    }
  };
}"""
"""Notes when each surface arrives. Runs before the page's own code."""

WATCH = """() => {
  const react = window.Plotly.react;
  window.Plotly.react = (...given) => {
    const began = Date.now(), drawn = react(...given);
    const note = () => window.bench.paints.push({ began, at: Date.now() });
    drawn.then(() => requestAnimationFrame(() => requestAnimationFrame(note)));
    return drawn;
  };
}"""
"""Notes when each picture stands on the screen: two frames after Plotly says that it has drawn."""

DELAYS = {"published": "worker's word to event, ms", "arrived": "to the browser, ms", "painted": "to the screen, ms"}
"""What is measured of a stage, and its column."""

LIVE = 3
"""Surfaces that are computed while each of `OPENED` is so."""

OPENED = {
    "live in an open page": "document.querySelector('.surface-plot')?._fullLayout?.scene?._scene?.glplot "
    "&& await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
    "live while the page is still opening": "window.Plotly",
}
"""What is true in the page when workers begin: its empty picture stands on the screen, or Plotly is only just there."""

PAINT = """async () => {
  const plot = document.querySelector(".surface-plot"), frame = () => new Promise(requestAnimationFrame);
  const data = plot.data.map((trace) => ({ ...trace, ...(trace.z ? { z: trace.z.map((row) => Array.from(row)) } : {}) }));
  const began = performance.now();
  await window.Plotly.react(plot, data, plot.layout);
  await frame(); await frame();
  return performance.now() - began;
}"""
"""Draws the same surface once more from new arrays; milliseconds to the frame after."""


def run(comparison: Comparison) -> tuple[list[Row], list[Goal]]:
    """One row a size, and one for surfaces that are computed while they are looked at, from each of `OPENED` on.

    Raises:
        Skipped: There is no browser.
    """
    with _page() as page, running(comparison.folder / "browser", 1, max(1, CORES - 1)) as atlas:
        rows = []
        for points in SIZES[:2] if comparison.quick else SIZES:
            comparison.tell(f"{points} × {points} in Chromium")
            rows.append(_painted(page, atlas, points, 1 if comparison.quick else REPEATS))
        surfaces = 1 if comparison.quick else LIVE
        comparison.tell("surfaces that are computed while Chromium shows them")
        live: dict[str, list[dict[str, float]]] = {when: [] for when in OPENED}
        for repeat in range(surfaces):
            for index, (when, ready) in enumerate(OPENED.items()):
                live[when] += _delays(page, atlas, comparison, ready, 7 + 2 * repeat + index)
    goals = []
    for when, delays in live.items():
        if delays:
            row = _behind(f"{comparison.job.points} × {comparison.job.points}, {when}, {len(delays)} stages", delays)
            rows.append(row)
            reached = row["to the screen, ms"].median
            goals.append(Goal(f"less than 300 ms from a worker's word to the screen, {when}", reached, reached < 300))
    return rows, goals


def _behind(surface: str, delays: list[dict[str, float]]) -> dict[str, Any]:
    found = {name: [delay[name] for delay in delays if name in delay] for name in DELAYS}
    return {"surface": surface} | {title: Spread.of(found[name]) for name, title in DELAYS.items() if found[name]}


@contextmanager
def _page() -> Iterator[Page]:
    try:
        from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - not needed to run Loss Atlas
    except ImportError:
        raise Skipped("Playwright is not installed; pip install playwright.") from None
    program = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        except Error as error:
            raise Skipped(f"there is no Chromium that starts ({str(error).splitlines()[0]}).") from None
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(WITHIN_MS)
        page.add_init_script(f"({LISTEN})()")
        try:
            yield page
        except Error as error:
            raise ComputationFailed(f"The page did not do what was expected: {str(error).splitlines()[0]}") from error
        finally:
            browser.close()


def _painted(page: Page, atlas: Atlas, points: int, repeats: int) -> Row:
    """A whole surface: opened, and painted again and again."""
    content = npz.dump(_hills(points))
    answer = atlas.http.post("/surfaces/import", params={"filename": f"hills-{points}.npz"}, content=content)
    address = f"{atlas.url}/surface/{answer.raise_for_status().json()['id']}"
    opened = []
    for _ in range(repeats):
        began = _now(page)
        page.goto(address)
        page.locator(".surface-graph.painted").wait_for()
        opened.append((_now(page) - began) / 1000)
    size = page.evaluate("() => window.bench.arrivals.at(-1).bytes")
    return {
        "surface": f"{points} × {points}",
        "file, kB": len(content) / 1000,
        "event, kB": size / 1000,
        "page opened to painted, s": Spread.of(opened),
        "painted again, ms": Spread.of(page.evaluate(PAINT) for _ in range(repeats)),
    }


def _delays(page: Page, atlas: Atlas, comparison: Comparison, ready: str, seed: int) -> list[dict[str, float]]:
    """Milliseconds from a worker's last word on a stage to its event, to the browser, and to the screen; one a stage.

    Workers begin when `ready` is true in the page. What a stream begins with has the number of an event before it, and none of
    its own.
    """
    body = atlas.body(comparison.job, seed=seed)
    with _worker_held_back(atlas):
        surface = atlas.http.post("/surfaces", json=body).raise_for_status().json()["id"]
        page.goto(f"{atlas.url}/surface/{surface}")
        while not page.evaluate("() => Boolean(window.Plotly)"):
            page.wait_for_timeout(50)
        page.evaluate(WATCH)
        while not page.evaluate(f"async () => Boolean({ready})"):
            page.wait_for_timeout(50)
    while atlas.http.get(f"/surfaces/{surface}").raise_for_status().json()["state"] in {"queued", "running"}:
        page.wait_for_timeout(200)
    page.wait_for_timeout(1500)
    seen = page.evaluate("() => window.bench")
    words = stage_words(atlas.data, surface)
    found = []
    for arrival in seen["arrivals"]:
        published, stage = int(arrival["id"].partition("-")[0] or 0), arrival["stage"]
        paints = [paint["at"] for paint in seen["paints"] if paint["began"] >= arrival["at"] - 1]
        if published and paints and stage in words:
            word = words[stage]
            own = {"published": published - word} if published >= word else {}
            found.append(own | {"arrived": arrival["at"] - word, "painted": min(paints) - word})
    return found


@contextmanager
def _worker_held_back(atlas: Atlas) -> Iterator[None]:
    """Suspends the workers. Where the system does not tell which processes they are, they run on."""
    workers = processes.family(atlas.process.pid)["worker"] if atlas.knows_processes else []
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def _now(page: Page) -> float:
    """The browser's clock, in milliseconds since 1970."""
    return float(page.evaluate("() => Date.now()"))


def _hills(points: int) -> Surface:
    axis = np.linspace(-1, 1, points)
    x, y = np.meshgrid(axis, axis)
    loss = 1 + x**2 + 2 * y**2 + 0.3 * np.sin(9 * x) * np.cos(7 * y)
    count = np.full(loss.shape, 1000, np.int64)
    state = np.full(loss.shape, MEASURED, np.uint8)
    return Surface(axis, axis.copy(), loss, state, 100 * np.exp(-loss), count, 0.01 * loss)
