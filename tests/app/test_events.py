"""What browsers follow: from the start, from where they were, through losses, to the end or until it is forbidden."""

from __future__ import annotations

import base64
import threading
import time

import numpy as np
import pytest

from tests.app.hands import Hands


@pytest.fixture
def running(settings, start_site, ready_checkpoint, request_for, wait_until):
    """A site with a surface that has its first stages."""
    site = start_site(settings)
    surface = site.http.post("/surfaces", json=request_for(ready_checkpoint, 9, 200)).json()["id"]
    hands = Hands(site.services)
    for unit in hands.plan(surface).stage_units(0):
        hands.give(surface, unit)
    wait_until(lambda: site.services.surface(surface).progress.stage == 1, 5, "the first stage")
    return site, hands, surface


class Follower(threading.Thread):
    """Follows a stream in a thread, as a browser does."""

    def __init__(self, site, path, parse, **headers):
        super().__init__()
        self.site, self.path, self.parse, self.headers = site, path, parse, headers
        self.events, self.ended_at, self.failed = [], None, None
        self.start()

    def run(self):
        try:
            with self.site.http.stream("GET", self.path, headers=self.headers, timeout=60) as stream:
                for event in self.parse(stream.iter_lines()):
                    self.events.append(event)
        except Exception as error:  # noqa: BLE001
            self.failed = error
        self.ended_at = time.monotonic()

    def kinds(self):
        return [kind for kind, _, _ in self.events]


def test_a_snapshot_can_be_decoded_by_itself(running, parse_events, wait_until):
    site, hands, surface = running
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events)
    kind, _, data = wait_until(lambda: follower.events, 5, "an event")[0]
    assert kind == "surface"
    shape = (data["rows"], data["columns"])
    loss = np.frombuffer(base64.b64decode(data["loss"]), "<f4").reshape(shape)
    counts = np.frombuffer(base64.b64decode(data["counts"]), "<i4").reshape(shape)
    stored = site.services.snapshot(surface)
    cells = np.ix_(stored.rows, stored.columns)
    np.testing.assert_array_equal(loss, stored.surface.loss[cells].astype(np.float32))
    np.testing.assert_array_equal(counts, stored.surface.examples[cells])
    assert len(data["x"]) == data["columns"]
    assert len(data["y"]) == data["rows"]
    assert (data["stage"], data["state"], data["examples"], data["not_finite"]) == (1, "running", 64, 0)
    assert data["range"] == {"x": [-1.0, 1.0], "y": [-1.0, 1.0]}
    assert data["flatness"] == stored.shown().flatness().model_dump(mode="json")
    assert (
        data["flatness"]["centre_loss"]
        == stored.surface.loss[stored.surface.loss.shape[0] // 2, stored.surface.loss.shape[1] // 2]
    )
    assert data["progress"]["stages"] == data["stages"]
    assert 0 < data["progress"]["done"] < 1
    assert data["progress"]["seconds_left"] > 0
    hands.work_until_idle(surface)
    follower.join(15)
    assert follower.kinds()[-2:] == ["surface", "end"]
    assert "progress" in follower.kinds()


def test_a_browser_goes_on_where_it_was(running, parse_events):
    site, hands, surface = running
    hands.work_until_idle(surface)
    site.finished(surface)
    stages = [
        (data["stage"], stream_id)
        for (_, data), stream_id in zip(hands.published(surface), hands.ids(surface), strict=True)
        if "stage" in data
    ]
    middle = stages[len(stages) // 2][1]
    events = site.events(f"/surfaces/{surface}/events", **{"last-event-id": middle})
    assert events[-1][0] == "end"
    assert events[0][2]["stage"] == stages[-1][0]


def test_a_browser_that_comes_back_in_the_middle_misses_nothing(running, parse_events, wait_until):
    site, hands, surface = running
    last = hands.ids(surface)[-1]
    for unit in hands.plan(surface).stage_units(1):
        hands.give(surface, unit)
    wait_until(lambda: site.services.surface(surface).progress.stage == 2, 5, "the second stage")
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events, **{"last-event-id": last})
    first = wait_until(lambda: [e for e in follower.events if e[0] == "surface"], 5, "what was missed")[0]
    assert first[2]["stage"] == 2
    assert follower.events[0][1] > last
    hands.work_until_idle(surface)
    follower.join(15)
    assert follower.kinds()[-1] == "end"


def test_a_stage_is_shown_once_though_the_stream_brings_it_late(running, parse_events, wait_until):
    site, hands, surface = running
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events)
    wait_until(lambda: "surface" in follower.kinds(), 5, "the first stage")
    late = next(data for kind, data in hands.published(surface) if kind == "surface")
    site.services.queue.publish_event(surface, "surface", late)
    for unit in hands.plan(surface).stage_units(1):
        hands.give(surface, unit)
    wait_until(lambda: follower.kinds().count("surface") >= 2, 10, "the second stage")
    hands.work_until_idle(surface)
    follower.join(40)
    stages = [data["stage"] for kind, _, data in follower.events if kind == "surface"]
    assert stages == sorted(set(stages))


@pytest.mark.parametrize("sent", ["nonsense", "0-0\r\nx", "9" * 40 + "-1", "-1"])
def test_an_id_that_is_none_begins_at_the_beginning(running, parse_events, wait_until, sent):
    site, _, surface = running
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events, **{"last-event-id": sent.replace("\r\n", " ")})
    assert wait_until(lambda: follower.events, 5, "an event")[0][0] == "surface"
    site.http.post(f"/surfaces/{surface}/cancel")
    follower.join(10)
    assert follower.events[-1][2] == {"state": "cancelled", "problem": None}


def test_an_end_that_redis_forgot_is_told_all_the_same(running, parse_events, wait_until):
    site, hands, surface = running
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events)
    wait_until(lambda: follower.events, 5, "an event")
    with site.services.database.writing() as session:
        from app.database import SurfaceRow

        session.get(SurfaceRow, surface).state = "cancelled"
    follower.join(10)
    assert follower.kinds()[-1] == "end"
    assert hands.published(surface)[-1][0] != "end"


def test_a_deleted_surface_ends_its_streams(running, parse_events, wait_until):
    site, _, surface = running
    follower = Follower(site, f"/surfaces/{surface}/events", parse_events)
    wait_until(lambda: follower.events, 5, "an event")
    site.http.delete(f"/surfaces/{surface}")
    follower.join(10)
    assert not follower.is_alive()


def test_a_revoked_link_ends_its_streams_within_five_seconds(running, parse_events, wait_until):
    site, _, surface = running
    token = site.http.post(f"/surfaces/{surface}/shares", json={}).json()["token"]
    follower = Follower(site, f"/shares/{token}/events", parse_events)
    wait_until(lambda: follower.events, 5, "an event")
    assert site.http.delete(f"/shares/{token}").status_code == 204
    follower.join(40)
    assert follower.ended_at is not None
    assert "end" not in follower.kinds()


def test_streams_do_not_hold_up_the_end_of_the_server(running, parse_events, wait_until):
    site, _, surface = running
    followers = [Follower(site, f"/surfaces/{surface}/events", parse_events) for _ in range(5)]
    wait_until(lambda: all(f.events for f in followers), 10, "events")
    site.stop()
    for follower in followers:
        follower.join(30)
        assert not follower.is_alive()


def test_what_is_not_there_cannot_be_followed(site):
    for path in (f"/surfaces/{'a' * 64}/events", "/shares/none/events"):
        answer = site.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_browsers_that_leave_give_their_connections_back(running, wait_until):
    site, _, surface = running
    redis = site.services.queue.redis
    before = len(redis.client_list())
    for _ in range(10):
        with site.http.stream("GET", f"/surfaces/{surface}/events") as stream:
            next(stream.iter_lines())
    wait_until(lambda: len(redis.client_list()) <= before + 2, 10, "the connections are given back")
