"""The front door: what is asked for arrives once, in order, and what is lost is known to be lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from landscape_core.errors import InvalidRequest
from worker.allowlist import AllowListedJob
from worker.events import Event
from worker.job import RESULTS_STREAM, Announcement, WorkerStatus, events_stream, worker_key
from worker.queue import WorkQueue, connect, refuse_open_server
from worker.warm import Heart, Vitals, WarmWorker

SURFACE, OTHER = "a" * 64, "b" * 64


def take_all(queue: WorkQueue) -> list[tuple[str, list[Any]]]:
    """What a worker would run, in its order."""
    queues = list(queue.queues.values())
    taken = []
    while found := queues[0].dequeue_any(queues, None, connection=queue.redis, job_class=AllowListedJob, serializer="json"):
        taken.append((str(found[0].func_name).rpartition(".")[2], list(found[0].args)))
    return taken


def test_jobs_come_in_order_of_urgency(queue: WorkQueue) -> None:
    assert queue.enqueue_unit(SURFACE, 7, preview=False, attempt=0)
    assert queue.enqueue_unit(SURFACE, 0, preview=True, attempt=0)
    assert queue.enqueue_unit(SURFACE, 1, preview=True, attempt=0)
    assert queue.enqueue_finish(OTHER)
    assert queue.enqueue_intake("checkpoint", OTHER, "résumé <b>.pt")
    assert queue.lengths() == {"intake": 1, "preview": 3, "compute": 1}
    assert take_all(queue) == [
        ("run_intake", ["checkpoint", OTHER, "résumé <b>.pt"]),
        ("run_unit", [SURFACE, 0]),
        ("run_unit", [SURFACE, 1]),
        ("run_finish", [OTHER]),
        ("run_unit", [SURFACE, 7]),
    ]


def test_what_is_in_flight_is_not_enqueued_again(queue: WorkQueue) -> None:
    for again in (False, True):
        assert queue.enqueue_unit(SURFACE, 3, preview=True, attempt=0) is not again
        assert queue.enqueue_intake("dataset", SURFACE, "x.npz") is not again
        assert queue.enqueue_finish(SURFACE) is not again
    assert queue.lengths() == {"intake": 1, "preview": 2, "compute": 0}
    assert 3 in queue.units_in_flight(SURFACE)
    assert 2 not in queue.units_in_flight(SURFACE)
    assert 3 not in queue.units_in_flight(OTHER)
    assert queue.units_in_flight(SURFACE) == {3}
    assert queue.intake_in_flight("dataset", SURFACE)
    assert not queue.intake_in_flight("checkpoint", SURFACE)
    assert queue.finish_in_flight(SURFACE)


def test_a_job_that_nobody_has_is_lost_and_can_be_asked_for_again(queue: WorkQueue, wait_until: Any) -> None:
    queue.enqueue_unit(SURFACE, 3, preview=False, attempt=1)
    queue.redis.delete(queue.queues["compute"].key)  # taken by a worker that died before it began
    assert 3 in queue.units_in_flight(SURFACE)  # it might just be on its way
    wait_until(lambda: 3 not in queue.units_in_flight(SURFACE), 3, "the hand-over is over")
    assert queue.enqueue_unit(SURFACE, 3, preview=False, attempt=1)
    assert queue.lengths()["compute"] == 1


def test_a_job_that_ends_while_the_dead_are_looked_for_is_none_of_them(
    queue: WorkQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.enqueue_unit(SURFACE, 1, preview=False, attempt=0)
    started(queue)
    key = queue.queues["compute"].started_job_registry.key
    entries = queue.redis.zrange(key, 0, -1)
    beating = queue._beating

    def ends_meanwhile(found: Any) -> Any:
        answer = [(entry, False) for entry, _ in beating(found)]
        queue.redis.zrem(key, *entries)
        return answer

    assert len(entries) == 1
    monkeypatch.setattr(queue, "_beating", ends_meanwhile)
    assert queue.clean_abandoned() == ()


def test_what_rq_noted_of_old_failures_is_forgotten(queue: WorkQueue) -> None:
    registry = queue.queues["compute"].failed_job_registry
    queue.redis.zadd(registry.key, {"old": time.time() - 1, "new": time.time() + 60})
    queue.clean_abandoned()
    assert queue.redis.zcard(registry.key) == 2
    queue.forget_failures()
    assert queue.redis.zrange(registry.key, 0, -1) == [b"new"]


def started(queue: WorkQueue) -> tuple[WarmWorker, Any]:
    """A worker with the first job in hand, whose heart does not beat."""
    from worker.settings import WorkerSettings

    vitals = Vitals()
    heart = Heart(WorkerSettings(redis_url="redis://unused", name="w"), queue, vitals, None)
    worker = WarmWorker(queue, vitals, heart)
    found = queue.queues["compute"].dequeue_any(worker.queues, None, queue.redis, AllowListedJob, "json")
    assert found is not None
    execution = worker.prepare_execution(found[0])
    worker.prepare_job_execution(found[0])
    return worker, (found[0], found[1], execution)


def test_an_idle_worker_hears_that_there_is_no_job_and_no_time_out(queue: WorkQueue) -> None:
    from worker.settings import WorkerSettings

    assert queue.redis.ping()  # connections of before have less patience than rq waits for a job
    vitals = Vitals()
    worker = WarmWorker(queue, vitals, Heart(WorkerSettings(redis_url="redis://unused", name="w"), queue, vitals, None))
    pool, few = queue.redis.connection_pool, 3
    made = [pool.get_connection() for _ in range(few)]
    assert all(connection.socket_timeout > worker.dequeue_timeout for connection in made)
    for connection in made:
        pool.release(connection)
    assert queue.redis.ping()


def test_a_job_whose_worker_is_silent_is_abandoned(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch, wait_until: Any) -> None:
    monkeypatch.setattr("worker.warm.WORKER_TTL_S", 1)
    for index in (1, 2):
        queue.enqueue_unit(SURFACE, index, preview=False, attempt=0)
    started(queue)
    assert queue.clean_abandoned() == ()
    assert queue.units_in_flight(SURFACE) == {1, 2}
    wait_until(lambda: queue.units_in_flight(SURFACE) == {2}, 5, "the silent worker is missed")
    assert queue.clean_abandoned() == (f"unit-{SURFACE}-1-0",)
    assert queue.clean_abandoned() == ()
    assert queue.enqueue_unit(SURFACE, 1, preview=False, attempt=0)
    assert queue.units_in_flight(SURFACE) == {1, 2}


def test_a_job_that_is_handed_back_comes_next(queue: WorkQueue) -> None:
    for index in (1, 2):
        queue.enqueue_unit(SURFACE, index, preview=False, attempt=0)
    worker, taken = started(queue)
    worker.hand_back(*taken)
    assert take_all(queue) == [("run_unit", [SURFACE, 1]), ("run_unit", [SURFACE, 2])]


def test_the_clock_of_this_machine_does_not_matter(queue: WorkQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.enqueue_unit(SURFACE, 1, preview=False, attempt=0)
    started(queue)
    for hours in (-1, 1):
        monkeypatch.setattr("rq.utils.current_timestamp", lambda hours=hours: time.time() + 3600 * hours)
        assert queue.clean_abandoned() == ()
        assert queue.units_in_flight(SURFACE) == {1}


def test_cancelling(queue: WorkQueue) -> None:
    assert not queue.is_cancelled(SURFACE)
    queue.cancel(SURFACE)
    queue.cancel(SURFACE)
    assert queue.is_cancelled(SURFACE)
    assert not queue.is_cancelled(OTHER)
    queue.uncancel(SURFACE)
    assert not queue.is_cancelled(SURFACE)


def test_announcements_arrive_in_order_and_others_are_left_aside(queue: WorkQueue) -> None:
    for index in range(3):
        queue.announce(Announcement(kind="unit", subject=SURFACE, unit=index, seconds=0.5, worker="w"))
        queue.redis.xadd(RESULTS_STREAM, {"json": '{"kind": "of another release"}'})
    queue.redis.xadd(RESULTS_STREAM, {"nothing": "\xff"})
    found = queue.results("0", block_ms=1)
    assert [announcement.unit for _, announcement in found] == [0, 1, 2]
    assert queue.results(found[0][0], block_ms=1) == found[1:]
    assert queue.results(found[-1][0], block_ms=200) == []
    assert queue.redis.xlen(RESULTS_STREAM) == 3


def test_waiting_for_announcements_longer_than_redis_py_does(queue: WorkQueue) -> None:
    began = time.monotonic()
    assert queue.results("0", block_ms=60_000) == []
    assert (
        3 < time.monotonic() - began < 60
    )  # as long as the client's own timeout allows, and not the minute that was asked for


def test_workers_are_seen_while_they_beat(queue: WorkQueue) -> None:
    status = WorkerStatus(name="w", pid=1, host="h", device="cpu", threads=2, state="idle", started=0.0)
    queue.beat(status)
    queue.redis.set(worker_key("broken"), "{")
    assert queue.workers() == [status]
    assert 8 < queue.redis.pttl(worker_key("w")) / 1000 <= 10
    queue.forget_worker("w")
    assert queue.workers() == []


def test_events_are_kept_for_a_while(queue: WorkQueue) -> None:
    ids = [queue.publish_event(SURFACE, "progress", {"n": n}) for n in range(620)]
    assert queue.last_event_id(SURFACE) == ids[-1]
    assert queue.last_event_id(OTHER) == "0"
    assert 512 <= queue.redis.xlen(events_stream(SURFACE)) < 620
    assert 0 < queue.redis.ttl(events_stream(SURFACE)) <= 86_400
    with pytest.raises(ValueError, match="not JSON compliant"):
        queue.publish_event(SURFACE, "progress", {"n": float("nan")})


def test_large_events_do_not_fill_redis(queue: WorkQueue) -> None:
    for _ in range(12):
        queue.publish_event(SURFACE, "surface", {"loss": "x" * (4 << 20)})
    assert queue.redis.xlen(events_stream(SURFACE)) == 8


async def take(events: AsyncIterator[Event | None], count: int) -> list[Event]:
    found: list[Event] = []
    async for event in events:
        if event is not None:
            found.append(event)
            if len(found) == count:
                break
    return found


def test_events_are_followed_from_any_id_through_a_restart_of_redis(queue: WorkQueue, server: Any) -> None:
    async def scenario() -> None:
        first = queue.publish_event(SURFACE, "progress", {"n": 0})
        queue.publish_event(SURFACE, "surface", {"n": 1})
        async with contextlib.aclosing(queue.events(SURFACE, first, idle_s=0.2)) as events:  # type: ignore[type-var]
            assert [(event.event, json.loads(event.data)) for event in await take(events, 1)] == [("surface", {"n": 1})]
            assert await anext(events) is None
            server.kill()
            assert await anext(events) is None
            server.start()
            late = queue.publish_event(SURFACE, "end", {"n": 2})
            assert await asyncio.wait_for(take(events, 1), 5) == [Event(late, "end", '{"n":2}')]

    asyncio.run(scenario())


def test_a_follower_that_waits_is_told_so(queue: WorkQueue) -> None:
    async def scenario() -> None:
        async with contextlib.aclosing(queue.events(SURFACE, "0", idle_s=5.3)) as events:  # type: ignore[type-var]
            began = time.monotonic()
            assert await anext(events) is None
            assert time.monotonic() - began > 5.2

    asyncio.run(scenario())


def test_nobody_there_is_known_soon() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(redis.ConnectionError):
        WorkQueue.at(f"redis://127.0.0.1:{port}/0").lengths()


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "redis://:p@host:port", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="LOSSATLAS_REDIS_URL is no address"):
        connect(url)


def test_our_own_servers_are_not_open(valkey: str, server: Any) -> None:
    for url in (valkey, server.url):
        refuse_open_server(connect(url))


@pytest.mark.parametrize(
    ("bind", "protected", "password", "port", "is_open"),
    [
        ("* -::*", "no", "", "6379", True),
        ("0.0.0.0", "no", "", "6379", True),
        ("127.0.0.1 10.0.0.7", "no", "", "6379", True),
        ("", "no", "", "6379", True),
        ("* -::*", "yes", "", "6379", False),
        ("* -::*", "no", "secret", "6379", False),
        ("127.0.0.1 -::1", "no", "", "6379", False),
        ("* -::*", "no", "", "0", False),
    ],
)
def test_a_redis_that_is_open_to_everybody_is_refused(
    monkeypatch: pytest.MonkeyPatch, bind: str, protected: str, password: str, port: str, is_open: bool
) -> None:
    values = {"bind": bind, "protected-mode": protected, "requirepass": password, "port": port}
    client = connect("redis://127.0.0.1:1/0")
    monkeypatch.setattr(client, "config_get", lambda name: {name: values[name]})
    with pytest.raises(InvalidRequest, match="anybody could queue work") if is_open else contextlib.nullcontext():
        refuse_open_server(client)
