"""`import landscape_core as lc`: light, and every name it promises is there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import landscape_core as lc


def test_every_promised_name_is_there_and_what_it_says():
    assert set(lc._HOMES) == set(lc.__all__)
    for name, home in lc._HOMES.items():
        assert getattr(lc, name) is getattr(import_module(home), name)
        assert name in dir(lc)
    with pytest.raises(AttributeError, match="'landscape_core' has no attribute 'nonsense'"):
        lc.nonsense  # noqa: B018


def test_the_import_is_light_and_only_the_computation_loads_torch():
    code = """
import sys
import landscape_core as lc
light = {"torch", "plotly", "h5py", "httpx", "numpy", "pydantic"} & set(sys.modules)
assert not light, light
lc.Surface, lc.PlaneSpec, lc.load, lc.push
assert "torch" not in sys.modules and "plotly" not in sys.modules
lc.landscape
assert "torch" in sys.modules and not {"plotly", "scipy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
