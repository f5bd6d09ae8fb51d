"""What the pages say of single classes: by their names where those are known, and nothing of what an imported file made up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.pages.surface.panels import provenance
from app.pages.surface.stage import told
from app.schemas import Progress, SurfaceInfo
from landscape_core.catalogue import class_names, datasets
from landscape_core.catalogue.data import SAMPLE_FILE, holds_tokens
from tests.core.formats.surfaces import bowl


def shown(**made: object) -> str:
    request = bowl().request
    info = SurfaceInfo(id="a" * 64, state="finished", title="t", request=request, progress=Progress(), provenance=made,
                       created="2026-01-01T00:00:00Z")  # fmt: skip
    return json.dumps(provenance(info).to_plotly_json(), default=lambda part: part.to_plotly_json())


def test_every_catalogued_data_set_names_its_classes():
    for entry in datasets():
        if holds_tokens(entry.dtype):  # its classes are ids
            assert class_names(entry.id) is None
            continue
        assert len(set(class_names(entry.id) or ())) == entry.classes
    assert class_names("ab" * 32) is None
    with np.load(SAMPLE_FILE) as sample:  # trousers are narrow, boots are not
        mean = {c: (sample["x_train"][sample["y_train"] == c] > 50).mean(axis=0) for c in (1, 9)}
    assert (class_names("fashion-mnist-sample") or ())[1] == "Trouser"
    assert mean[1][:, -5:].mean() < 0.05 < 0.4 < mean[9][:, -5:].mean()


def test_the_browser_is_told_the_names_and_whether_the_loss_is_in_nats():
    request = bowl().request
    assert told(request)["classes"][7] == "Sneaker"
    assert told(request)["nats"] is True
    assert told(request.model_copy(update={"loss": "mse"}))["nats"] is False
    assert (told(None)["nats"], told(None)["classes"]) == (False, None)


def test_the_network_s_own_metrics_are_among_the_facts():
    page = shown(own_top5=99.25, own_class_accuracy={"0": 81.5, "9": 97.0})
    for text in (
        "Network's own top-5 accuracy",
        "99.25 %",
        "Own accuracy, T-shirt/top",
        "81.5 %",
        "Own accuracy, Ankle boot",
        "97 %",
    ):
        assert text in page


@pytest.mark.parametrize("made", [3, [1], {"0": "<b>"}, {"x": 5.0}, {"0": None}, None])
def test_what_is_no_table_of_classes_is_not_shown(made):
    assert "Own accuracy," not in shown(own_class_accuracy=made)


def test_the_difference_from_float32_is_among_the_facts():
    check = {"cells": [[0, 0], [1, 1]], "examples": 512, "largest_relative_difference": 0.0012345}
    assert "0.12 % at most (2 cells, 512 examples)" in shown(precision_check=check)
    assert "not finite in one of the two" in shown(precision_check={**check, "largest_relative_difference": None})
    for made in (3, {}, {**check, "cells": 5}, {**check, "largest_relative_difference": "<b>"}, None):
        assert "Difference from float32" not in shown(precision_check=made)
