"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest
import torch

EXAMPLES = {
    "landscape_core.catalogue.matching": 2,
    "landscape_core.compute.architectures": 1,
    "landscape_core.compute.derivation": 1,
    "landscape_core.compute.directions": 1,
    "landscape_core.compute.lanczos": 4,
    "landscape_core.compute.normalization": 1,
    "landscape_core.compute.own_curvature": 3,
    "landscape_core.compute.own_models": 3,
    "landscape_core.compute.quadrature": 4,
    "landscape_core.notation": 1,
    "landscape_core.refinement": 1,
}


@pytest.mark.parametrize(("module", "at_least"), EXAMPLES.items())
def test_examples_in_docstrings_run(module, at_least):
    result = doctest.testmod(import_module(module), extraglobs={"np": np, "torch": torch})
    assert result.failed == 0
    assert result.attempted >= at_least
