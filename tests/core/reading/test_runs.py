"""Archives of checkpoints: taken apart in the child process in natural order, whatever lies beside; hostile ones cost little."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import SeveralFiles, inspect_in_child, unpack_in_child
from landscape_core.reading.limits import Limits
from landscape_core.reading.run_archive import is_member, natural_key
from landscape_core.reading.unpacking import unpack

MOST_MEMORY = 300_000_000
MEASURED = """
import json, sys
from pathlib import Path
from landscape_core.reading.sandbox import lock_down
from landscape_core.reading.unpacking import unpack
lock_down(1_000_000, 4)
answers = {}
for path in map(Path, sys.argv[1:]):
    out = path.with_name(path.name + ".members")
    out.mkdir()
    try:
        text = unpack(path, out).model_dump_json()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    peak = 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    answers[path.name] = [text, peak, [file.name for file in out.iterdir() if not file.name.startswith("raw-")]]
print(json.dumps(answers))
"""
"""One locked-down process for all hostile archives: as the child of an inspection is, but begun once."""


def checkpoint(seed: int) -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.full((4, 3), float(seed)), "b": torch.zeros(4)}, file)
    return file.getvalue()


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(entries: dict[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


RUN = {f"run/epoch_{n}.pt": checkpoint(n) for n in (10, 9, 1, 2)}
BESIDE = {"__MACOSX/run/._epoch_1.pt": b"junk", "run/.DS_Store": b"", "run/README.md": b"how", "run/log.csv": b"1"}
PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda entries: tarred(entries, "w:gz"),
}


@pytest.mark.parametrize("form", PACKERS)
def test_a_run_is_taken_apart_in_the_order_of_its_numbers(form, tmp_path):
    path, out = tmp_path / "x", tmp_path / "out"
    path.write_bytes(PACKERS[form](RUN | BESIDE | {"run/best.pt": RUN["run/epoch_9.pt"]}))
    out.mkdir()
    with pytest.raises(SeveralFiles, match=r"unpack it and upload run/best.pt"):
        inspect_in_child("checkpoint", path, "x", tmp_path / "canonical")
    report = unpack_in_child(path, "x", out)
    assert report.format == form
    assert [member.filename for member in report.members] == [
        "run/best.pt", "run/epoch_1.pt", "run/epoch_2.pt", "run/epoch_9.pt", "run/epoch_10.pt",
    ]  # fmt: skip
    assert report.members[0].problem == "It has the same bytes as run/epoch_9.pt, which stands for both."
    assert report.warnings == ("Not used: run/README.md, run/log.csv.",)
    assert sorted(file.name for file in out.iterdir()) == ["0001", "0002", "0003", "0004"]
    for place, member in enumerate(report.members[1:], 1):
        data = (out / f"{place:04d}").read_bytes()
        assert data == RUN[member.filename]
        assert member.sha256 == hashlib.sha256(data).hexdigest()
        assert member.size_bytes == len(data)
        assert (out / f"{place:04d}").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".unpack-")] == []


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_checkpoint_that_is_a_zip_or_tar_file_is_no_run(form, tmp_path):
    path = tmp_path / "run.zip"
    path.write_bytes(checkpoint(1) if form == "zip" else zipped({"a/b.txt": b"x"}))
    if form == "zip":
        assert inspect_in_child("checkpoint", path, "run.zip", tmp_path / "out")["tensors"] == 2
    else:
        with pytest.raises(CheckpointRejected, match=r"holds no data\.pkl") as caught:
            inspect_in_child("checkpoint", path, "run.zip", tmp_path / "out")
        assert not isinstance(caught.value, SeveralFiles)
    (tmp_path / "m").mkdir()
    with pytest.raises(CheckpointRejected, match="holds no checkpoints"):
        unpack_in_child(path, "run.zip", tmp_path / "m")


def link(zip_file: zipfile.ZipFile, name: str, target: str) -> None:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    zip_file.writestr(entry, target)


def with_odd_members() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in RUN.items():
            archive.writestr(name, data)
        link(archive, "run/link.pt", "/etc/passwd")
        archive.writestr("run/inner.pt", zipped(RUN))
        archive.writestr("run/inner.tar", tarred(RUN, "w:gz"))
        archive.writestr("run/\x1b[31mred\u202e.pt", save({"w": np.zeros(3, np.float32)}))
        archive.writestr("run/torn.pt", b"torn" * 10)
    return file.getvalue().replace(b"torn" * 10, b"tron" * 10, 1)


def test_members_that_cannot_be_used_are_named_and_the_others_stay(tmp_path):
    path, out = tmp_path / "x", tmp_path / "out"
    path.write_bytes(with_odd_members())
    out.mkdir()
    members = {member.filename: member for member in unpack_in_child(path, "x", out).members}
    problems = {name: member.problem for name, member in members.items() if member.problem}
    assert "which is not followed" in problems.pop("run/link.pt")
    assert "archives in archives are not unpacked" in problems.pop("run/inner.pt")
    assert "archives in archives are not unpacked" in problems.pop("run/inner.tar")
    assert "damaged in the archive" in problems.pop("run/torn.pt")
    assert problems == {}
    assert "run/\\x1b[31mred\\u202e.pt" in members
    assert len(list(out.iterdir())) == 5


def tar_of(*members: tarfile.TarInfo, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
    return file.getvalue()


def tar_member(name: str, size: int = 10, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
    return member


def encrypted() -> bytes:
    data = bytearray(zipped({"a.pt": b"x"}))
    for start in (data.find(b"PK\x03\x04") + 6, data.find(b"PK\x01\x02") + 8):
        data[start] |= 1
    return bytes(data)


def twice() -> bytes:
    data = zipped({"run/a1.pt": b"x", "run/a2.pt": b"y"})
    return data.replace(b"a2.pt", b"a1.pt")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.zip": (lambda: zipped({"a.pt": bytes(30 << 20)}), "far more than an honest file"),
    "bomb-of-many.zip": (lambda: zipped({f"{n}.pt": bytes(1 << 20) for n in range(30)}), "far more than an honest file"),
    "bomb.tar.gz": (lambda: gzip.compress(tar_of(tar_member("a.pt", 30 << 20)), 1), "far more than an honest file"),
    "bomb-beside.tar.gz": (
        lambda: gzip.compress(tar_of(tar_member("a.pt"), tar_member("b.txt", 30 << 20)), 1),
        "far more than an honest file",
    ),
    "lying.tar": (lambda: tar_of(tar_member("a.pt"))[:516], "unexpected end of data"),
    "many.zip": (
        lambda: zipped({f"{n}.pt": b"%d" % n for n in range(1_001)}, zipfile.ZIP_STORED),
        "more than 1,000 checkpoints",
    ),
    "climbing.zip": (lambda: zipped({"../../a.pt": b"x"}), "points out of its folder"),
    "climbing.tar": (lambda: tar_of(tar_member("../../a.pt")), "points out of its folder"),
    "absolute.tar": (lambda: tar_of(tar_member("/etc/a.pt")), "points out of its folder"),
    "twice.zip": (twice, "is there twice"),
    "twice.tar": (lambda: tar_of(tar_member("a.pt"), tar_member("a.pt")), "is there twice"),
    "encrypted.zip": (encrypted, "The zip file is encrypted.*: pack it again without a password.$"),
    "cut.zip": (lambda: zipped(RUN)[:-30], "cut short"),
    "cut.tar.gz": (lambda: tarred(RUN, "w:gz")[:-300], "makes no sense"),
    "links.tar": (lambda: tar_of(tar_member("a.pt", 0, tarfile.SYMTYPE)), "which is not followed"),
    "device.tar": (lambda: tar_of(tar_member("a.pt", 0, tarfile.CHRTYPE)), "which is not followed"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, list[str]]]:
    """What became of each hostile archive: the report or the refusal, the peak of memory up to then, the members it left."""
    folder = tmp_path_factory.mktemp("archives")
    for name, (make, _) in HOSTILE.items():
        (folder / name).write_bytes(make())
    paths = [str(folder / name) for name in HOSTILE]
    run = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, check=True)
    return {name: tuple(answer) for name, answer in json.loads(run.stdout).items()}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_cheaply_and_leaves_nothing(name, outcomes):
    text, peak, files = outcomes[name]
    assert re.search(HOSTILE[name][1], text), text
    assert not re.search(r"not foreseen|makes the reader fail|contradicts itself|far longer|Traceback", text)
    assert peak < MOST_MEMORY
    assert files == []


@pytest.mark.parametrize("name", ["bomb.zip", "cut.tar.gz"])
def test_an_upload_that_is_hostile_leaves_nothing_beside_it(name, tmp_path):
    (tmp_path / "upload").write_bytes(HOSTILE[name][0]())
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointRejected, match=HOSTILE[name][1]):
        unpack_in_child(tmp_path / "upload", name, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "upload"]


def test_a_tar_file_of_many_entries_is_read_no_further_than_to_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(tar_of(*(tar_member(f"{n}", 0) for n in range(60)), mode="w:gz"))
    with pytest.raises(CheckpointRejected, match="over 50 entries"):
        unpack(tmp_path / "a", tmp_path, Limits(entries=50))


def test_names_are_sorted_as_people_count():
    names = ["e10.pt", "e9.pt", "E1.pt", "e01b.pt", "last.pt", "e" + "9" * 5000 + ".pt"]
    assert sorted(names, key=natural_key) == ["E1.pt", "e01b.pt", "e9.pt", "e10.pt", names[-1], "last.pt"]
    assert not is_member("__MACOSX/a.pt")
    assert not is_member("a/._b.pt")
    assert is_member("./a/B.PTH")
