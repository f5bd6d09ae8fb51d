"""The whole way in a real browser: from a file on disk to a link that somebody else opens."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.flow.scene import drag, near, painted, shown, until

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

ZONE, DATA = re.compile("Drop checkpoints here"), re.compile("Your own data set")
POINTS, EXAMPLES = 13, 64


def checkpoint() -> bytes:
    """An untrained ResNet-20 of the original's layout, as a training run would save it."""
    from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors  # not before pytest checks its shapes

    generator = torch.Generator().manual_seed(5)
    shapes = resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10)
    state = {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
    state |= {name: torch.ones_like(value) for name, value in state.items() if name.endswith("running_var")}
    buffer = io.BytesIO()
    torch.save({"acc": 11.5, "epoch": 3, "state_dict": state}, buffer)
    return buffer.getvalue()


def dataset() -> bytes:
    """Pictures of noise in ten classes."""
    draw = np.random.default_rng(7)
    buffer = io.BytesIO()
    np.savez(buffer, x=draw.integers(0, 256, (160, 32, 32, 3), dtype=np.uint8), y=draw.integers(0, 10, 160))
    return buffer.getvalue()


def test_from_a_file_to_a_link_and_back(person, open_context, watch, upload):
    inspected(person, upload)
    asked(person, upload)
    streamed(person)
    link = finished_and_shared(person)
    opened_by_another(open_context(width=900, height=640), link)
    revoked(person, open_context(width=500, height=400), watch, link)


def inspected(page: Page, upload) -> None:
    page.goto("/checkpoints")
    upload(page, ZONE, "journey.pt", checkpoint())
    card = page.locator(".file", has_text="journey.pt")
    expect(card.locator(".verdict-name")).to_contain_text("This is resnet20")
    expect(card).to_contain_text("torch zip")
    expect(card).to_contain_text("11.5")
    card.get_by_role("link", name="New surface").click()
    page.wait_for_url("**/new?checkpoint=*")


def asked(page: Page, upload) -> None:
    upload(page, DATA, "noise.npz", dataset())
    expect(page.get_by_role("textbox", name="Data set")).to_have_value(re.compile("noise"))
    page.get_by_label("Examples", exact=True).fill(str(EXAMPLES))
    for axis in page.get_by_label("points", exact=True).all():
        axis.fill(str(POINTS))
    cost = page.locator(".cost")
    expect(cost).to_contain_text(f"{POINTS * POINTS}")
    expect(cost).to_contain_text(f"{POINTS * POINTS * EXAMPLES:,}")
    page.get_by_role("button", name="Compute").click()
    page.wait_for_url("**/surface/*")


def streamed(page: Page) -> None:
    first = painted(page)
    assert first["type"] == "surface"
    drag(page, 110, 40)
    turned = shown(page)
    assert not near(first["eye"], turned["eye"], 0.05)
    until(page, "window.lossAtlas.stream.current().stages.length >= 3")
    page.wait_for_timeout(600)
    later = shown(page)
    assert near(later["eye"], turned["eye"]), "the camera stays where the hand put it while stages come"
    assert later["stages"] == sorted(set(later["stages"]))
    assert later["stages"][-1] > first["stages"][-1]
    assert later["rows"] >= first["rows"]
    page.get_by_role("switch", name="Logarithm of the loss").check(force=True)
    until(page, "window.lossAtlas.stream.current().view.log")
    page.reload()
    again = painted(page)
    assert near(again["eye"], turned["eye"]), "a reload keeps the camera"
    assert again["view"]["log"], "a reload keeps the view"
    assert again["stages"][0] >= later["stages"][-1], "a reload loses no stage"


def finished_and_shared(page: Page) -> str:
    expect(page.locator("#surface-badge")).to_have_text("Finished", ignore_case=True)
    whole = shown(page)
    assert (whole["rows"], whole["columns"], whole["finite"]) == (POINTS, POINTS, POINTS * POINTS)
    expect(page.locator("#surface-facts")).to_contain_text(str(EXAMPLES))
    page.get_by_label("Colour scale").first.click()
    page.get_by_role("option", name="Magma").click()
    page.get_by_label("Highest loss shown").fill("50")
    until(page, "window.lossAtlas.stream.current().view.clip === 50")
    page.get_by_role("button", name="Share").click()
    page.get_by_label("Label").fill("For <i>you</i>")
    page.get_by_role("button", name="Create link").click()
    link = page.locator(".share-made input").first.input_value()
    expect(page.locator(".share-line")).to_contain_text("For <i>you</i>")
    assert re.search(r"/s/[A-Za-z0-9_-]{22,}$", link)
    return link


def opened_by_another(page: Page, link: str) -> None:
    page.goto(link)
    seen = painted(page)
    assert seen["view"] == {
        "projection": "surface",
        "colour_by": "loss",
        "colour": "Magma",
        "log": True,
        "clip": 50,
        "contours": False,
    }
    assert (seen["rows"], seen["columns"]) == (POINTS, POINTS)
    for forbidden in ("Share", "Cancel", "Go on", "Delete"):
        expect(page.get_by_role("button", name=forbidden, exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="New surface")).to_be_hidden()
    page.goto(f"{link}?embed=1")
    painted(page)
    expect(page.locator(".surface-head")).to_be_hidden()
    expect(page.locator(".top")).to_be_hidden()
    page.close()


def revoked(owner: Page, other: Page, watch, link: str) -> None:
    owner.get_by_role("button", name="Revoke For").click()
    expect(owner.locator("#surface-share-list")).to_contain_text("No link opens this surface yet.")
    watch.expected.add(404)
    answer = other.goto(link)
    assert answer
    assert answer.status == 404
    expect(other.locator(".not-found")).to_contain_text("This link opens nothing")
