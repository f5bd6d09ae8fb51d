"""The page of a new surface while there is nothing to compute from."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from dash.exceptions import PreventUpdate

from app.pages.new_surface.callbacks import come
from app.pages.new_surface.layout import layout
from worker.blobs import report_key


@pytest.fixture
def page(services, settings):
    """What the page shows now, as text."""
    return lambda: str(asyncio.run(layout(services, settings, {})))


@pytest.fixture
def tick(services):
    """What comes in the place of that two seconds later."""
    return lambda search="": str(asyncio.run(come(services, 1, search)))


def upload(services: Any, folder: Any, content: bytes) -> None:
    path = folder / "network.safetensors"
    path.write_bytes(content)
    services.add_checkpoint(path, "network.safetensors")


def test_without_a_checkpoint_it_asks_for_one_and_waits_for_nothing(page):
    assert "First, a checkpoint" in page()
    assert "disabled=True" in page()


def test_while_one_is_inspected_it_waits_and_then_the_form_comes(page, tick, services, tmp_path, mlp_bytes, inspected):
    upload(services, tmp_path, mlp_bytes(1))
    assert "A checkpoint is being inspected" in page()
    assert "disabled=False" in page()
    with pytest.raises(PreventUpdate):
        tick()
    ready = inspected(mlp_bytes(2))
    form = tick(f"?checkpoint={ready}")
    assert "Compute" in form
    assert "being inspected" not in form


def test_where_what_was_inspected_is_no_checkpoint_it_asks_for_one(page, tick, services, tmp_path):
    upload(services, tmp_path, b"no network")
    assert "A checkpoint is being inspected" in page()
    [checkpoint] = services.checkpoints()
    report = {"problem": "The file is not a checkpoint but text."}
    services.blobs.put(report_key("checkpoint", checkpoint.id), json.dumps(report).encode())
    assert services.settle("checkpoint", checkpoint.id)
    assert [info.state for info in services.checkpoints()] == ["rejected"]
    shown = tick(None)
    assert "First, a checkpoint" in shown
    assert "new-waiting" not in shown  # it stands in that already
