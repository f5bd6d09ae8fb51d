"""Files come whole or not at all, by raw PUT and by tus: SECURITY's rows 36 to 41."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app import security
from app.api import receiving
from app.api.partial_files import PartialFiles
from app.services.parts import shown_name
from app.settings import AppSettings
from worker.blobs import checkpoint_key, report_key

LIMIT, DATASET_LIMIT = 300_000, 200_000
TUS = {"tus-resumable": "1.0.0"}


@pytest.fixture(scope="module")
def small(site):
    """A site that takes short files only."""
    settings = AppSettings(**site.settings.model_dump() | {"max_upload_bytes": LIMIT, "max_dataset_bytes": DATASET_LIMIT})
    running = type(site)(settings).start()
    yield running
    running.stop()


def incoming(site) -> list[str]:
    return [path.name for path in site.settings.incoming.iterdir() if path.name != "tus"]


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def create(site, length: int, **values: str) -> httpx.Response:
    headers = {
        **TUS,
        "upload-length": str(length),
        "upload-metadata": metadata(**{"filename": "a.pt", "kind": "checkpoint"} | values),
    }
    return site.http.post("/uploads/", headers=headers)


def patch(site, location: str, offset: int, content: bytes) -> httpx.Response:
    headers = {**TUS, "upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
    return httpx.patch(f"{site.url}{location}", headers=headers, content=content, timeout=30)


# -- raw ---------------------------------------------------------------------------------------------------------------


def test_the_same_bytes_have_the_same_id_and_the_name_is_kept_for_show(small):
    content = os.urandom(1000)
    first = small.http.put("/checkpoints", params={"filename": "../../etc/a\r\n\x00b.pt"}, content=content)
    second = small.http.put("/checkpoints", params={"filename": "other.pt"}, content=iter([content[:7], content[7:]]))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json() == {"id": hashlib.sha256(content).hexdigest(), "state": "inspecting"}
    assert small.http.get(f"/checkpoints/{first.json()['id']}").json()["filename"] == "other.pt"
    assert incoming(small) == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../x.pt", "x.pt"),
        ("/etc/passwd", "passwd"),
        ("C:\\a\\con.pt", "con.pt"),
        ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
        ("", "file"),
        ("..", ".."),
        ("\x00\x1b[2J", "[2J"),
        ("\u202etp.x", "tp.x"),
        ("x" * 5000, "x" * 255),
        ("ä 中.pt", "ä 中.pt"),
    ],
)
def test_names_are_for_show_alone(sent, shown):
    assert shown_name(sent) == shown


@pytest.mark.parametrize(("path", "limit"), [("/checkpoints", LIMIT), ("/datasets", DATASET_LIMIT), ("/directions", LIMIT)])
def test_what_is_too_long_is_refused_and_nothing_kept(small, path, limit):
    declared = small.http.put(path, content=b"x" * (limit + 1))
    chunked = small.http.put(path, content=(b"x" * 50_000 for _ in range(limit // 50_000 + 1)))
    assert declared.status_code == chunked.status_code == 413
    assert f"{limit:,} bytes" in chunked.json()["error"]["message"]
    assert incoming(small) == []


def test_a_client_that_goes_away_leaves_nothing(small, wait_until):
    host, port = "127.0.0.1", httpx.URL(small.url).port
    with socket.create_connection((host, port)) as connection:
        connection.sendall(
            b"PUT /api/v1/checkpoints HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000
        )
        wait_until(lambda: incoming(small), 5, "the upload begins")
    wait_until(lambda: not incoming(small), 5, "the upload is removed")


def test_a_nearly_full_disk_takes_no_files(small, monkeypatch):
    monkeypatch.setattr(receiving, "MIN_FREE_BYTES", 1 << 60)
    for answer in (small.http.put("/checkpoints", content=b"x"), create(small, 10)):
        assert answer.status_code == 507
        assert "nearly full" in answer.json()["error"]["message"]


# -- tus ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["checkpoint", "dataset", "directions"])
def test_an_upload_in_parts_arrives_whole(small, wait_until, kind):
    content = os.urandom(70_001)
    created = create(small, len(content), kind=kind)
    assert created.status_code == 201
    location = created.headers["location"]
    assert location.startswith("/api/v1/uploads/")
    assert httpx.get(f"{small.url}{location}/result").status_code == 404
    for start in range(0, len(content), 30_000):
        answer = patch(small, location, start, content[start : start + 30_000])
        assert answer.status_code == 204, answer.text
    head = httpx.head(f"{small.url}{location}", headers=TUS)
    assert (head.status_code, head.headers["upload-offset"]) == (200, str(len(content)))
    result = wait_until(
        lambda: (r := httpx.get(f"{small.url}{location}/result")).status_code == 200 and r.json(), 10, "a result"
    )
    assert result["test_half"] is None
    assert (result["kind"], result["state"], result["problem"]) == (kind, "inspecting", None)
    assert result["id"] == hashlib.sha256(content).hexdigest()
    assert patch(small, location, len(content), b"").status_code == 204


def test_a_broken_connection_is_resumed_and_a_torn_write_is_cut_off(small, wait_until):
    content = os.urandom(100_000)
    location = create(small, len(content)).headers["location"]
    assert patch(small, location, 0, content[:40_000]).status_code == 204
    file = small.settings.incoming / "tus" / location.rpartition("/")[2]
    with file.open("ab") as torn:
        torn.write(b"written before a crash, never counted")
    head = httpx.head(f"{small.url}{location}", headers=TUS)
    assert head.headers["upload-offset"] == "40000"
    assert patch(small, location, 40_000, content[40_000:]).status_code == 204
    result = wait_until(
        lambda: (r := httpx.get(f"{small.url}{location}/result")).status_code == 200 and r.json(), 10, "a result"
    )
    assert result["id"] == hashlib.sha256(content).hexdigest()


def begin_patch(site, location: str, length: int, content: bytes) -> socket.socket:
    """A PATCH at the beginning that has sent only so much of what it announced."""
    connection = socket.create_connection(("127.0.0.1", httpx.URL(site.url).port), timeout=20)
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def offset(site, location: str) -> int | None:
    """How much of an upload the server has, as it says; None if it knows of none."""
    head = httpx.head(f"{site.url}{location}", headers=TUS)
    return int(head.headers["upload-offset"]) if head.status_code == 200 else None


def test_what_came_before_a_silence_is_kept(small, wait_until, monkeypatch):
    content = os.urandom(200_000)
    location = create(small, len(content)).headers["location"]
    monkeypatch.setattr(security, "SILENCE_S", 0.5)
    with begin_patch(small, location, len(content), content[:120_000]) as connection:
        assert b" 408 " in connection.recv(300)
    monkeypatch.undo()
    wait_until(lambda: offset(small, location), 5, "the offset is told")
    kept = offset(small, location)
    assert kept == 120_000
    assert patch(small, location, kept, content[kept:]).status_code == 204
    result = wait_until(
        lambda: (r := httpx.get(f"{small.url}{location}/result")).status_code == 200 and r.json(), 10, "a result"
    )
    assert result["id"] == hashlib.sha256(content).hexdigest()


def test_an_upload_is_not_deleted_under_the_hands_of_its_writer(small, wait_until):
    location = create(small, 10).headers["location"]
    folder = small.settings.incoming / "tus"
    with begin_patch(small, location, 10, b"12345"):
        wait_until(lambda: patch(small, location, 0, b"").status_code == 409, 5, "the first writer has begun")
        refused = httpx.delete(f"{small.url}{location}", headers=TUS)
        assert (refused.status_code, "Another connection" in refused.text) == (409, True)
    wait_until(lambda: httpx.delete(f"{small.url}{location}", headers=TUS).status_code == 204, 5, "the writer has gone")
    assert offset(small, location) is None
    assert [path.name for path in folder.iterdir() if location.rpartition("/")[2] in path.name] == []


def test_what_is_told_of_a_deleted_upload_does_not_bring_it_back(small):
    files = PartialFiles(small.settings.incoming / "tus")
    asyncio.run(files.write_info("f" * 32, {"offset": 0, "size": 10}))
    assert not asyncio.run(files.exists("f" * 32))


@pytest.mark.parametrize("content", [b"", b"x"])
def test_many_writers_at_once_lose_nothing_and_break_nothing(small, content):
    """Each tells the server's own offset, or an old one; whoever is late is told so, and the offset never goes back."""
    location = create(small, 100_000).headers["location"]

    def write(_: int) -> list[int | None]:
        seen: list[int | None] = []
        for _ in range(15):
            seen.append(offset(small, location))
            statuses.append(patch(small, location, seen[-1] or 0, content).status_code)
        return seen

    statuses: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        offsets = list(pool.map(write, range(4)))
    assert set(statuses) <= {204, 409}
    assert all(None not in seen and seen == sorted(seen) for seen in offsets)
    assert offset(small, location) == len(content) * statuses.count(204)
    assert list((small.settings.incoming / "tus").glob(".*")) == []


def test_wrong_offsets_and_two_writers_at_once(small):
    content = os.urandom(200_000)
    location = create(small, len(content)).headers["location"]
    assert patch(small, location, 5, content[5:]).status_code == 409
    connection = http.client.HTTPConnection("127.0.0.1", httpx.URL(small.url).port, timeout=20)
    connection.putrequest("PATCH", location)
    for name, value in {**TUS, "upload-offset": "0", "content-type": "application/offset+octet-stream"}.items():
        connection.putheader(name, value)
    connection.putheader("content-length", str(len(content)))
    connection.endheaders()
    connection.send(content[:1000])
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(patch, small, location, 0, content) for _ in range(3)]
        statuses = sorted(future.result().status_code for future in others)
    with contextlib.suppress(ConnectionError):  # if one of the others was first, this one is refused unread
        connection.send(content[1000:])
    first = connection.getresponse().status
    assert sorted([first, *statuses]) == [204, 409, 409, 409]
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"upload-length": str(9 * 10**12)}, 413, "longer than"),
        ({"upload-length": str(LIMIT + 1)}, 413, "longer than"),
        (
            {"upload-length": str(DATASET_LIMIT + 1), "upload-metadata": metadata(filename="a", kind="dataset")},
            413,
            "longer than",
        ),
        ({"upload-length": "-1"}, 400, "how many bytes"),
        ({"upload-length": "many"}, 422, "upload-length"),
        ({"upload-defer-length": "1"}, 400, "told later"),
        ({}, 400, "how many bytes"),
        ({"upload-length": "5", "upload-metadata": metadata(filename="a", kind="program")}, 422, "kind"),
        ({"upload-length": "5", "upload-metadata": metadata(kind="dataset")}, 422, "filename"),
        ({"upload-length": "5", "upload-concat": "partial"}, 400, "joined"),
        ({"upload-concat": "final;/api/v1/uploads/" + "a" * 32}, 400, "joined"),
        ({"upload-length": "5", "tus-resumable": "0.9"}, 412, "version"),
        ({"upload-length": "5", "upload-metadata": "filename " + "A" * 30_000}, 400, "longer"),
    ],
)
def test_what_is_no_honest_upload_is_not_begun(small, headers, status, word):
    before = len(list((small.settings.incoming / "tus").glob("*.info")))
    answer = small.http.post(
        "/uploads/", headers={**TUS, "upload-metadata": metadata(filename="a.pt", kind="checkpoint")} | headers
    )
    assert answer.status_code == status, answer.text
    assert word in answer.json()["error"]["message"]
    assert len(list((small.settings.incoming / "tus").glob("*.info"))) == before


def test_data_with_the_creation_are_refused(small):
    headers = {**TUS, "upload-length": "5", "upload-metadata": metadata(filename="a.pt")}
    assert small.http.post("/uploads/", headers=headers, content=b"12345").status_code == 400
    assert small.http.post("/uploads/", headers=headers, content=iter([b"12345"])).status_code == 400


def test_more_than_was_announced_is_refused(small):
    location = create(small, 10).headers["location"]
    assert patch(small, location, 0, b"x" * 11).status_code == 400
    assert patch(small, location, 0, b"x" * 10).status_code == 204


@pytest.mark.parametrize(
    "uid", ["a" * 32, "..", "%2e%2e%2fatlas.sqlite", "x.info", ".locks", "A" * 32, "a" * 31, "/etc/passwd"]
)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_other_names_reach_nothing(small, method, uid):
    headers = {**TUS, "upload-offset": "0", "content-type": "application/offset+octet-stream"}
    answer = small.http.request(method, f"/uploads/{uid}", headers=headers, content=b"x" if method == "PATCH" else None)
    assert answer.status_code in {404, 405}


def test_headers_of_proxies_are_not_believed(small):
    headers = {**TUS, "upload-length": "5", "upload-metadata": metadata(filename="a.pt"), "x-forwarded-host": "evil.example"}
    location = small.http.post("/uploads/", headers=headers).headers["location"]
    assert location.startswith("/api/v1/uploads/")
    overridden = small.http.post("/surfaces", headers={"x-http-method-override": "DELETE"}, json={})
    assert overridden.status_code == 422


def test_a_deleted_upload_is_gone(small):
    location = create(small, 10).headers["location"]
    assert httpx.delete(f"{small.url}{location}", headers=TUS).status_code == 204
    assert httpx.head(f"{small.url}{location}", headers=TUS).status_code == 404


def test_what_tus_can_do_is_told_truly(small):
    answer = small.http.options("/uploads/")
    assert answer.status_code == 204
    assert answer.headers["tus-extension"] == "creation,expiration,termination"
    assert answer.headers["tus-max-size"] == str(LIMIT)


def test_what_had_come_whole_is_taken_in_at_the_next_start(small, wait_until):
    content = os.urandom(5000)
    location = create(small, len(content)).headers["location"]
    assert patch(small, location, 0, content[:4000]).status_code == 204
    small.stop()
    uid = location.rpartition("/")[2]
    folder = small.settings.incoming / "tus"
    with (folder / uid).open("ab") as file:
        file.write(content[4000:])
    info = (folder / f"{uid}.info").read_text()
    (folder / f"{uid}.info").write_text(info.replace('"offset": 4000', '"offset": 5000'))
    small.start()
    result = wait_until(
        lambda: (r := httpx.get(f"{small.url}{location}/result")).status_code == 200 and r.json(), 10, "a result"
    )
    assert result["id"] == hashlib.sha256(content).hexdigest()


def test_what_was_deleted_during_its_inspection_leaves_nothing(services, tmp_path):
    path = tmp_path / "upload.pt"
    path.write_bytes(b"content")
    checkpoint = services.add_checkpoint(path, "a.pt").id
    services.delete_checkpoint(checkpoint)
    services.blobs.put(checkpoint_key(checkpoint), b"what the worker finds")
    services.blobs.put(report_key("checkpoint", checkpoint), b'{"problem": null}')
    assert not services.settle("checkpoint", checkpoint)
    assert not services.blobs.exists(checkpoint_key(checkpoint))
    assert not services.blobs.exists(report_key("checkpoint", checkpoint))
