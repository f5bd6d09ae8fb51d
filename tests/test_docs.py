"""What docs/python.md, docs/curvature.md and docs/notebook.ipynb show is run, as it stands, in processes of its own."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from landscape_core import formats

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLE_SERVER = "http://127.0.0.1:8050"


def run_script(text: str, folder: Path) -> str:
    """What a script prints, run in a folder of its own."""
    (folder / "script.py").write_text(text)
    command = [sys.executable, "-W", "error", "script.py"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_the_blocks_of_the_page_run_in_their_order(tmp_path, atlas, lossatlas):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / "python.md").read_text(), re.DOTALL | re.MULTILINE)
    assert {language for language, _ in blocks} == {"python", "sh"}
    script = "\n".join(text for language, text in blocks if language == "python").replace(EXAMPLE_SERVER, atlas)
    after = "\nassert len(stages) == 5 and path.is_curve and curve.loss.shape == (1, 41)\nassert model.training\n"
    printed = run_script(script + after, tmp_path).splitlines()
    surface = formats.load(tmp_path / "bowl.npz")
    assert printed[0].split()[0] == str(surface.loss[12, 12])
    assert surface.loss.shape == (25, 25)
    assert surface.loss[12, 12] == np.nanmin(surface.loss)
    assert printed[1].startswith(f"{atlas}/s/")
    for line in "\n".join(text for language, text in blocks if language == "sh").replace(EXAMPLE_SERVER, atlas).splitlines():
        program, *words = shlex.split(line)
        assert program == "lossatlas"
        run = subprocess.run([lossatlas, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
        assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"{atlas}/s/")
    assert formats.load(tmp_path / "net.npz").provenance["code"] == "net.py:build"


def test_the_page_on_curvature_runs(tmp_path):
    (block,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / "curvature.md").read_text(), re.DOTALL | re.MULTILINE)
    after = "\nassert len(found.largest) == 3 and found.parameters == 56 and model.training\n"
    printed = run_script(block + after, tmp_path)
    assert printed.startswith("Loss ")
    assert (tmp_path / "spectrum.png").stat().st_size > 10_000


def test_the_notebook_runs_and_is_kept_without_outputs(tmp_path):
    text = (DOCS / "notebook.ipynb").read_text()
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert len(text) < 10_000
    after = "\nassert [trace.type for trace in surface.figure().data] == ['surface', 'scatter3d']\n"
    printed = run_script("\n".join("".join(cell["source"]) for cell in cells) + after, tmp_path)
    surface = formats.load(tmp_path / "spirals.npz")
    assert surface.loss.shape == (25, 25)
    assert surface.loss[12, 12] < 0.1 < np.nanmax(surface.loss)
    assert f"{surface.accuracy[12, 12]:.1f} % right" in printed
