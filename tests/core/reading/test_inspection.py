"""The child process itself: what it may not do, how its end is told, and that its results are not simply believed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_core.errors import CheckpointRejected, DatasetRejected, SurfaceRejected
from landscape_core.formats import load
from landscape_core.reading import inspect_in_child, inspection, read_canonical, recheck, sandbox
from landscape_core.reading.recheck import REPORTS

from .assembler import safetensors
from .torch_files import network, saved


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that has locked itself down first."""
    setup = "from landscape_core.reading.sandbox import lock_down; lock_down(1000, 4);"
    return subprocess.run([sys.executable, "-I", "-c", setup + code], capture_output=True, text=True, check=False)


def test_a_locked_process_gets_no_more_memory():
    assert "MemoryError" in run("bytearray(3 << 30)").stderr


def test_a_locked_process_gets_no_more_than_half_of_the_machine_however_large_its_file():
    code = "import resource as r; from landscape_core.reading import sandbox as s; s.lock_down(1 << 40, 20);"
    code += "print(r.getrlimit(r.RLIMIT_AS)[0], s.machine_memory())"
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    bound, memory = map(int, ended.stdout.split())
    assert bound == max(2 << 30, memory // 2)
    assert memory <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_control_group_bounds_the_memory_too(tmp_path, monkeypatch):
    group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].strip() if Path("/proc/self/cgroup").exists() else None
    if group is None:
        pytest.skip("control groups are a matter of Linux")
    (tmp_path / group).mkdir(parents=True, exist_ok=True)
    (tmp_path / group / "memory.max").write_text("max\n")
    monkeypatch.setattr(sandbox, "_CGROUPS", tmp_path)
    assert sandbox.machine_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (tmp_path / "memory.max").write_text("536870912\n")
    assert sandbox.machine_memory() == 512 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="its order of victims is a matter of Linux")
def test_a_locked_process_is_the_first_to_go_when_memory_runs_out():
    assert run("print(open('/proc/self/oom_score_adj').read())").stdout.strip() == "1000"


def test_a_locked_process_writes_no_large_file(tmp_path):
    ended = run(f"open({str(tmp_path / 'f')!r}, 'wb').write(bytes(100 << 20))")
    assert ended.returncode != 0
    assert (tmp_path / "f").stat().st_size <= 65 << 20


def test_a_locked_process_opens_few_files():
    assert "Too many open files" in run("a = [open('/dev/null') for _ in range(100)]").stderr


def test_a_locked_process_has_little_time_and_leaves_no_core():
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_CPU), r.getrlimit(r.RLIMIT_CORE)[1])"
    assert run(code).stdout.split() == ["(60,", "65)", "0"]


def test_a_locked_process_that_takes_too_long_says_so():
    """The kernel's first signal is the one that has a sentence; it once sent SIGKILL alone, which reads as a lack of memory."""
    code = "from landscape_core.reading import sandbox as s; s._SECONDS = 1; s.lock_down(10, 4)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-I", "-c", code])
    returncode, _ = inspection._wait(process, deadline=time.monotonic() + 60)
    assert "far longer" in inspection._how_it_ended(inspection.Ended(returncode, 0, 1.0, ""))
    assert returncode == -signal.SIGXCPU


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are a matter of Linux")
def test_a_locked_process_sees_no_network_where_the_system_allows_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        allowed = subprocess.run(["unshare", "-U", "-n", "true"], capture_output=True, check=False).returncode == 0
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        ended = run(code)
        if not allowed:
            pytest.skip("this system gives a process no network namespace of its own")
        assert ended.returncode != 0, "the child reached a server on this machine"


@pytest.mark.skipif(sys.platform != "linux", reason="the environment of another process is read from /proc")
def test_the_child_sees_nothing_of_the_environment(tmp_path, monkeypatch):
    """Neither secrets, nor a Python path, nor what stands on the parent's stdin."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "numpy.py"))
    monkeypatch.setenv("LOSSATLAS_SECRET", "secret")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(saved(network().state_dict()))
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(inspect_in_child, "checkpoint", tmp_path / "f", "f", tmp_path / "out")
        seen = environment_of_a_child(report)
        assert report.result()["tensors"] == 9
    assert seen == inspection._ENVIRONMENT


def environment_of_a_child(report: Future) -> dict[str, str]:
    """The environment of the reading process, while it runs."""
    while not report.done():
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if b"landscape_core.reading.child" in entry.read_bytes() and parent_of(entry) == str(os.getpid()):
                    pairs = entry.with_name("environ").read_bytes().rstrip(b"\0").split(b"\0")
                    return dict(pair.decode().split("=", 1) for pair in pairs)
    return pytest.fail("the child was not seen")


def parent_of(entry: Path) -> str:
    return entry.with_name("stat").read_text().rpartition(")")[2].split()[1]


def test_the_child_loads_little(tmp_path):
    """numpy and safetensors; no torch, no web, no h5py for a checkpoint."""
    code = "import sys, landscape_core.reading.child; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "h5py", "matplotlib", "redis", "fastapi", "dash", "pickle"} & set(loaded) <= {"pickle"}


def test_the_result_is_whole_and_private(tmp_path):
    state = network().state_dict()
    (tmp_path / "f").write_bytes(saved({"net": state, "epoch": 4}))
    report = inspect_in_child("checkpoint", tmp_path / "f", "../../x\n.pt", tmp_path / "out")
    assert json.loads(json.dumps(report)) == report
    assert (report["container"], report["metadata"], report["problem"]) == ("net", {"epoch": 4}, None)
    assert list(report["shapes"]) == list(state)
    tensors = read_canonical(tmp_path / "out")
    assert all(np.array_equal(tensors[name], value.numpy()) for name, value in state.items())
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "out"]


def test_a_refusal_leaves_what_was_there(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / "out").write_bytes(b"before")
    with pytest.raises(CheckpointRejected):
        inspect_in_child("checkpoint", tmp_path / "f", "f", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "out"]


def test_a_name_that_no_system_call_takes_does_no_harm(tmp_path):
    (tmp_path / "f").write_bytes(saved(network().state_dict()))
    for name in ("nul\x00l", "-c", "x" * 5000, "lone\ud800", "con.pt"):
        assert inspect_in_child("checkpoint", tmp_path / "f", name, tmp_path / "out")["format"] == "torch zip"


@pytest.mark.parametrize(("kind", "error"), [("checkpoint", CheckpointRejected), ("dataset", DatasetRejected)])
def test_a_file_that_is_not_there_is_said(kind, error, tmp_path):
    with pytest.raises(error, match="No such file"):
        inspect_in_child(kind, tmp_path / "nowhere", "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    ("returncode", "says"),
    [
        (None, "far longer"),
        (-24, "far longer"),
        (-25, "unpacks to far more"),
        (-11, "makes the reader fail"),
        (1, "not foreseen"),
    ],
)
def test_every_end_of_a_child_has_its_sentence(returncode, says):
    sentence = inspection._how_it_ended(inspection.Ended(returncode, 0, 0.0, "Traceback …"))
    assert says in sentence
    assert "Traceback" not in sentence


def test_a_child_that_takes_too_long_is_stopped():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    returncode, usage = inspection._wait(process, deadline=0.0)
    assert returncode is None
    assert process.returncode == -9
    assert isinstance(usage, resource.struct_rusage)


def test_a_child_does_not_outlive_one_that_waits_no_longer():
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            inspection._wait(process, deadline=time.monotonic() + 60)
        assert process.poll() == -signal.SIGKILL
    finally:
        signal.signal(signal.SIGALRM, before)
        process.kill()


def written(tmp_path: Path, kind: str, path: Path) -> tuple[Path, dict]:
    """The folder that a child leaves, as it leaves it."""
    out = tmp_path / "canonical"
    report = inspect_in_child(kind, path, "f", out)
    return out, report


def test_a_report_that_is_not_that_of_the_canonical_form_is_not_believed(tmp_path):
    """As if a file had taken over the child, and had it write what it likes."""
    (tmp_path / "f").write_bytes(saved(network().state_dict()))
    out, honest = written(tmp_path, "checkpoint", tmp_path / "f")
    shapes = dict(honest["shapes"])
    first = next(iter(shapes))
    forged = {
        "other shape": honest | {"shapes": shapes | {first: [1]}},
        "more tensors": honest | {"shapes": shapes | {"more": [1]}},
        "fewer": honest | {"tensors": 3},
        "unknown field": honest | {"extra": 1},
        "no json": "nonsense",
        "no table": "[1]",
        "deep": "[" * 100_000,
        "nothing": None,
    }
    for name, report in forged.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        shutil.copy(out, folder / "canonical")
        if report is not None:
            (folder / "report.json").write_text(report if isinstance(report, str) else json.dumps(report))
        with pytest.raises(CheckpointRejected, match="contradicts itself"):
            inspection._checked_report("checkpoint", folder, CheckpointRejected)


def test_a_canonical_form_that_is_damaged_is_not_believed(tmp_path):
    (tmp_path / "f").write_bytes(saved(network().state_dict()))
    (tmp_path / "d").mkdir()
    _, honest = written(tmp_path / "d", "checkpoint", tmp_path / "f")
    (tmp_path / "d" / "report.json").write_text(json.dumps(honest))
    data = (tmp_path / "d" / "canonical").read_bytes()
    for damaged in (data[:-1], data + b"x", b"", b"\xff" * 100):
        (tmp_path / "d" / "canonical").write_bytes(damaged)
        with pytest.raises(CheckpointRejected, match="contradicts itself"):
            inspection._checked_report("checkpoint", tmp_path / "d", CheckpointRejected)


def damaged_archives(good: bytes) -> dict[str, bytes]:
    """Archives whose reading ends in errors of many kinds."""
    local = bytearray(good)
    local[2:4] = b"\xff\xff"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(100))
    stream = bytearray(packed.getvalue())
    stream[35:40] = b"\xff" * 5
    headers = io.BytesIO()
    with zipfile.ZipFile(headers, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00\x07\x00{[]: 1}")
    return {"local header": bytes(local), "stream": bytes(stream), "header": headers.getvalue()}


@pytest.mark.parametrize("damage", ["local header", "stream", "header"])
def test_no_damage_of_a_canonical_form_throws(damage, tmp_path):
    np.savez(tmp_path / "f.npz", x=np.zeros((4, 2, 2), np.uint8), y=np.arange(4))
    out, honest = written(tmp_path, "dataset", tmp_path / "f.npz")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "report.json").write_text(json.dumps(honest))
    (tmp_path / "d" / "canonical").write_bytes(damaged_archives(out.read_bytes())[damage])
    with pytest.raises(DatasetRejected, match="contradicts itself"):
        inspection._checked_report("dataset", tmp_path / "d", DatasetRejected)


@pytest.mark.parametrize("name", ["canonical", "report.json"])
def test_a_link_is_not_followed_out_of_the_childs_folder(name, tmp_path):
    (tmp_path / "f").write_bytes(saved(network().state_dict()))
    out, honest = written(tmp_path, "checkpoint", tmp_path / "f")
    (tmp_path / "elsewhere").write_text(json.dumps(honest))
    (tmp_path / "d").mkdir()
    shutil.copy(out, tmp_path / "d" / "canonical")
    shutil.copy(tmp_path / "elsewhere", tmp_path / "d" / "report.json")
    assert inspection._checked_report("checkpoint", tmp_path / "d", CheckpointRejected) == honest
    (tmp_path / "d" / name).unlink()
    (tmp_path / "d" / name).symlink_to(out if name == "canonical" else tmp_path / "elsewhere")
    with pytest.raises(CheckpointRejected, match="contradicts itself"):
        inspection._checked_report("checkpoint", tmp_path / "d", CheckpointRejected)


def test_a_canonical_surface_is_in_the_projects_own_form(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"], file["ycoordinates"] = np.linspace(-1, 1, 3), np.linspace(-1, 1, 2)
        file["train_loss"], file["train_acc"] = np.arange(6.0).reshape(3, 2), np.full((3, 2), 50.0)
    _, honest = written(tmp_path, "surface", tmp_path / "s.h5")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "report.json").write_text(json.dumps(honest))
    shutil.copy(tmp_path / "s.h5", tmp_path / "d" / "canonical")
    with pytest.raises(SurfaceRejected, match="contradicts itself"):
        inspection._checked_report("surface", tmp_path / "d", SurfaceRejected)


def test_many_long_names_of_any_script_are_read(tmp_path):
    names = ["漢" * 245 + f"{index:05d}" for index in range(5000)]
    entries = {name: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, name in enumerate(names)}
    (tmp_path / "f").write_bytes(safetensors(json.dumps(entries, ensure_ascii=False).encode(), bytes(5000)))
    assert inspect_in_child("checkpoint", tmp_path / "f", "f", tmp_path / "out")["tensors"] == 5000
    assert list(read_canonical(tmp_path / "out")) == names


def test_a_data_set_that_is_not_as_reported_is_not_believed(tmp_path):
    np.savez(tmp_path / "f", x=np.zeros((4, 2, 2), np.uint8), y=np.arange(4))
    out, honest = written(tmp_path, "dataset", tmp_path / "f.npz")
    forged = [{"splits": {"train": 5}}, {"splits": {"train": 4, "test": 1}}, {"dtype": "float32"}]
    for change in ({}, *forged):
        report = REPORTS["dataset"].model_validate(honest | change)
        assert recheck.agrees(report, out) == (change == {}), change


def test_a_surface_file_becomes_the_projects_own(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["xcoordinates"], file["ycoordinates"] = np.linspace(-1, 1, 3), np.linspace(-1, 1, 2)
        file["train_loss"], file["train_acc"] = np.arange(6.0).reshape(3, 2), np.full((3, 2), 50.0)
    report = inspect_in_child("surface", tmp_path / "s.h5", "s.h5", tmp_path / "out.npz")
    assert (report["rows"], report["columns"], report["measured"], report["has_request"]) == (2, 3, 6, False)
    assert load(tmp_path / "out.npz").loss.tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "s.h5").write_bytes(b"nonsense")
    with pytest.raises(SurfaceRejected, match=r"no surface file: expected the \.npz or \.json of this program"):
        inspect_in_child("surface", tmp_path / "s.h5", "s.h5", tmp_path / "out.npz")
