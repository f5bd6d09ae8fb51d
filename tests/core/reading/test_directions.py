"""Direction files in the original's form, and files that try to reach out of themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_core.errors import DirectionsRejected, SurfaceRejected
from landscape_core.formats import directions_h5
from landscape_core.reading import read_directions, read_surface, write_directions

from .conftest import inspect_all

X = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32), np.array(3, np.float32)] * 5
Y = [np.asarray(array * 2) for array in X]


@pytest.mark.parametrize("y", [Y, None])
def test_it_is_read_in_the_order_of_the_numbers_and_written_again(y, tmp_path):
    directions_h5(X, y, tmp_path / "d.h5")
    write_directions(read_directions(tmp_path / "d.h5"), tmp_path / "canonical")
    again = read_directions(tmp_path / "canonical")
    assert [a.tolist() for a in again.x] == [a.tolist() for a in X]
    assert (again.y is None) == (y is None)
    assert all(a.dtype == np.float32 and a.shape == b.shape for a, b in zip(again.x, X, strict=True))


def external_link(file: h5py.File, secret: Path) -> None:
    with h5py.File(secret, "w") as other:
        other["0"] = np.ones(3, np.float32)
    file.create_group("xdirection")["0"] = h5py.ExternalLink(str(secret), "/0")


def external_group(file: h5py.File, secret: Path) -> None:
    with h5py.File(secret, "w") as other:
        other["g/0"] = np.ones(3, np.float32)
    file["xdirection"] = h5py.ExternalLink(str(secret), "/g")


def external_storage(file: h5py.File, secret: Path) -> None:
    secret.write_bytes(b"root:x:0:0:..." * 10)
    file.create_dataset("xdirection/0", (8,), "f4", external=[(str(secret), 0, 32)])


def virtual(file: h5py.File, secret: Path) -> None:
    with h5py.File(secret, "w") as other:
        other["0"] = np.ones(3, np.float32)
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "0", shape=(3,))
    file.create_virtual_dataset("xdirection/0", layout)


def put(**items: object):
    def write(file: h5py.File, _secret: Path) -> None:
        for name, value in items.items():
            file[name.replace("__", "/")] = value

    return write


def huge(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("xdirection/0", (10**6, 10**6), "f4", chunks=(1000, 1000))


def compressed(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("xdirection/0", data=np.zeros(2**25, np.float32), compression="gzip", compression_opts=9)


BAD = {
    "external link": (external_link, "lies in the file itself"),
    "external group": (external_group, "in the file itself"),
    "external storage": (external_storage, "lies in the file itself"),
    "virtual": (virtual, "lies in the file itself"),
    "huge": (huge, "claims 4,000,000,000,000 bytes"),
    "compressed zeros": (compressed, "claims"),
    "text": (put(xdirection__0="text"), "plain numbers"),
    "gap": (put(xdirection__0=1.0, xdirection__2=1.0), "members 0 to 1"),
    "no x": (put(ydirection__0=1.0), "no xdirection"),
    "array for a group": (put(xdirection=1.0), "should be a group"),
    "not finite": (put(xdirection__0=np.array([np.nan])), "not finite"),
    "shapes differ": (put(xdirection__0=np.ones(3), ydirection__0=np.ones(2)), "same shapes"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_with_one_sentence(name, tmp_path):
    write, says = BAD[name]
    with h5py.File(tmp_path / "d.h5", "w") as file:
        write(file, tmp_path / "secret")
    with pytest.raises(DirectionsRejected, match=says) as refused:
        read_directions(tmp_path / "d.h5")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"not hdf5 at all", b"\x89HDF\r\n\x1a\n" + bytes(500), b"PK\x03\x04 no zip"])
def test_what_is_no_hdf5_is_refused(data, tmp_path):
    (tmp_path / "d.h5").write_bytes(data)
    with pytest.raises(DirectionsRejected):
        read_directions(tmp_path / "d.h5")
    with pytest.raises(SurfaceRejected):
        read_surface(tmp_path / "d.h5")


def test_every_cut_is_refused(tmp_path):
    directions_h5(X, Y, tmp_path / "d.h5")
    data = (tmp_path / "d.h5").read_bytes()
    for part in range(20):
        (tmp_path / "d.h5").write_bytes(data[: len(data) * part // 20])
        with pytest.raises(DirectionsRejected):
            read_directions(tmp_path / "d.h5")


def test_through_the_child(tmp_path):
    directions_h5(X, Y, tmp_path / "good.h5")
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        external_storage(file, tmp_path / "secret")
    outcomes = inspect_all({name: ("directions", tmp_path / f"{name}.h5") for name in ("good", "bad")}, tmp_path)
    assert outcomes["bad"].error == "DirectionsRejected"
    assert not outcomes["bad"].canonical.exists()
    assert (outcomes["good"].report["directions"], len(outcomes["good"].report["shapes"])) == (2, 15)
    assert read_directions(outcomes["good"].canonical).y[0].tolist() == Y[0].tolist()
