"""A live surface that is opened before anything of it has come: what it says of itself appears with its first state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import expect

from landscape_core.formats import npz
from tests.core.formats.surfaces import bowl
from tests.flow.scene import painted, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CALLED = "window.lossAtlas.stream.current()?.address.told.classes?.[7] === 'Sneaker'"


def first_state() -> bytes:
    """A surface of the shipped sample with the accuracy of its class 7."""
    whole = bowl()
    return npz.dump(replace(whole, quantities={"class_accuracy_7": np.where(np.isnan(whole.loss), np.nan, 50.0)}))


def test_its_question_and_the_names_of_its_classes_come_with_the_first_state(person, atlas, open_context):
    api = f"{atlas}/api/v1/surfaces"
    live = person.request.post(f"{api}/live", data={"name": "early"}).json()
    token = person.request.post(f"{api}/{live['id']}/shares", data={}).json()["token"]
    person.goto(f"/surface/{live['id']}")
    other = open_context()
    other.goto(f"/s/{token}")
    pages = (person, other)
    for page in pages:
        expect(page.locator(".panel", has_text="Question")).to_contain_text("brings no question")
    sent = person.request.put(
        f"{api}/{live['id']}/live?stage=1&stages=2", data=first_state(), headers={"x-live-secret": live["secret"]}
    )
    assert sent.ok, sent.text()
    for page in pages:
        expect(page.locator(".panel", has_text="Question")).to_contain_text("Fashion-MNIST sample")
        painted(page)
        until(page, CALLED)
        page.locator("#surface-colour-by").click()
        expect(page.get_by_role("option", name="Accuracy, Sneaker")).to_be_visible()


def test_a_curve_that_is_opened_before_its_first_state_gets_the_controls_of_a_curve(person, atlas):
    api = f"{atlas}/api/v1/surfaces"
    live = person.request.post(f"{api}/live", data={"name": "early curve"}).json()
    person.goto(f"/surface/{live['id']}")
    toolbar = person.get_by_role("toolbar")
    expect(toolbar).to_contain_text("Contour lines")
    expect(toolbar.get_by_role("button", name="Reset camera")).to_be_visible()
    sent = person.request.put(
        f"{api}/{live['id']}/live?stage=1&stages=2", data=npz.dump(bowl(7, None)), headers={"x-live-secret": live["secret"]}
    )
    assert sent.ok, sent.text()
    painted(person)
    for only_of_surfaces in ("Contour lines", "Colour by", "Contours"):
        expect(toolbar.get_by_text(only_of_surfaces, exact=True)).to_be_hidden()
    expect(toolbar.get_by_role("button", name="Reset view")).to_be_visible()
    expect(toolbar.get_by_text("Log", exact=True)).to_be_visible()
