"""One broken record, a word that Redis kept, a collector that fell behind: none of them may harm a surface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import redis
from sqlalchemy import update

from app.active import ActiveSurface
from app.database import SurfaceRow
from landscape_core.formats import npz
from tests.app.hands import Hands
from worker.blobs import report_key, surface_key
from worker.events import follow
from worker.job import Announcement


@pytest.fixture
def asked(settings, start_site, ready_checkpoint, request_for):
    """A site without workers, its hands, and a surface that was asked for."""
    site = start_site(settings)
    surface = site.http.post("/surfaces", json=request_for(ready_checkpoint, 9, 200)).json()["id"]
    return site, Hands(site.services), surface


def change(site, surface: str, **values) -> None:
    with site.services.database.writing() as session:
        session.execute(update(SurfaceRow).where(SurfaceRow.id == surface).values(**values))


def test_a_surface_is_not_left_alone_for_a_word_that_redis_kept(asked, wait_until):
    site, hands, surface = asked
    site.services.queue.cancel(surface)
    assert 0 < site.services.queue.redis.ttl(f"lossatlas:cancelled:{surface}") <= 86_400
    wait_until(lambda: not site.services.queue.is_cancelled(surface), 5, "the database decides")
    hands.work_until_idle(surface)
    site.finished(surface, 20)
    assert site.services.queue.redis.ttl(f"lossatlas:events:{surface}") <= 300


def test_a_damaged_report_harms_no_other_work(asked, mlp_bytes, wait_until):
    site, hands, surface = asked
    sha = site.http.put("/checkpoints", content=mlp_bytes(7)).json()["id"]
    site.services.blobs.put(report_key("checkpoint", sha), b'{"problem": nul')
    hands.say(Announcement(kind="intake", subject=sha))
    hands.work_until_idle(surface)
    site.finished(surface, 20)
    info = wait_until(lambda: (c := site.services.checkpoint(sha)).state == "rejected" and c, 5, "it is settled")
    assert info.problem == "The report on the file is damaged; upload the file again."


def test_a_surface_of_another_release_is_given_up_and_harms_no_other(
    asked, start_site, request_for, ready_checkpoint, wait_until
):
    site, _, surface = asked
    other = site.http.post("/surfaces", json=request_for(ready_checkpoint, 11, 100)).json()["id"]
    site.stop()
    change(site, other, job='{"of": "another release"}', request='{"of": "another release"}')
    again = start_site(site.settings)
    hands = Hands(again.services)
    hands.work_until_idle(surface)
    again.finished(surface, 20)
    listed = {info["id"]: info for info in again.http.get("/surfaces").json()}
    assert (listed[other]["state"], listed[other]["request"]) == ("failed", None)
    assert "another release" in listed[other]["problem"]
    assert again.http.delete(f"/surfaces/{other}").status_code == 204


def test_values_are_not_overwritten_by_a_collector_that_fell_behind(asked):
    site, hands, surface = asked
    site.stop()
    behind = ActiveSurface(site.services, site.services.surface_row(surface))
    for unit in hands.plan(surface).stage_units(0):
        hands.give(surface, unit, announce=False)
        behind._fold(unit)
    ahead = ActiveSurface(site.services, site.services.surface_row(surface))
    for unit in range(len(hands.plan(surface).units)):
        hands.give(surface, unit, announce=False)
        ahead._fold(unit)
    ahead.tell(None)
    assert site.services.surface(surface).state == "finished"
    whole = site.services.blobs.get(surface_key(surface))
    behind.tell(None)
    assert behind.is_over
    assert site.services.blobs.get(surface_key(surface)) == whole


def test_a_stored_unit_is_not_counted_as_failed(asked):
    site, hands, surface = asked
    site.stop()
    active = ActiveSurface(site.services, site.services.surface_row(surface))
    hands.give(surface, 0, announce=False)
    for _ in range(3):
        active.died(0)
    assert site.services.surface(surface).state in {"queued", "running"}
    assert active.accumulation.is_done(0)


def test_the_same_question_is_answered_when_its_checkpoint_is_gone(asked, request_for, ready_checkpoint):
    site, hands, surface = asked
    hands.work_until_idle(surface)
    site.finished(surface, 20)
    stored = site.http.get(f"/surfaces/{surface}").json()["request"]
    assert site.http.delete(f"/checkpoints/{ready_checkpoint}").status_code == 204
    answer = site.http.post("/surfaces", json=stored)
    assert (answer.status_code, answer.json()) == (200, {"id": surface, "state": "finished"})


def test_values_that_rot_are_computed_again_when_asked(asked):
    site, hands, surface = asked
    hands.work_until_idle(surface)
    site.finished(surface, 20)
    assert site.http.post(f"/surfaces/{surface}/retry").status_code == 409
    right = npz.load(site.services.blobs.get(surface_key(surface)))
    site.services.blobs.put(surface_key(surface), b"rotten")
    assert [kind for kind, _, _ in site.events(f"/surfaces/{surface}/events")] == ["progress", "end"]
    assert site.http.post(f"/surfaces/{surface}/retry").json()["state"] == "queued"
    hands.work_until_idle(surface)
    site.finished(surface, 20)
    assert (npz.load(site.services.blobs.get(surface_key(surface))).loss == right.loss).all()


def test_a_link_needs_no_body(asked):
    site, _, surface = asked
    assert site.http.post(f"/surfaces/{surface}/shares").status_code == 201


class SilentProxy:
    """Passes bytes between a client and a server until it is told to freeze; then its connections stay open and silent."""

    def __init__(self, port: int) -> None:
        self.port, self.frozen = port, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self.frozen.is_set():
                    time.sleep(0.05)
                target.sendall(data)


def test_a_redis_that_falls_silent_does_not_hold_up_a_stream(valkey):
    proxy = SilentProxy(int(valkey.rpartition(":")[2].partition("/")[0]))
    client = redis.Redis(port=proxy.own_port)

    async def idle_rounds() -> int:
        stream, rounds = follow(client, "nothing", "0", 0.1), 0
        assert await anext(stream) is None
        proxy.frozen.set()
        async with asyncio.timeout(60):
            assert await anext(stream) is None
            rounds += 1
        proxy.frozen.clear()
        await stream.aclose()
        return rounds

    assert asyncio.run(idle_rounds()) == 1
    proxy.listener.close()


def test_what_another_release_asked_for_is_asked_for_anew(asked, start_site, request_for, ready_checkpoint):
    site, _, surface = asked
    site.stop()
    change(site, surface, job='{"of": "another release"}', request='{"of": "another release"}', state="failed")
    again = start_site(site.settings)
    refused = again.http.post(f"/surfaces/{surface}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert "another release" in refused.json()["error"]["message"]
    answer = again.http.post("/surfaces", json=request_for(ready_checkpoint, 9, 200))
    assert (answer.status_code, answer.json()) == (200, {"id": surface, "state": "queued"})
    hands = Hands(again.services)
    hands.work_until_idle(surface)
    again.finished(surface, 20)


def test_units_that_rotted_are_made_up_for_without_losing_the_surface(asked):
    site, hands, surface = asked
    site.stop()
    change(site, surface, stage=2, state="running")
    site.services.blobs.put(surface_key(surface), b"of stage 2")
    active = ActiveSurface(site.services, site.services.surface_row(surface))
    for unit in hands.plan(surface).stage_units(0):
        hands.give(surface, unit, announce=False)
        active._fold(unit)
    active.tell(None)
    assert not active.is_over
    assert site.services.blobs.get(surface_key(surface)) == b"of stage 2"
    for unit in range(len(hands.plan(surface).units)):
        hands.give(surface, unit, announce=False)
        active._fold(unit)
    active.tell(None)
    assert site.services.surface(surface).state == "finished"
