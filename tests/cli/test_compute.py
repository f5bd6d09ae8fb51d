"""`lossatlas compute`, as its user runs it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from landscape_core import formats
from landscape_core.catalogue import preprocessings
from landscape_core.requests import Axis, FileDirection, HessianDirection, PrincipalDirection, RandomDirection, TowardsDirection
from landscape_core.results import MEASURED
from tests.cli.running import REFERENCE, lossatlas, mlp_tensors, needs_reference, save_mlp

SAMPLE = ("--dataset", "fashion-mnist-sample", "--examples", 200)


def _own_loss(tensors: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in percent of a ReLU perceptron, in float64 and without torch."""
    h = images.reshape(len(images), -1).astype(np.float64)
    layers = sorted({name.rpartition(".")[0] for name in tensors})
    for layer in layers:
        h = h @ tensors[f"{layer}.weight"].T.astype(np.float64) + tensors[f"{layer}.bias"]
        h = h if layer == layers[-1] else np.maximum(h, 0)
    top = h.max(axis=1)
    losses = top + np.log(np.exp(h - top[:, None]).sum(axis=1)) - h[np.arange(len(h)), labels]
    return float(losses.mean()), 100 * float((h.argmax(axis=1) == labels).mean())


@pytest.fixture
def digits(tmp_path):
    """A data set of 300 random images in an `.npz`, with a test split."""
    random = np.random.default_rng(5)
    x, y = random.integers(0, 256, (300, 6, 5), np.uint8), random.integers(0, 4, 300)
    np.savez(tmp_path / "digits.npz", x=x, y=y, x_test=x[:40], y_test=y[:40])
    return tmp_path / "digits.npz"


def test_a_small_network_on_the_shipped_sample(tmp_path):
    checkpoint = save_mlp(tmp_path / "net.safetensors")
    out = tmp_path / "surface.npz"
    words = (
        "compute",
        checkpoint,
        "--architecture",
        "mlp",
        *SAMPLE,
        "--preprocessing",
        "fashion-mnist",
        "--grid",
        "-1:1:5x-.5:1:4",
    )
    run = lossatlas(*words, "--out", out)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"Wrote {out}: 5 x 4 cells, the checkpoint's own loss ")
    surface = formats.load(out)
    assert (surface.state == MEASURED).all()
    assert (surface.examples == 200).all()
    request = surface.request
    assert request is not None
    assert request.checkpoint == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert (request.data.dataset, request.data.examples, request.data.seed) == ("fashion-mnist-sample", 200, 0)
    assert request.plane.x == RandomDirection(seed=1)
    assert request.grid.y == Axis(start=-0.5, stop=1, points=4)
    assert surface.loss[1, 2] == pytest.approx(surface.provenance["own_loss"], rel=1e-12)
    again = lossatlas(*words, "--out", tmp_path / "again.npz")
    assert again.returncode == 0
    np.testing.assert_array_equal(formats.load(tmp_path / "again.npz").loss, surface.loss)


def test_metrics_are_counted_on_request(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 12, 4))
    words = ("compute", checkpoint, "--dataset", digits, "--curve", "--grid", "-1:1:3", "--out", tmp_path / "curve.json")
    run = lossatlas(*words, "--metrics", "class_accuracy")
    assert run.returncode == 0, run.stderr
    curve = formats.load(tmp_path / "curve.json")
    assert list(curve.quantities) == [f"class_accuracy_{c}" for c in range(4)]
    with np.load(digits) as data:
        mean = sum(curve.quantities[f"class_accuracy_{c}"] * (data["y"] == c).mean() for c in range(4))
    np.testing.assert_allclose(mean, curve.accuracy, atol=1e-9)
    for given, sentence in (("top5", "has 4 classes, of which five are nearly all"), ("top3", "There is no metric 'top3'")):
        refused = lossatlas(*words, "--metrics", given)
        assert (refused.returncode, sentence in refused.stderr) == (2, True)


def test_a_fast_surface_says_how_sure_it_is(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 12, 4))
    words = ("compute", checkpoint, "--dataset", digits, "--grid", "-1:1:13x-1:1:13")
    run = lossatlas(*words, "--budget", "fast", "--tolerance", 0.02, "--out", tmp_path / "fast.npz")
    assert run.returncode == 0, run.stderr
    found = formats.load(tmp_path / "fast.npz")
    about = found.provenance["fast"]
    assert (found.request.budget, found.request.tolerance) == ("fast", 0.02)
    assert f", {found.estimated} estimated to " in run.stdout
    assert f" % of the range at {100 * about['cost_share']:.3g} % of the cost, " in run.stdout
    run = lossatlas(*words, "--resume", tmp_path / "fast.npz", "--out", tmp_path / "exact.npz")
    assert f"{about['measured_cells']} cells kept from fast.npz" in run.stdout
    assert (formats.load(tmp_path / "exact.npz").state == MEASURED).all()


def test_the_centre_of_a_curve_is_what_numpy_says(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 12, 8, 4))
    out = tmp_path / "curve.json"
    run = lossatlas(
        *("compute", checkpoint, "--dataset", digits, "--split", "test", "--in-order", "--curve", "--grid", "-2:2:5"),
        *("--mean", "0.25", "--std", "0.5", "--x", "random:9", "--norm", "layer", "--ignore", "none", "--out", out),
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("Architecture: mlp. ")
    curve = formats.load(out)
    with np.load(digits) as data:
        expected = _own_loss(mlp_tensors(widths=(30, 12, 8, 4)), (data["x_test"] / 255 - 0.25) / 0.5, data["y_test"])
    assert curve.is_curve
    assert curve.loss[0, 2] == pytest.approx(expected[0], rel=1e-5)
    assert curve.accuracy[0, 2] == expected[1]
    assert curve.request is not None
    assert curve.request.data.dataset == hashlib.sha256(digits.read_bytes()).hexdigest()
    assert curve.request.plane.y is None
    assert (curve.examples == 40).all()


def test_every_form_holds_the_same_surface(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 6, 4))
    losses = {}
    for suffix in (".npz", ".h5", ".csv", ".json", ".vtp"):
        out = tmp_path / f"surface{suffix}"
        run = lossatlas("compute", checkpoint, "--dataset", digits, "--grid", "-1:1:3x-1:1:2", "--out", out)
        assert run.returncode == 0, run.stderr
        if suffix == ".csv":
            with out.open(newline="") as file:
                losses[suffix] = np.array([float(row["loss"]) for row in csv.DictReader(file)]).reshape(2, 3)
        elif suffix == ".vtp":
            array = next(a for a in ElementTree.parse(out).iter("DataArray") if a.get("Name") == "zvalue")
            losses[suffix] = np.array((array.text or "").split(), float).reshape(2, 3)
        else:
            losses[suffix] = formats.load(out).loss
    for loss in losses.values():
        np.testing.assert_array_equal(loss, losses[".npz"])


def test_what_a_form_cannot_hold_is_kept_in_one_that_can(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 6, 4))
    out = tmp_path / "narrow.stl"
    run = lossatlas("compute", checkpoint, "--dataset", digits, "--grid", "-1:1:3x0:1e-6:3", "--out", out)
    assert (run.returncode, run.stdout) == (2, "")
    assert "too uneven for a .stl" in run.stderr
    assert run.stderr.endswith(f"What was computed is kept in {out}.npz.\n")
    assert not out.exists()
    assert np.isfinite(formats.load(tmp_path / "narrow.stl.npz").loss).all()


def test_a_direction_drawn_and_given_back_as_a_file_gives_the_same_surface(tmp_path, digits):
    from landscape_core.compute import draw, load
    from landscape_core.requests import ArchitectureSpec, Normalisation

    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 6, 4))
    module = load(ArchitectureSpec(name="mlp"), mlp_tensors(widths=(30, 6, 4)))
    x, y = ([t.numpy() for t in draw(RandomDirection(seed=s), module, Normalisation())] for s in (1, 2))
    formats.directions_h5(x, y, tmp_path / "d.h5")
    words = ("compute", checkpoint, "--dataset", digits, "--grid", "-1:1:3x-1:1:2")
    drawn = lossatlas(*words, "--out", tmp_path / "drawn.npz")
    given = lossatlas(
        *words, "--x", f"file:{tmp_path / 'd.h5'}", "--y", f"file:{tmp_path / 'd.h5'}", "--out", tmp_path / "given.npz"
    )
    mixed = lossatlas(*words, "--y", f"file:{tmp_path / 'd.h5'}", "--out", tmp_path / "mixed.npz")
    assert (drawn.returncode, given.returncode, mixed.returncode) == (0, 0, 0), given.stderr + mixed.stderr
    loss = formats.load(tmp_path / "drawn.npz").loss
    np.testing.assert_array_equal(formats.load(tmp_path / "mixed.npz").loss, loss)
    surface = formats.load(tmp_path / "given.npz")
    np.testing.assert_array_equal(surface.loss, loss)
    digest = hashlib.sha256((tmp_path / "d.h5").read_bytes()).hexdigest()
    assert surface.request is not None
    assert surface.request.plane.x == surface.request.plane.y == FileDirection(file=digest)


@pytest.mark.slow
@pytest.mark.timeout(1000)
class TestThePaper:
    pytestmark = needs_reference

    def test_resnet56_as_the_original_code_computed_it(self, tmp_path):
        directions = f"file:{REFERENCE / 'original_code/resnet56_7x5.directions.h5'}"
        out = tmp_path / "surface.h5"
        run = lossatlas(
            *("compute", REFERENCE / "paper_checkpoints/resnet56.t7", "--architecture", "resnet56"),
            *("--dataset", REFERENCE / "cifar10/train_20000.npz", "--preprocessing", "cifar10-li2018"),
            *("--examples", 500, "--in-order", "--x", directions, "--y", directions, "--grid", "-1:1:3x-1:1:5", "--out", out),
            timeout_s=900,
        )
        assert (run.returncode, run.stderr) == (0, "")
        with h5py.File(REFERENCE / "original_code/resnet56_7x5.surface.h5") as theirs, h5py.File(out) as ours:
            for name, rtol in (("train_loss", 2e-5), ("train_acc", 1e-12)):
                recorded = theirs[name][:].ravel().reshape(5, 7)[:, ::3]  # as the original fills its arrays
                assert ours[name].shape == (3, 5)
                np.testing.assert_allclose(ours[name][:].ravel().reshape(5, 3), recorded, rtol=rtol, atol=0)
        surface = formats.load(out)
        assert surface.loss.shape == (5, 3)
        assert surface.loss[2, 1] == pytest.approx(5.517092947848141e-4, rel=1e-4)

    def test_states_move_the_running_statistics_along_a_curve(self, tmp_path):
        out = tmp_path / "curve.npz"
        run = lossatlas(
            *("compute", REFERENCE / "paper_checkpoints/resnet56.t7", "--dataset", REFERENCE / "cifar10/train_20000.npz"),
            *("--preprocessing", "cifar10-li2018", "--examples", 500, "--in-order", "--curve", "--grid", "-1:1:9"),
            *("--x", f"file:{REFERENCE / 'original_code/resnet56_states_1d.directions.h5'}"),
            *("--of", "states", "--ignore", "none", "--out", out),
            timeout_s=900,
        )
        assert run.returncode == 0, run.stderr
        theirs, ours = formats.load(REFERENCE / "original_code/resnet56_states_1d.surface.h5"), formats.load(out)
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=2e-5, atol=0)
        np.testing.assert_allclose(ours.accuracy, theirs.accuracy, rtol=1e-12, atol=0)


def _started(folder, *words: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    environment = os.environ | {"TMPDIR": str(folder), "LOSSATLAS_THREADS": "1"}
    words = (sys.executable, "-m", "cli.main", "compute", *words)
    return subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_quietly_and_leaves_nothing(tmp_path, number):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(784, 512, 512, 10))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    out = tmp_path / "surface.npz"
    run = _started(temporary, checkpoint, *SAMPLE[:2], "--grid", "-1:1:501x-1:1:501", "--out", out)
    assert run.stderr is not None
    assert run.stderr.readline().startswith("Architecture: mlp")  # said once something has been computed
    assert len(list(temporary.iterdir())) == 1
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in said
    assert "lossatlas: " not in said
    assert not out.exists()
    assert list(temporary.iterdir()) == []


def test_a_bar_is_drawn_only_where_someone_looks(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 6, 4))
    outer, inner = pty.openpty()
    words = ("--architecture", "mlp", "--dataset", digits, "--preprocessing", "none", "--grid", "-1:1:5x-1:1:5")
    shown = ""
    with _started(tmp_path, checkpoint, *words, "--out", tmp_path / "a.npz", stderr=inner) as run:
        os.close(inner)
        with contextlib.suppress(OSError):  # EIO: the other side has closed
            while True:
                shown += os.read(outer, 1 << 16).decode()
    os.close(outer)
    assert run.returncode == 0
    assert "Computing" in shown
    assert "100%" in shown


def test_what_was_left_open_is_said(tmp_path):
    checkpoint = save_mlp(tmp_path / "net.safetensors")
    run = lossatlas("compute", checkpoint, *SAMPLE, "--grid", "-1:1:1x-1:1:1", "--out", tmp_path / "a.json")
    assert run.returncode == 0
    first, second = run.stderr.splitlines()
    assert first.startswith("Architecture: mlp. ")
    assert second == "Preprocessing: fashion-mnist, as usual for Fashion-MNIST sample (--preprocessing takes another)."
    request = json.loads((tmp_path / "a.json").read_text())["request"]
    assert request["data"]["preprocessing"] == "fashion-mnist"
    assert "fashion-mnist" in preprocessings()


def test_a_plane_through_three_checkpoints(tmp_path, digits):
    files = [save_mlp(tmp_path / f"{seed}.safetensors", seed, (30, 6, 4)) for seed in range(3)]
    words = ("compute", files[0], "--dataset", digits, "--out", tmp_path / "a.npz", "--grid", "0:1:3x0:1:2")
    run = lossatlas(*words, "--x", f"towards:{files[1]}", "--y", f"towards:{files[2]}")
    assert run.returncode == 0, run.stderr
    surface = formats.load(tmp_path / "a.npz")
    with np.load(digits) as data:
        for seed, cell in enumerate([(0, 0), (0, 2), (1, 0)]):
            loss, accuracy = _own_loss(mlp_tensors(seed, (30, 6, 4)), data["x"] / 255, data["y"])
            assert surface.loss[cell] == pytest.approx(loss, rel=1e-5)
            assert surface.accuracy[cell] == pytest.approx(accuracy, abs=0.5)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert surface.request is not None
    assert surface.request.checkpoint == digests[0]
    assert surface.request.plane.x == TowardsDirection(checkpoint=digests[1])
    assert surface.request.plane.y == TowardsDirection(checkpoint=digests[2])


def test_a_training_run_is_shown_on_its_principal_directions(tmp_path, digits):
    """The way is known: along one line, so that one direction has all of it, and the places are in its units."""
    end = mlp_tensors(0, (30, 6, 4))
    way = {name: array * (array.ndim > 1) for name, array in mlp_tensors(1, (30, 6, 4)).items()}
    way_length = np.sqrt(sum(np.sum(array.astype(np.float64) ** 2) for array in way.values()))
    files = []
    for share in (3, 2, 1, 0):
        files.append(tmp_path / f"epoch_{9 - share}.safetensors")
        save_file({name: array + np.float32(share / 4) * way[name] for name, array in end.items()}, files[-1])
    words = ("compute", files[-1], "--dataset", digits, "--out", tmp_path / "a.npz", "--grid", "-1:1:3", "--curve")
    run = lossatlas(*words, "--x", "principal:1", "--checkpoints", *files)
    assert run.returncode == 0, run.stderr
    surface = formats.load(tmp_path / "a.npz")
    digests = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert surface.request is not None
    assert surface.request.plane.x == PrincipalDirection(index=1, checkpoints=digests)
    about = surface.provenance["trajectory"]
    assert about["checkpoints"] == list(digests)
    assert about["explained_variance_ratio"] == pytest.approx([1.0])
    sign = np.sign(about["coordinates"][0][0])
    np.testing.assert_allclose(np.ravel(about["coordinates"]) * sign / way_length, [0.75, 0.5, 0.25, 0], atol=1e-6)
    assert max(about["off_plane"]) < 1e-4
    words = ("compute", files[-1], "--checkpoints", *files[:3], "--dataset", digits, "--out", tmp_path / "b.json")
    run = lossatlas(*words, "--grid", "-1:1:3x-1:1:2")
    assert run.returncode == 0, run.stderr
    surface = formats.load(tmp_path / "b.json")
    assert surface.request is not None
    assert surface.request.plane.trajectory == digests[:3]
    assert [len(place) for place in surface.provenance["trajectory"]["coordinates"]] == [2] * 4
    run = lossatlas(*words, "--x", "principal:3", "--grid", "-1:1:3x-1:1:2")
    assert run.returncode == 2
    assert "has 1 principal direction, so there is no number 3" in run.stderr


def test_the_directions_of_most_and_least_curvature(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 6, 4))
    words = ("compute", checkpoint, "--dataset", digits, "--out", tmp_path / "a.npz", "--grid", "-0.01:0.01:3x-0.01:0.01:3")
    run = lossatlas(*words, "--x", "hessian:1:300", "--y", "hessian:-1:300", "--architecture", "mlp:activation=tanh")
    assert run.returncode == 0, run.stderr
    surface = formats.load(tmp_path / "a.npz")
    assert surface.request is not None
    assert surface.request.plane.y == HessianDirection(index=-1, examples=300)
    about, loss = surface.provenance["directions"], surface.loss
    assert about["x_eigenvalue"] > 0 > about["y_eigenvalue"]
    assert about["cosine"] == pytest.approx(0, abs=1e-3)
    assert (loss[1, 0] + loss[1, 2] - 2 * loss[1, 1]) / 0.01**2 == pytest.approx(about["x_eigenvalue"], rel=0.02)


def test_both_splits_are_measured_on_one_plane(tmp_path, digits):
    checkpoint = save_mlp(tmp_path / "net.safetensors", widths=(30, 8, 4))
    words = (
        "compute",
        checkpoint,
        "--architecture",
        "mlp",
        "--dataset",
        digits,
        "--preprocessing",
        "none",
        "--grid",
        "-1:1:4x-1:1:3",
    )
    run = lossatlas(*words, "--examples", 40, "--split", "both", "--out", tmp_path / "both.h5")
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split(": ")[1].split(",")[0] for line in run.stdout.splitlines()] == ["train", "test"]
    for split in ("train", "test"):
        assert lossatlas(*words, "--examples", 40, "--split", split, "--out", tmp_path / f"{split}.npz").returncode == 0
        alone, of_both = formats.load(tmp_path / f"{split}.npz"), formats.load(tmp_path / "both.h5", split)
        np.testing.assert_array_equal(of_both.loss, alone.loss)
        np.testing.assert_array_equal(of_both.accuracy, alone.accuracy)
        assert of_both.request == alone.request
    too_many = lossatlas(*words, "--examples", 200, "--split", "both", "--out", tmp_path / "more.npz")
    assert too_many.returncode == 2
    assert too_many.stderr.count("\n") == 1
    hessian = lossatlas(*words, "--x", "hessian:1", "--split", "both", "--out", tmp_path / "more.npz")
    assert (hessian.returncode, hessian.stderr.startswith("lossatlas: Hessian directions are those of one split's loss")) == (
        2,
        True,
    )
    assert not list(tmp_path.glob("more*"))


def test_batch_norm_is_re_estimated_on_a_plane_at_right_angles_in_bfloat16(tmp_path):
    random = np.random.default_rng(2)
    shapes = {"conv.weight": (4, 1, 3, 3), "conv.bias": (4,), "fc.weight": (10, 4 * 13 * 13), "fc.bias": (10,)}
    tensors = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {f"bn.{part}": random.uniform(0.5, 1.5, 4).astype(np.float32) for part in ("weight", "bias", "running_var")}
    save_file(tensors | {"bn.running_mean": np.zeros(4, np.float32)}, tmp_path / "net.safetensors")
    out, words = tmp_path / "a.npz", ("--dataset", "fashion-mnist-sample", "--examples", 60, "--grid", "-1:1:3x-1:1:3")
    run = lossatlas(
        *("compute", tmp_path / "net.safetensors", *words, "--norm", "weight", "--orthogonal"),
        *("--batch-norm", "reestimated", "--precision", "bfloat16", "--out", out),
    )
    assert run.returncode == 0, run.stderr
    surface = formats.load(out)
    assert (surface.request.precision, surface.provenance["precision_check"]["examples"]) == ("bfloat16", 60)
    assert 0 < surface.provenance["precision_check"]["largest_relative_difference"] < 0.1
    assert (surface.request.plane.orthogonal, surface.request.batch_norm) == (True, "reestimated")
    assert surface.provenance["batch_norm_examples"] == 60
    assert abs(surface.provenance["directions"]["cosine"]) < 1e-7
    assert surface.loss[1, 1] != pytest.approx(surface.provenance["own_loss"], rel=1e-3)
