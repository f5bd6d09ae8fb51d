"""`--checkpoints run.zip` and `lossatlas inspect run.zip`: a run in one file is the run in its files."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from .running import REFERENCE, lossatlas, needs_reference


@pytest.fixture
def run(tmp_path):
    """A zip file, and its checkpoints in order: of a real training run of a small network."""
    files = sorted((REFERENCE / "trajectory_mnist_cnn_margin").glob("epoch_*.pt"))[-3:]
    with zipfile.ZipFile(tmp_path / "run.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in reversed(files):
            archive.write(file, f"run/{file.name.replace('epoch_0', 'epoch_')}")
        archive.writestr("run/best.pt", files[-1].read_bytes())
        archive.writestr("README.md", "how")
    return tmp_path / "run.zip", files


@needs_reference[0]
@needs_reference[1]
def test_the_way_of_a_zipped_run_is_that_of_its_files(run, tmp_path):
    packed, files = run
    for out, given in (("zip.json", [packed]), ("files.json", files)):
        answer = lossatlas("project", files[-1], "--checkpoints", *given, "--out", tmp_path / out)
        assert answer.returncode == 0, answer.stderr
        left_out = "run.zip: run/best.pt is left out. It has the same bytes as run/epoch_10.pt, which stands for both."
        assert (left_out in answer.stderr) == (given == [packed])
    zipped, plain = (json.loads((tmp_path / out).read_text()) for out in ("zip.json", "files.json"))
    np.testing.assert_array_equal(zipped["coordinates"], plain["coordinates"])
    assert zipped["checkpoints"] == plain["checkpoints"]
    assert zipped["names"] == [file.name.replace("epoch_0", "epoch_") for file in files]


@needs_reference[0]
@needs_reference[1]
def test_inspect_says_what_became_of_each_file(run):
    packed, files = run
    answer = lossatlas("inspect", packed)
    assert answer.returncode == 0, answer.stderr
    assert "run.zip: a run of 3 checkpoints in a zip file" in answer.stdout
    assert answer.stdout.index("run/epoch_9.pt") < answer.stdout.index("run/epoch_10.pt  ")
    assert "--checkpoints" in answer.stdout
    info = json.loads(lossatlas("inspect", packed, "--json").stdout)
    assert [member["state"] for member in info["members"]] == ["rejected", *["ready"] * len(files)]


def test_a_zip_without_checkpoints_is_refused_in_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr("a.pt", "text")
    for arguments in (("inspect", tmp_path / "run.zip"), ("inspect", tmp_path / "run.zip", "--json")):
        answer = lossatlas(*arguments)
        assert answer.returncode == 2
        assert answer.stderr.startswith("lossatlas: None of its files can be used as a checkpoint. a.pt: The file is not")
