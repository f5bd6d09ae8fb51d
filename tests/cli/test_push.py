"""`lossatlas push`: to a real server, and to what is none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

import landscape_core as lc
from cli.main import main
from landscape_core import formats
from landscape_core.errors import InvalidRequest, PushFailed, SurfaceRejected
from landscape_core.requests import ArchitectureSpec, Axis, DataSlice, Grid, PlaneSpec, RandomDirection, SurfaceRequest
from landscape_core.results import Surface
from tests.cli.running import lossatlas as run_lossatlas


@pytest.fixture
def surface() -> Surface:
    request = SurfaceRequest(
        checkpoint=hashlib.sha256(b"net").hexdigest(),
        architecture=ArchitectureSpec(name="mlp"),
        data=DataSlice(dataset="fashion-mnist-sample", examples=10),
        plane=PlaneSpec(x=RandomDirection(seed=1), y=RandomDirection(seed=2)),
        grid=Grid(x=Axis(start=-1, stop=1, points=5), y=Axis(start=-1, stop=1, points=3)),
    )
    loss = 1 + request.grid.x.coordinates[None, :] ** 2 + np.arange(3.0)[:, None]
    ones = np.ones_like(loss)
    return Surface(
        x=request.grid.x.coordinates,
        y=np.array([-1.0, 0.0, 1.0]),
        loss=loss,
        state=ones.astype(np.uint8),
        accuracy=50 * ones,
        examples=10 * ones.astype(np.int64),
        stderr=0.1 * ones,
        request=request,
    )


@pytest.mark.slow
def test_a_pushed_surface_is_opened_by_its_link(tmp_path, surface, atlas):
    for suffix in (".npz", ".h5", ".json"):
        file = tmp_path / f"bowl{suffix}"
        formats.save(surface, file)
        run = run_lossatlas("push", file, "--server", atlas, cold=True)
        assert (run.returncode, run.stderr) == (0, "")
        link = run.stdout.strip()
        assert link.startswith(f"{atlas}/s/")
        assert httpx.get(link).status_code == 200
        token = link.rpartition("/")[2]
        received = httpx.get(f"{atlas}/api/v1/shares/{token}/data.npz")
        assert received.status_code == 200
        np.testing.assert_array_equal(formats.npz.load(received.content).loss, surface.loss)


@pytest.mark.slow
def test_the_server_s_refusal_is_passed_on(tmp_path, atlas):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 but nothing more")
    run = run_lossatlas("push", tmp_path / "bad.npz", "--server", atlas + "/")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("lossatlas: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_was_computed_in_python_gets_a_link(atlas, surface):
    """A surface without a request, and one of a network that no server knows, are shown like any other."""
    own = ArchitectureSpec(name="mine.py:build", options={"code": "0" * 16})
    assert surface.request is not None
    computed = [
        replace(surface, request=None, provenance={"source": "landscape_core.landscape", "model": "Net"}),
        replace(surface, request=surface.request.model_copy(update={"architecture": own})),
    ]
    for index, each in enumerate(computed):
        link = lc.push(each, f"{atlas}/", token="for-a-proxy", name=f"mine {index}")
        shown = httpx.get(f"{atlas}/api/v1/shares/{link.rpartition('/')[2]}").json()["surface"]
        assert shown["state"] == "finished"
        assert shown["title"] == f"mine {index}"
        assert shown["provenance"] == each.provenance
        assert (shown["request"] is None) == (each.request is None)
        assert httpx.get(link).status_code == 200


@contextmanager
def _answering(status: int, answer: Callable[[Message], str]) -> Iterator[str]:
    """The address of a web server that answers every POST so, by what its headers say."""

    class Pages(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer(self.headers).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a web server that is no Loss Atlas."""
    with _answering(200, lambda _headers: "<html>hello</html>") as address:
        yield address


def _said(capfd: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert main(["push", *map(str, words)]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_what_is_no_server_and_no_surface(tmp_path: Path, surface, stranger, free_port, capfd):
    file = tmp_path / "bowl.npz"
    formats.save(surface, file)
    assert "does not answer like a Loss Atlas (HTTP 200)" in _said(capfd, 1, file, "--server", stranger)
    assert "cannot be reached" in _said(capfd, 1, file, "--server", f"http://127.0.0.1:{free_port}")
    assert "begins with http" in _said(capfd, 2, file, "--server", "atlas.example")
    assert "There is no file" in _said(capfd, 2, tmp_path / "none.npz", "--server", stranger)
    assert "takes surfaces as .npz, .h5 or .json" in _said(capfd, 2, tmp_path / "bowl.csv", "--server", stranger)
    assert "Missing option '--server'" in _said(capfd, 2, file)


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a proxy that wants to know who comes, and repeats what it was told."""
    said = '{"error": {"code": "unauthorised", "message": "%s came."}}'
    with _answering(401, lambda headers: said % headers["authorization"]) as address:
        yield address


def test_a_token_is_sent_as_bearer_and_none_if_there_is_none(surface, guarded):
    with pytest.raises(SurfaceRejected, match=r"^Bearer secret-1 came\.$"):
        lc.push(surface, guarded, token="secret-1")
    with pytest.raises(SurfaceRejected, match=r"^None came\.$"):
        lc.push(surface, guarded)
    for token in ("", " a", "a\nX-Other: b", "ä"):
        with pytest.raises(InvalidRequest, match="printable ASCII"):
            lc.push(surface, guarded, token=token)


def test_where_nothing_can_be_pushed_to(surface, free_port):
    with pytest.raises(InvalidRequest, match="begins with http"):
        lc.push(surface, "atlas.example")
    with pytest.raises(InvalidRequest, match=r"such as https://atlas\.example"):
        lc.push(surface, "http://[::1")
    with pytest.raises(PushFailed, match="cannot be reached"):
        lc.push(surface, f"http://127.0.0.1:{free_port}")


def test_json_from_no_atlas_and_addresses_without_a_host(surface):
    with (
        _answering(200, lambda _headers: "{}") as address,
        pytest.raises(PushFailed, match="does not answer like a Loss Atlas"),
    ):
        lc.push(surface, address)
    for server in ("http://", "http://exa mple", "https:///path"):
        with pytest.raises(InvalidRequest, match="The server is an address"):
            lc.push(surface, server)
