"""Bad arguments and bad input: exit code 2, one sentence on stderr, nothing on stdout, nothing written."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from cli.stopping import stopped_by_sigterm
from landscape_core import formats
from tests.cli.running import REFERENCE, lossatlas, measured, needs_reference, save_mlp

SAMPLE = ("--dataset", "fashion-mnist-sample", "--examples", "50", "--grid", "-1:1:3x-1:1:3")


@pytest.fixture
def refused(capfd, tmp_path):
    """Runs a command that must be refused, and gives the sentence."""

    def run(*words: object, code: int = 2) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main([str(word) for word in words]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("lossatlas: ")
        assert err.endswith((".\n", "?\n", ")\n"))
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert "Internal error" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


@pytest.fixture
def mlp(tmp_path) -> Path:
    return save_mlp(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--grid", "-1:1:0x-1:1:5"), "from 1 to 501, but 0 came"),
        (("--grid", "-1:1:5x-1:1:10000"), "along y should be from 1 to 501, but 10,000 came"),
        (("--grid", "-1:1:abcx-1:1:5"), "a whole number from 1 to 501, but 'abc' came"),
        (("--grid", "1:-1:5x-1:1:5"), "1 is not below -1"),
        (("--grid", "1:1.0000000000000002:5x-1:1:2"), "The x axis cannot be used: 5 points do not fit between 1.0 and"),
        (("--grid", ""), "--grid takes two axes"),
        (("--grid",), "Option '--grid' requires an argument"),
        (
            ("--x", "sideways:1"),
            "--x takes random:SEED, towards:CHECKPOINT, principal:NUMBER, hessian:NUMBER or file:DIRECTIONS.h5, but 'sideways:1' came",
        ),
        (("--x", "towards:none.pt"), "There is no file none.pt"),
        (("--y", "hessian:0"), "--y hessian:NUMBER counts from 1 (the largest eigenvalue) or from -1 (the smallest)"),
        (("--y", "hessian:1:0"), "--y hessian:NUMBER:EXAMPLES needs a whole number from 1 to 100000000, but '0' came"),
        (("--x", "hessian:21"), "--x hessian:NUMBER needs a whole number from -20 to 20, but '21' came"),
        (("--x", "file:none.h5"), "There is no file none.h5"),
        (("--y", "random:1"), "give them different seeds"),
        (("--curve", "--y", "random:3"), "leave out either --y or --curve"),
        (("--curve", "--orthogonal"), "leave out either --orthogonal or --curve"),
        (("--batch-norm", "reestimated"), "This mlp has no batch norm, so there is nothing to re-estimate"),
        (("--batch-norm", "reestimated", "--of", "states"), "leave out either --batch-norm or --of states"),
        (("--batch-norm", "reestimated", "--curvature", "8"), "leave out either --batch-norm or --curvature"),
        (("--precision", "tf32"), "TF32 is of CUDA devices, but the network is evaluated on cpu; choose precision float32"),
        (("--precision", "bfloat16", "--curvature", "8"), "leave out either --precision or --curvature"),
        (("--precision", "half"), "Invalid value for '--precision'"),
        (("--batch-norm", "moved"), "Invalid value for '--batch-norm'"),
        (("--dataset", "imagenet"), "There is no data set 'imagenet'"),
        (("--dataset", "none.npz"), "There is no file none.npz"),
        (("--architecture", "resnet57"), "There is no architecture 'resnet57'"),
        (("--architecture", "mlp:activation=cosine"), "option activation is one of"),
        (("--architecture", ""), "--architecture takes NAME"),
        (("--architecture", "mine.py:build"), "There is no file mine.py"),
        (("--architecture", "resnet56"), "The checkpoint does not fit resnet56"),
        (("--preprocessing", "guess"), "There is no preprocessing 'guess'"),
        (("--preprocessing", "cifar10"), "3 channels"),
        (("--preprocessing", "mnist", "--mean", "0", "--std", "1"), "either --preprocessing or --mean and --std"),
        (("--mean", "0"), "--mean and --std belong together"),
        (("--examples", "0"), "Invalid value for '--examples'"),
        (("--examples", "2999999"), "ask for at most"),
        (("--in-order", "--seed", "4"), "--in-order takes no permutation"),
        (("--loss", "hinge"), "Invalid value for '--loss': 'hinge' is not one of"),
        (("--norm", "batch"), "Invalid value for '--norm'"),
        (("--split", "validation"), "Invalid value for '--split'"),
        (("--budget", "quick"), "Invalid value for '--budget'"),
        (("--tolerance", "0.01"), "add --budget fast"),
        (("--budget", "fast", "--tolerance", "nan"), "--tolerance takes a share of the range from 0.0001 to 0.2, but nan came"),
        (("--budget", "fast", "--curvature", "9"), "estimates losses, not eigenvalues"),
        (("--checkpoints", "a.pt", "b.pt"), "There is no file a.pt"),
        (("--checkpoints",), "Option '--checkpoints' requires an argument"),
        (("--x", "principal:1"), "name its files after --checkpoints"),
        (("--x", "principal:0"), "--x principal:NUMBER needs a whole number from 1 to 1000, but '0' came"),
        (("--resolution", "51"), "No such option '--resolution'"),
    ],
)
def test_arguments(mlp, tmp_path, refused, words, sentence):
    assert sentence in refused("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz", *words)


@pytest.mark.parametrize("name", ["a.vtk", "a.gltf", "a", "none/a.npz", "folder.npz", "n" * 300 + ".npz"])
def test_places_to_write_to(mlp, tmp_path, refused, name):
    (tmp_path / "folder.npz").mkdir()
    sentence = refused("compute", mlp, *SAMPLE, "--out", tmp_path / name)
    assert ("--out takes a file" in sentence) or ("Nothing can be written to" in sentence)


@pytest.mark.parametrize("words", [("--curve", "--grid", "-1:1:5"), ("--grid", "-1:1:5x0:0:1"), ("--grid", "0:0:1x-1:1:5")])
@pytest.mark.parametrize("name", ["a.stl", "a.GLB"])
def test_curves_are_no_solids(mlp, tmp_path, refused, words, name):
    sentence = refused("compute", mlp, *SAMPLE[:4], *words, "--out", tmp_path / name)
    assert f"--out takes {name[1:]} for grids of at least 2 x 2 points: a curve has no area" in sentence


def test_what_is_not_converted(tmp_path, refused):
    def converted(*words: object) -> str:
        return refused("convert", *words)

    source, curve, text = tmp_path / "bowl.npz", tmp_path / "curve.json", tmp_path / "text.npz"
    surface = measured(3, 3)
    formats.save(surface, source)
    formats.save(measured(3, None), curve)
    text.write_text("no surface")
    assert "There is no file" in converted(tmp_path / "none.npz", tmp_path / "a.vtp")
    assert "is a folder; name the file in it" in converted(tmp_path, tmp_path / "a.vtp")
    assert "OUT takes a file that ends in .npz, .h5, .csv" in converted(source, tmp_path / "a.obj")
    assert "OUT would overwrite" in converted(source, source)
    assert "The file is no surface file" in converted(text, tmp_path / "a.vtp")
    for name in ("a.npz", "a.h5", "a.csv", "a.json", "a.png"):
        assert f"A {name[1:]} holds what was measured" in converted(source, tmp_path / name, "--log")
        assert "are for .vtp, .stl and .glb" in converted(source, tmp_path / name, "--max-loss", "1")
    assert "needs at least 2 x 2 cells: a curve has no area" in converted(curve, tmp_path / "a.stl")
    assert "should be a finite number, but nan came" in converted(source, tmp_path / "a.vtp", "--max-loss", "nan")
    assert "Invalid value for '--max-loss'" in converted(source, tmp_path / "a.vtp", "--max-loss", "high")
    assert "needs losses above -0.1, but -1 occurs" in converted(source, tmp_path / "a.glb", "--log")
    assert "Missing argument 'OUT'" in converted(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(mlp, tmp_path, refused):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "Nothing can be written" in refused("compute", mlp, *SAMPLE, "--out", locked / "a.npz")


def test_a_child_that_cannot_write_is_one_sentence_too(mlp, tmp_path):
    words = [sys.executable, "-m", "cli.main", "compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz"]
    limited = ["bash", "-c", 'ulimit -f 2; exec "$@"', "-", *map(str, words)]
    run = subprocess.run(limited, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 2
    assert run.stdout == ""
    (sentence,) = run.stderr.splitlines()
    assert sentence.startswith("lossatlas: ")


@stopped_by_sigterm()
def _told_to_stop_in_a_library() -> None:
    with contextlib.suppress(Exception):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def test_sigterm_is_no_error_of_a_library():
    with pytest.raises(KeyboardInterrupt):
        _told_to_stop_in_a_library()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_missing_files(tmp_path, refused):
    assert "There is no file" in refused("inspect", tmp_path / "none.pt")
    assert "There is no file" in refused("compute", tmp_path / "none.pt", *SAMPLE, "--out", tmp_path / "a.npz")
    assert "Missing argument 'FILE'" in refused("inspect")
    assert "No such command 'fly'" in refused("fly")


def test_a_misspelt_variable(mlp, tmp_path, refused, monkeypatch):
    monkeypatch.setenv("LOSSATLAS_THREAD", "2")
    assert "LOSSATLAS_THREAD is no setting" in refused("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")


def test_a_variable_that_is_no_number(mlp, tmp_path, refused, monkeypatch):
    monkeypatch.setenv("LOSSATLAS_THREADS", "many")
    assert "LOSSATLAS_THREADS" in refused("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")


def test_a_device_that_is_not_there(mlp, tmp_path, refused, monkeypatch):
    monkeypatch.setenv("LOSSATLAS_DEVICE", "cuda:77")
    assert "There is no device 'cuda:77'" in refused("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")


def test_a_truncated_checkpoint(mlp, tmp_path, refused):
    mlp.write_bytes(mlp.read_bytes()[:-1000])
    refused("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")
    refused("inspect", mlp)


def test_a_checkpoint_that_fits_no_architecture(tmp_path, refused):
    odd = save_mlp(tmp_path / "odd.safetensors", widths=(784, 16, 10))
    from safetensors.numpy import load_file, save_file

    tensors = load_file(odd)
    save_file({"conv.weight": np.zeros((4, 3, 3, 3, 3), np.float32), **tensors}, odd)
    assert "No catalogued architecture" in refused("compute", odd, *SAMPLE, "--out", tmp_path / "a.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((60, 27, 28), np.uint8), "y": np.zeros(60, int)},
        {"x": np.zeros((60, 28, 28), np.uint8), "y": np.zeros(59, int)},
        {"x": np.zeros((60, 28, 28), np.uint8), "y": np.full(60, 10)},
        {"x": np.zeros((60, 28, 28), np.uint8)},
        {"x": np.array([None] * 60), "y": np.zeros(60, int)},
    ],
    ids=["shape", "labels", "classes", "no labels", "objects"],
)
def test_data_sets_of_the_wrong_shape(mlp, tmp_path, refused, arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    words = ("--dataset", tmp_path / "data.npz", "--examples", "50", "--grid", "-1:1:3x-1:1:3")
    refused("compute", mlp, *words, "--out", tmp_path / "a.npz")


def test_a_data_set_without_the_split(mlp, tmp_path, refused):
    np.savez(tmp_path / "data.npz", x=np.zeros((60, 28, 28), np.uint8), y=np.zeros(60, int))
    words = ("--dataset", tmp_path / "data.npz", "--split", "test", "--out", tmp_path / "a.npz")
    assert "no test split" in refused("compute", mlp, *words)


def test_direction_files_that_do_not_belong(mlp, tmp_path, refused):
    from landscape_core.formats import directions_h5

    directions_h5([np.zeros((3, 3), np.float32)], None, tmp_path / "d.h5")
    (tmp_path / "text.h5").write_text("no")
    words = ("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")
    assert "no ydirection" in refused(*words, "--x", f"file:{tmp_path / 'd.h5'}", "--y", f"file:{tmp_path / 'd.h5'}")
    assert "tensors" in refused(*words, "--x", f"file:{tmp_path / 'd.h5'}")
    refused(*words, "--x", f"file:{tmp_path / 'text.h5'}")


class TestReferenceRefusals:
    pytestmark = needs_reference

    @pytest.mark.parametrize("name", ["git_lfs_pointer.pt", "torchscript.jit"])
    def test_are_refused_by_both_commands(self, name, tmp_path, refused):
        first = refused("inspect", REFERENCE / "refuse" / name)
        assert refused("compute", REFERENCE / "refuse" / name, *SAMPLE, "--out", tmp_path / "a.npz") == first

    def test_lightning_is_read_but_nothing_fits(self, tmp_path, refused):
        file = REFERENCE / "refuse/lightning_attributedict.ckpt"
        assert "No catalogued architecture" in refused("compute", file, *SAMPLE, "--out", tmp_path / "a.npz")

    def test_wrong_architecture_and_data_for_the_paper_s_network(self, tmp_path, refused):
        words = ("compute", REFERENCE / "paper_checkpoints/resnet56.t7", "--out", tmp_path / "a.npz")
        data = REFERENCE / "cifar10/test_1000.npz"
        assert "does not fit resnet20" in refused(*words, "--dataset", data, "--architecture", "resnet20")
        assert "3 channels" in refused(*words, "--dataset", "fashion-mnist-sample", "--architecture", "resnet56")


def test_the_installed_process_refuses_alike(mlp, tmp_path):
    run = lossatlas("compute", mlp, *SAMPLE[:4], "--grid", "-1:1:0x-1:1:5", "--out", tmp_path / "a.npz")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "lossatlas: The number of points along x should be from 1 to 501, but 0 came.\n"


def test_a_bug_is_one_line_unless_its_traceback_is_asked_for(mlp, tmp_path, capfd, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr("cli.inspecting._inspected", broken)
    assert main(["inspect", str(mlp)]) == 1
    assert capfd.readouterr().err.startswith("lossatlas: Internal error, ZeroDivisionError: a bug in two lines (")
    assert main(["--traceback", "inspect", str(mlp)]) == 1
    assert "Traceback (most recent call last)" in capfd.readouterr().err


def test_without_a_command_the_help_is_shown(capfd):
    assert main([]) == 2
    assert "Usage: lossatlas" in capfd.readouterr().err
    assert main(["--help"]) == 0
    assert main(["compute", "--help"]) == 0
    assert "--architecture" in capfd.readouterr().out


def test_out_never_overwrites_what_it_is_computed_from(refused, mlp, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.integers(0, 256, (9, 28, 28), np.uint8), y=np.arange(9) % 10)
    before = (tmp_path / "data.npz").read_bytes()
    words = ("compute", mlp, "--dataset", tmp_path / "data.npz", "--grid", "-1:1:3x-1:1:3", "--out", tmp_path / "data.npz")
    assert "--out would overwrite" in refused(*words)
    assert (tmp_path / "data.npz").read_bytes() == before


def test_a_folder_is_not_called_absent(refused, tmp_path):
    assert "is a folder; name the file in it" in refused("inspect", tmp_path)
    assert "is a folder; name the file in it" in refused("compute", tmp_path, *SAMPLE, "--out", tmp_path / "a.npz")


def test_a_server_that_is_no_address_is_a_bad_argument(refused, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    assert "The server is an address" in refused("push", tmp_path / "a.npz", "--server", "http://[::1")


def test_other_checkpoints_that_do_not_belong(mlp, tmp_path, refused):
    other = save_mlp(tmp_path / "wide.safetensors", widths=(784, 17, 10))
    (tmp_path / "text.pt").write_text("no")
    words = ("compute", mlp, *SAMPLE, "--out", tmp_path / "a.npz")
    assert "wide.safetensors is of another mlp: its layers.0.bias has the shape (17,)" in refused(
        *words, "--x", f"towards:{other}"
    )
    assert "the very checkpoint" in refused(*words, "--y", f"towards:{mlp}")
    refused(*words, "--x", f"towards:{tmp_path / 'text.pt'}")
