"""Rules of the house that a machine can hold: layers, bans, sizes, one definition per fact. CONTRIBUTING.md says why."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import AppSettings
from landscape_core.requests import SurfaceRequest
from worker.settings import KNOWN_VARIABLES, WorkerSettings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("landscape_core", "worker", "app", "benchmarks", "cli")
SCRIPTS = ("recipes",)
MANY_LINES = re.compile(r"#.*\blines\b")
"""A comment that says why a file or function is longer than the rule: in the first five lines, or on the `def` line."""


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "versions" in path.parts:  # migrations are written once, as a list of tables
                continue
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(), str(path))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def full_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `from torch import load as l` gives `l` → `torch.load`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tracked(pattern: str = "") -> list[str]:
    found = subprocess.run(["git", "ls-files", "-z", pattern or "."], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in found.stdout.split("\0") if name]


# -- layers ----------------------------------------------------------------------------------------------------------


def test_the_layers_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "modules",
    [
        "app.main app.supervisor app.settings app.services",
        "worker.settings worker.blobs worker.job worker.queue worker.schedule",
        "landscape_core.requests landscape_core.results landscape_core.catalogue landscape_core.estimate",
        "landscape_core.formats landscape_core.reading",
        "landscape_core landscape_core.pushing landscape_core.live_pushing landscape_core.figures",
        "cli.main",
    ],
)
def test_torch_is_loaded_by_none_but_the_computation(modules):
    code = f"import sys, {modules.replace(' ', ', ')}; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr or f"one of {modules} loads torch"


# -- bans ------------------------------------------------------------------------------------------------------------

BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty", "telnetlib"}
BANNED_CALLS = {
    *("torch.load", "torch.jit.load", "torch.export.load", "torch.package.PackageImporter", "torch.hub.load"),
    *("eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"),
    *("pickle.load", "pickle.loads", "numpy.lib.format.open_memmap"),
}
ALLOWED = {("app/leash.py", "os.execv")}


def banned_in(tree: ast.Module) -> Iterator[str]:
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in BANNED_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in BANNED_MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            head, _, rest = dotted(node.func).partition(".")
            called = ".".join(filter(None, (names.get(head, head), rest)))
            if called in BANNED_CALLS or called.startswith(("os.exec", "os.spawn")):
                yield called
            for keyword in node.keywords:
                on = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                if keyword.arg in {"shell", "allow_pickle"} and on:
                    yield f"{called}({keyword.arg}=True)"


def test_nothing_runs_code_from_data():
    found = {(path, what) for path, tree in sources(*PACKAGES, *SCRIPTS) for what in banned_in(tree)}
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('a')",
        "from torch import load as l\nl('a')",
        "import torch.jit as j\nj.load('a')",
        "eval('1')",
        "import yaml\nyaml.load('a')",
        "import subprocess as s\ns.run('a', shell=True)",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
    ],
)
def test_the_ban_sees_every_way_to_write_it(text):
    assert list(banned_in(ast.parse(text)))


ENVIRONMENT_READERS = {
    "cli/material.py": "entry point: names of unknown variables",
    "app/settings.py": "settings",
    "app/supervisor.py": "passes it on to the workers",
    "app/valkey.py": "passes it on to Valkey",
    "benchmarks/system.py": "passes it on to what it starts",
    "worker/settings.py": "settings",
    "worker/main.py": "entry point: names of unknown variables",
}


def test_the_environment_is_read_at_the_entry_points_alone():
    readers = {
        path
        for path, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.getenv", "os.environb"}
    }
    assert readers - set(ENVIRONMENT_READERS) == set()


def test_what_is_caught_whole_is_caught_at_an_edge():
    """`except Exception` stands where a job ends, an HTTP answer begins, or a hostile process has left something."""
    broad = {
        path
        for path, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and dotted(node.type or ast.Name("Exception")) in {"Exception", "BaseException"}
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)  # tidies up and passes it on
    }
    assert broad - EDGES == set()


EDGES = {
    "cli/main.py",
    "cli/own_code.py",
    "cli/library_networks.py",
    "worker/tasks.py",
    "worker/main.py",
    "app/errors.py",
    "app/collector.py",
    "benchmarks/parts.py",
    "landscape_core/reading/inspection.py",
}


# -- sizes and names -------------------------------------------------------------------------------------------------


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, without its docstring and decorators, and without the functions inside it."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= spread(function.body[0])
    inner = [node for node in ast.walk(function) if isinstance(node, FUNCTIONS) and node is not function]
    nested = {node for outer in inner for node in ast.walk(outer) if node is not outer}
    return lines - sum(spread(node) for node in inner if node not in nested)


def spread(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short_enough_to_be_read_at_once():
    long = []
    for path, tree in sources(*PACKAGES, *SCRIPTS, "tests"):
        text = (ROOT / path).read_text().splitlines()
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS) and own_lines(node) > (80 if path.startswith("tests/") else 40):
                above = text[max(0, node.lineno - 2 - len(node.decorator_list)) : node.body[0].lineno]
                if not any(MANY_LINES.search(line) for line in above):
                    long.append(f"{path}:{node.lineno} {node.name} has {own_lines(node)} lines")
    assert long == []


def test_files_are_short_enough_to_be_known():
    long = []
    for path in [name for name in tracked("*.py") if "/migrations/versions/" not in name]:
        lines = (ROOT / path).read_text().splitlines()
        most = 400 if path.startswith("tests/") else 300
        if len(lines) > most and not any(MANY_LINES.search(line) for line in lines[:5]):
            long.append(f"{path} has {len(lines)} lines")
    assert long == []


def test_no_file_has_a_name_that_says_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [name for name in tracked("*.py") if Path(name).stem in empty] == []


# -- one definition per fact -----------------------------------------------------------------------------------------


def literal_ids(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Ids of components that are written as text: `id="…"`, and the first argument of Input, Output and State."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [k.value for k in node.keywords if k.arg in {"id", "component_id"}]
        if dotted(node.func).rpartition(".")[2] in {"Input", "Output", "State"}:
            given += node.args[:1]
        for value in given:
            if isinstance(value, ast.JoinedStr | ast.Dict) or (
                isinstance(value, ast.Constant) and isinstance(value.value, str)
            ):
                yield value.lineno, ast.unparse(value)


def test_ids_are_made_in_one_file():
    found = [f"{path}:{line} {text}" for path, tree in sources("app") for line, text in literal_ids(tree)]
    assert [place for place in found if not place.startswith("app/ids.py:")] == []


DIGEST = "d9398ea2f90c0ee00438e5ee3e76d994d1ae356ab4aeaa9ae8fa226fa7ef7dfa"
REQUEST = {
    "checkpoint": "ab" * 32,
    "architecture": {"name": "resnet56", "options": {}},
    "data": {"dataset": "cifar10", "split": "train", "examples": 10000, "seed": 0, "preprocessing": "cifar10-li2018"},
    "loss": "cross_entropy",
    "plane": {
        "x": {"kind": "random", "seed": 1},
        "y": {"kind": "random", "seed": 2},
        "normalisation": {"norm": "filter", "ignore": "biasbn", "of": "weights"},
    },
    "grid": {"x": {"start": -1, "stop": 1, "points": 51}, "y": {"start": -1, "stop": 1, "points": 51}},
    "budget": "exact",
}


def test_a_request_survives_json_and_keeps_its_id():
    """The digest is the id of every stored surface and link: changing it is a decision, not an accident."""
    request = SurfaceRequest.model_validate(REQUEST)
    assert SurfaceRequest.model_validate_json(request.canonical_json()) == request
    assert request.digest == DIGEST


def test_both_settings_classes_are_in_the_readme_with_their_meaning():
    rows = re.findall(r"^\| `(LOSSATLAS_\w+)` \| (?:.*?) \| (.+?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    table = {name: meaning.replace("`", "") for name, meaning in rows}
    fields = WorkerSettings.model_fields | AppSettings.model_fields
    assert table == {f"LOSSATLAS_{name.upper()}": str(field.description).replace("`", "") for name, field in fields.items()}


def test_both_settings_classes_know_the_same_variables():
    fields = AppSettings.model_fields | WorkerSettings.model_fields
    assert {f"LOSSATLAS_{name.upper()}" for name in fields} | {"LOSSATLAS_REFERENCE"} == KNOWN_VARIABLES


@pytest.mark.parametrize("part", ["up", "web", "worker"])
def test_an_unknown_variable_stops_the_start(part, lossatlas, clean_environment, tmp_path):
    environment = clean_environment | {"LOSSATLAS_THREAD": "2", "LOSSATLAS_DATA": str(tmp_path)}
    result = subprocess.run(
        [lossatlas, part], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "LOSSATLAS_THREAD " in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
