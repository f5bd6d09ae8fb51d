"""How a live surface is painted: the scene stands before its first stage, what is overtaken is passed over, and the last is always painted, finely."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from landscape_core.formats import npz
from tests.core.formats.surfaces import bowl
from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SOURCES = """() => {
  const Native = window.EventSource;
  window.EventSource = class extends Native {
    constructor(...given) {
      super(...given);
      super.addEventListener("surface", (event) => { window.source = this; window.latest = window.latest ?? JSON.parse(event.data); });
    }
  };
}"""
"""Remembers the page's stream, and the first surface that came through it. Runs before the page's own code."""

NOTE = """() => {
  const react = window.Plotly.react;
  window.drawn = [];
  window.Plotly.react = (plot, data, ...more) => {
    const done = react(plot, data, ...more), { glplot, traces } = plot._fullLayout.scene._scene, [{ surface }] = Object.values(traces);
    const finds = !Object.hasOwn(glplot.gl, "readPixels") && !Object.hasOwn(surface, "drawPick");
    window.drawn.push({ height: data[0].z[0][0], ratio: glplot.pixelRatio, corners: surface._vertexCount, finds });
    return done;
  };
}"""
"""Notes what is drawn from now on: a height, how finely, and whether what is under the pointer can be found."""

COMPILED = """(gl) => {
  const given = gl.shaderSource;
  window.compiled = [];
  gl.shaderSource = (shader, source) => { window.compiled.push(source); given.call(gl, shader, source); };
}"""
"""Notes the source of each shader that is compiled from now on."""

SCENE = "document.querySelector('.surface-plot')._fullLayout.scene._scene"

HIDES = f"Object.hasOwn({SCENE}.glplot.gl, 'readPixels')"

SEND = """(heights) => {
  const { latest, source } = window, cells = latest.rows * latest.columns;
  setTimeout(() => window.drawn.push("a timer of 100 ms"), 100);
  heights.forEach((height) => {
    const bytes = new Uint8Array(Float32Array.from({ length: cells }, (_, i) => height + i / cells).buffer);
    const data = JSON.stringify({ ...latest, stage: latest.stage + 1, loss: btoa(String.fromCharCode(...bytes)) });
    source.dispatchEvent(new MessageEvent("surface", { data }));
  });
}"""
"""Stages that come together, of these heights."""


def begin(page: Page, atlas: str) -> dict[str, Any]:
    """The page of a surface that somebody will send, and nothing of it yet."""
    live: dict[str, Any] = page.request.post(f"{atlas}/api/v1/surfaces/live", data={"name": "pictures"}).json()
    page.add_init_script(f"({SOURCES})()")
    page.goto(f"/surface/{live['id']}")
    return live


def send(page: Page, atlas: str, live: dict[str, Any], stage: int) -> None:
    address = f"{atlas}/api/v1/surfaces/{live['id']}/live?stage={stage}&stages=9"
    answer = page.request.put(address, data=npz.dump(bowl()), headers={"x-live-secret": live["secret"]})
    assert answer.ok, answer.text()


def test_the_scene_stands_before_the_first_stage_and_shows_nothing_until_then(person, atlas):
    live = begin(person, atlas)
    until(person, "document.querySelector('.surface-plot')?._fullLayout?.scene?._scene?.glplot")
    assert person.locator(".surface-graph.painted").count() == 0
    assert person.locator(".surface-plot").evaluate("(plot) => getComputedStyle(plot).opacity") == "0"
    person.evaluate("window.before = document.querySelector('.surface-plot')._fullLayout.scene._scene")
    send(person, atlas, live, 1)
    assert painted(person)["rows"] == len(bowl().loss)
    assert not person.locator(".stage-note-box").is_visible(), "nobody waits for what is there, also before the words come"
    assert person.evaluate("window.before === document.querySelector('.surface-plot')._fullLayout.scene._scene")


def test_a_stage_is_painted_at_once_after_a_quiet_time_those_that_are_overtaken_never_and_the_last_one_finely(person, atlas):
    live = begin(person, atlas)
    send(person, atlas, live, 1)
    painted(person)
    until(person, "window.latest")
    fine = "document.querySelector('.surface-plot')._fullLayout.scene._scene.glplot.pixelRatio === 2"
    until(person, fine)
    person.wait_for_timeout(1500)  # quiet
    person.evaluate(NOTE)
    person.evaluate(SEND, [10, 20, 30])
    until(person, f"window.drawn.filter((each) => each.height).length > 1 && {fine}")
    draft, *later = person.evaluate("window.drawn")
    assert (draft["height"], draft["ratio"]) == (30, 1.5)
    assert later[0] == "a timer of 100 ms"
    assert (later[-1]["height"], later[-1]["ratio"]) == (30, 2)
    assert draft["corners"] < later[-1]["corners"]
    assert (draft["finds"], later[-1]["finds"]) == (False, True)
    assert person.evaluate(f"{SCENE}.glplot.gl.getContextAttributes().antialias") is False
    person.evaluate(SEND, [40])
    person.evaluate(SEND, [50])
    until(person, f"window.drawn.at(-1).height === 50 && {fine}")


def test_what_is_under_the_pointer_is_found_in_a_draft_too(person, atlas):
    live = begin(person, atlas)
    send(person, atlas, live, 1)
    painted(person)
    until(person, "window.latest")
    person.locator(".surface-graph").hover()
    person.evaluate(NOTE)
    person.evaluate(SEND, [10])
    until(person, "window.drawn.some((each) => each.height)")
    draft = next(each for each in person.evaluate("window.drawn") if "height" in each)
    assert (draft["ratio"], draft["finds"]) == (1.5, True)


def test_a_pointer_that_comes_to_a_draft_finds_what_is_under_it(person, atlas):
    live = begin(person, atlas)
    send(person, atlas, live, 1)
    painted(person)
    until(person, "window.latest")
    until(person, f"{SCENE}.glplot.pixelRatio === 2")
    person.mouse.move(2, 2)
    person.evaluate(NOTE)
    person.evaluate(SEND, [10])
    until(person, f"{SCENE}.glplot.pixelRatio === 1.5 && {HIDES}")
    person.locator(".surface-plot").dispatch_event("pointerenter")
    assert not person.evaluate(HIDES)


def test_the_lines_of_the_axes_are_compiled_once(person, atlas):
    live = begin(person, atlas)
    send(person, atlas, live, 1)
    painted(person)
    until(person, "window.latest")
    person.evaluate(NOTE)
    person.evaluate(SEND, [10])
    until(person, f"{SCENE}.fullSceneLayout.zaxis.range[1] > 10")
    person.evaluate(f"({COMPILED})({SCENE}.glplot.gl)")
    for height in (20, 3000):
        person.evaluate(SEND, [height])
        until(person, f"{SCENE}.fullSceneLayout.zaxis.range[1] > {height}")
    assert not [source for source in person.evaluate("window.compiled") if "majorAxis" in source], person.evaluate(
        "window.compiled"
    )


def test_a_touch_that_becomes_a_scroll_does_not_leave_a_draft(person, atlas):
    live = begin(person, atlas)
    send(person, atlas, live, 1)
    painted(person)
    fine = "document.querySelector('.surface-plot')._fullLayout.scene._scene.glplot.pixelRatio === 2"
    until(person, fine)
    for kind in ("pointerdown", "pointercancel"):
        person.dispatch_event("body", kind, {"pointerType": "touch"})
    person.evaluate(NOTE)
    send(person, atlas, live, 2)
    until(person, f"window.drawn.length && window.drawn.at(-1).ratio === 2 && {fine}", within_s=20)
