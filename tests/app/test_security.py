"""Who may ask, how much may be sent, and what browsers are told: SECURITY's rows 42 and 43 and section 5.3."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import httpx
import pytest

from app import security
from app.settings import AppSettings
from landscape_core.errors import InvalidRequest


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:80", "192.168.7.9", "atlas.example", "lab.example:81"]
)
def test_known_hosts_are_served(guarded, host):
    assert guarded.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "atlas.example.evil", "", "[", "127.0.0.1.evil.example"]
)
def test_other_hosts_are_not(guarded, host):
    answer = guarded.get("/health", headers={"host": host})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request" if host else True


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),
        ({"origin": "http://localhost:{port}"}, 422),
        ({"origin": "https://atlas.example"}, 422),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost:{port}"}, 403),
    ],
)
def test_what_changes_something_comes_from_our_own_pages_or_from_none(guarded, headers, status):
    port = guarded.base_url.port
    sent = {name: value.format(port=port) for name, value in headers.items()}
    answer = guarded.post("/surfaces", json={}, headers={"host": f"localhost:{port}", **sent})
    assert answer.status_code == status, answer.text
    assert guarded.get("/surfaces", headers={"host": f"localhost:{port}", **sent}).status_code == 200


@pytest.fixture(scope="module")
def guarded(site):
    """The client of a site that has a public name and another one."""
    settings = AppSettings(
        **site.settings.model_dump() | {"base_url": "https://atlas.example", "hosts": "lab.example, x.example"}
    )
    other = type(site)(settings).start()
    yield other.http
    other.stop()


def test_a_websocket_from_another_site_is_refused(site):
    with socket.create_connection(("127.0.0.1", httpx.URL(site.url).port), timeout=10) as connection:
        connection.sendall(
            b"GET /_dash-ws-callback HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 403 " in connection.recv(1000).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"view": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_001, 400, "bad_request"),
        (b"x" * 1_000_001, 413, "too_large"),
        (b"not json", 422, "invalid_request"),
        (b"", 404, "not_found"),
        (b"3", 422, "invalid_request"),
        (b'{"view": {"camera": {"eye": {"x": NaN, "y": 1, "z": 1}}}}', 422, "invalid_request"),
        (b'{"view": {"camera": {"eye": {"x": 1e999, "y": 1, "z": 1}}}}', 422, "invalid_request"),
        (b'{"label": "\xff\xfe"}', 400, "bad_request"),
    ],
)
def test_bad_bodies_are_refused_in_a_sentence(site, body, status, code):
    headers = {"content-type": "application/json"}
    answer = site.http.post(f"/surfaces/{'a' * 64}/shares", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert "Traceback" not in answer.text
    chunked = site.http.post(f"/surfaces/{'a' * 64}/shares", content=iter([body]), headers=headers)
    assert chunked.status_code == status


def test_a_body_that_lies_about_its_length_is_cut_off(site):
    with socket.create_connection(("127.0.0.1", httpx.URL(site.url).port), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/surfaces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        )
        assert b" 413 " in connection.recv(1000).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "path", ["/nothing", "/surfaces/x/nothing", "/surfaces/" + "a" * 64, "/shares/none", "/checkpoints/..%2f..%2fx"]
)
def test_what_does_not_exist_is_404_in_the_one_form(site, path):
    answer = site.http.get(path)
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"code", "message"}
    assert answer.json()["error"]["code"] == "not_found"


def test_a_wrong_method_is_405_in_the_one_form(site):
    answer = site.http.put("/surfaces")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_every_answer_tells_browsers_what_not_to_do(site):
    for path in ("/health", "/nothing", "/shares/none"):
        headers = site.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "no-store" in headers["cache-control"]
    assert site.http.get("/shares/none").headers["x-robots-tag"] == "noindex, nofollow"


def test_the_description_is_served_without_foreign_hosts(site):
    description = httpx.get(f"{site.url}/api/openapi.json").json()
    assert "/api/v1/surfaces" in description["paths"]
    page = httpx.get(f"{site.url}/api/docs")
    assert page.status_code == 200
    assert "/api/v1/surfaces/{surface_id}/events" in page.text
    assert "http" not in page.text.replace(site.url, "").replace("HTTPValidationError", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "atlas.example"),
        ("BASE_URL", "https://atlas.example/path"),
        ("MAX_UPLOAD_BYTES", "many"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("PORT", "1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"LOSSATLAS_{name}", value)
    with pytest.raises(InvalidRequest, match=f"LOSSATLAS_{name}"):
        AppSettings()


def test_the_app_never_loads_torch(tmp_path, redis_url):
    code = (
        "import sys; from pathlib import Path; from app.main import create_app; from app.settings import AppSettings;"
        f"create_app(AppSettings(data=Path({str(tmp_path / 'data')!r}), redis_url={redis_url!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("silence", "judged"), [(0.3, 60.0), (60.0, 0.3)])
def test_a_body_that_hardly_comes_is_not_waited_for(site, monkeypatch, silence, judged):
    monkeypatch.setattr(security, "SILENCE_S", silence)
    monkeypatch.setattr(security, "JUDGED_AFTER_S", judged)
    for start in (b"POST /api/v1/surfaces", b"PUT /api/v1/checkpoints"):
        with socket.create_connection(("127.0.0.1", httpx.URL(site.url).port), timeout=10) as connection:
            head = b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(start + head + b"x")
            if judged < silence:
                time.sleep(0.5)
                connection.sendall(b"x")
            assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]
            assert site.http.get("/health").status_code == 200
    assert [path.name for path in site.settings.incoming.iterdir() if path.name != "tus"] == []
