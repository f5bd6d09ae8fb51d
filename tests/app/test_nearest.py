"""A checkpoint that nothing fits: what REST and the page say of the nearest network, and of computing elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from plotly.utils import PlotlyJSONEncoder
from safetensors.numpy import save


def _damaged() -> bytes:
    """A ResNet-20 of which one tensor is missing, one too many, one of another shape."""
    from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors

    shapes = resnet_tensors(20, conv_shortcuts=True, channels=3, classes=10)
    del shapes["bn1.bias"]
    shapes |= {"extra": (), "linear.weight": (10, 65)}
    return save({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def test_it_is_held_against_the_nearest_network_with_lines_that_name_this_server(
    services: Any, inspected: Callable[[bytes], str]
) -> None:
    from app.pages.checkpoints.layout import listing

    checkpoint = services.checkpoint(inspected(_damaged()))
    assert checkpoint.state == "rejected"
    assert checkpoint.problem.startswith("No catalogued architecture fits; the nearest is resnet20")
    found = json.loads(checkpoint.model_dump_json())["nearest"]
    assert found["architecture"]["name"] == "resnet20"
    assert [found[name] for name in ("missing", "unexpected", "reshaped")] == [1, 1, 1]
    assert {"name": "linear.weight", "file": [10, 65], "network": [10, 64]} in found["differences"]
    page = json.dumps(listing([checkpoint], "https://atlas.example"), cls=PlotlyJSONEncoder, ensure_ascii=False)
    for words in ("10 × 65", "10 × 64", "one number", "bn1.bias", "lc.push('https://atlas.example', name='a')"):
        assert words in page
    assert "lossatlas push a.surface.npz --server https://atlas.example" in page


def test_a_checkpoint_that_fits_is_held_against_none(services: Any, ready_checkpoint: str) -> None:
    assert services.checkpoint(ready_checkpoint).nearest is None
