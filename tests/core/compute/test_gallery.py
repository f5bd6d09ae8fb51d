"""The gallery's network and surface, which are kept in the repository, are what they are said to be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from landscape_core.catalogue import match
from landscape_core.compute import Evaluator, load_dataset
from landscape_core.formats import npz
from landscape_core.reading import read_checkpoint

FOLDER = Path(__file__).parents[3] / "app" / "gallery" / "fashion-mlp"


def test_the_gallerys_surface_is_of_the_gallerys_network():
    about = json.loads((FOLDER / "about.json").read_text())
    checkpoint = FOLDER / "checkpoint.pt"
    tensors = read_checkpoint(checkpoint).tensors
    surface = npz.load((FOLDER / "surface.npz").read_bytes())
    request = surface.request
    assert request.checkpoint == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert match({name: array.shape for name, array in tensors.items()})[0].architecture == request.architecture
    assert request.grid.shape == surface.loss.shape == (51, 51)
    assert surface.not_finite == 0
    for split in ("test", "train"):
        data = request.data.model_copy(update={"split": split, "examples": None})
        evaluator = Evaluator(request.model_copy(update={"data": data}), tensors, load_dataset(data.dataset, split, Path()))
        own = evaluator.own_loss()
        assert 100 * own.correct[0] / own.examples[0] == pytest.approx(about[f"{split}_accuracy"], abs=0.05)
    assert surface.loss[25, 25] == pytest.approx(own.loss_sum[0] / own.examples[0], rel=1e-5)
    corners = evaluator.tally([(0, 0), (50, 50)], 0, evaluator.examples)
    np.testing.assert_allclose(corners.loss_sum / 3000, surface.loss[[0, 50], [0, 50]], rtol=1e-5)
