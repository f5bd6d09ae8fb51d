"""Every public function and class of the core says what it does by an example that runs, and names the errors it raises."""

from __future__ import annotations

import ast
import doctest
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import landscape_core
from landscape_core import (
    basin,
    catalogue,
    compute,
    estimate,
    flatness,
    formats,
    plane_curvature,
    projection,
    quantities,
    reading,
    refinement,
)

LISTED = (landscape_core, compute, catalogue, reading)
"""What these list in `__all__` is public."""

WHOLE = (formats, estimate, quantities, flatness, basin, projection, plane_curvature, refinement)
"""Of these all that is defined there and has no underscore before its name."""

SECTIONS = ("Attributes:", "Args:", "Returns:", "Raises:", "Example:")


def names(module: ModuleType) -> list[str]:
    if module in LISTED:
        return list(module.__all__)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in own if not name.startswith("_")]


def public() -> dict[str, object]:
    """Each function and class once, by the first name that it is public under."""
    found: dict[int, tuple[str, object]] = {}
    for module in (*LISTED, *WHOLE):
        for name in names(module):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return dict(found.values())


PUBLIC = public()


def documentation(name: str) -> str:
    return inspect.cleandoc(PUBLIC[name].__doc__ or "")


def raised(value: object) -> Iterator[str]:
    """Names of the errors that a function, or a class when it is made, raises by itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    for node in ast.walk(tree.body[0]):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            error = vars(sys.modules[value.__module__]).get(ast.unparse(node.exc.func))
            if inspect.isclass(error):
                yield error.__name__


def parameters(value: object) -> list[str]:
    return [name for name in inspect.signature(value).parameters if name not in {"self", "cls"}]


def test_enough_is_public_for_this_to_mean_something():
    assert len(PUBLIC) > 110
    assert {"landscape_core.landscape", "landscape_core.compute.draw", "landscape_core.formats.save"} <= PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_its_example_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, home = documentation(name), sys.modules[PUBLIC[name].__module__]
    known = {**vars(home), "np": np, "torch": torch, "Path": Path}
    example = doctest.DocTestParser().get_doctest(text, known, name, None, None)
    assert example.examples, "it has no example"
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_its_docstring_is_whole(name):
    text, value = documentation(name), PUBLIC[name]
    at = [text.index(f"\n{section}\n") for section in SECTIONS if f"\n{section}\n" in text]
    assert at == sorted(at), f"sections stand in the order {', '.join(SECTIONS)}"
    if inspect.isclass(value):
        return
    assert not [error for error in raised(value) if f"{error}:" not in text], "an error that it raises is not named"
    if parameters(value):
        told = text[text.index("\nArgs:\n") :] if "\nArgs:\n" in text else ""
        assert [given for given in parameters(value) if f"\n    {given}: " not in told] == []
