"""A training run as one zip, in a real browser: dropped, looked at, and on its way to a surface."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.numpy import save

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def run_of_three() -> bytes:
    random = np.random.default_rng(5)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for epoch in (10, 9, 1):
            tensors = {"0.weight": random.normal(size=(10, 784)).astype(np.float32), "0.bias": np.zeros(10, np.float32)}
            archive.writestr(f"run/epoch_{epoch}.safetensors", save(tensors))
        archive.writestr("run/<b>notes</b>.pt", b"this is text")
    return file.getvalue()


def test_a_zip_of_a_run_leads_to_its_trajectory(person, upload):
    person.goto("/checkpoints")
    upload(person, "Drop checkpoints here", "run.zip", run_of_three())
    card = person.locator(".file", has_text="run.zip")
    expect(card).to_contain_text("3 checkpoints of mlp.")
    expect(card).to_contain_text("1 file of the archive cannot be used.")
    expect(person.locator(".file", has_text="epoch_10.safetensors")).to_have_count(1)  # on the card of the run alone
    card.get_by_text("4 files in the archive").click()
    rows = card.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_be_visible()
    assert [row.split()[0] for row in rows.all_inner_texts()] == [
        "run/<b>notes</b>.pt", "run/epoch_1.safetensors", "run/epoch_9.safetensors", "run/epoch_10.safetensors",
    ]  # fmt: skip
    expect(rows.first).to_contain_text("not a checkpoint")
    card.get_by_role("link", name="New surface of this run").click()
    expect(person.get_by_role("textbox", name="Checkpoint", exact=True)).to_have_value("epoch_10.safetensors  ·  mlp")
    chips = person.locator(".mantine-MultiSelect-pill", has_text="epoch")
    expect(chips).to_have_count(3)
    assert [chip.split()[0] for chip in chips.all_inner_texts()] == [f"epoch_{n}.safetensors" for n in (1, 9, 10)]
    expect(person.get_by_role("button", name="Compute")).to_be_enabled()
    note, start = person.locator("#new-range-note"), person.get_by_label("α from")
    expect(note).to_contain_text("the range holds it with a margin")  # of length one, directions take no run into −1 … 1
    assert float(start.input_value()) < -10
    start.fill("5")
    start.blur()
    expect(note).to_contain_text("the range leaves part of it out")
    expect(start).to_have_value("5")
    person.get_by_role("button", name="Fit to the run").click()
    expect(note).to_contain_text("the range holds it with a margin")
