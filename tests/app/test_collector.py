"""The collector against everything that workers and Redis do to it; the test is the worker, and its values are made up."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time

import numpy as np
import pytest

from landscape_core.estimate import surface_from_tally
from landscape_core.formats import npz
from landscape_core.results import Tally
from tests.app.hands import Hands
from worker.blobs import report_key, surface_key, surface_prefix, unit_key
from worker.job import Announcement
from worker.queue import encode_unit


@pytest.fixture
def begin(settings, start_site, ready_checkpoint, request_for):
    """A site in which a surface was asked for, and whose worker the test is."""

    def make(points=9, examples=200, **parts):
        site = start_site(settings)
        answer = site.http.post("/surfaces", json=request_for(ready_checkpoint, points, examples, **parts))
        assert answer.status_code == 202, answer.text
        return site, Hands(site.services), answer.json()["id"]

    return make


def expected(hands: Hands, surface: str):
    """What the values must be: the sums of all units, chunk by chunk."""
    plan = hands.plan(surface)
    total = Tally.zeros(*plan.shape)
    for start, stop in dict.fromkeys(plan.chunks):
        chunk = Tally.zeros(*plan.shape)
        for unit in plan.units:
            if unit.start == start and unit.stop == stop:
                rows, columns = np.array(unit.cells).T
                for name in ("examples", "loss_sum", "loss_sq", "correct"):
                    getattr(chunk, name)[rows, columns] = getattr(hands.tally(unit), name)
        total += chunk
    return surface_from_tally(hands.job(surface).request, total, {})


def left_alone(hands: Hands, surface: str) -> bool:
    """Whether no unit is asked for while the collector looks, sweeps and fills."""
    hands.forget_jobs()
    time.sleep(2.0)
    return hands.take(surface) is None


def check(site, hands: Hands, surface: str) -> None:
    """The surface is finished with the right values, each unit counted once."""
    site.finished(surface, 20)
    found, right = site.services.surface_result(surface), expected(hands, surface)
    for name in ("loss", "stderr", "accuracy", "examples", "state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(right, name))


def test_units_become_stages_and_a_finished_surface(begin, wait_until):
    site, hands, surface = begin()
    stages = len(hands.plan(surface).stages)
    for stage in range(1, stages):  # given one by one, since a collector that lags tells only the newest
        for _ in hands.plan(surface).stage_units(stage - 1):
            hands.give(surface, hands.wait_for(surface))
        wait_until(lambda stage=stage: site.services.surface(surface).progress.stage == stage, 5, f"stage {stage}")
    hands.work_until_idle(surface)
    check(site, hands, surface)
    events = site.events(f"/surfaces/{surface}/events")
    assert [kind for kind, _, _ in events] == ["surface", "progress", "end"]
    published = [data for kind, data in hands.published(surface) if kind == "surface"]
    assert [event["stage"] for event in published] == list(range(1, stages + 1))
    assert published[-1]["stage"] == published[-1]["stages"] == published[-1]["progress"]["stages"]
    provenance = site.services.surface(surface).provenance
    assert provenance["digest"] == surface
    assert provenance["workers"] == {"hands": "cpu"}
    assert provenance["not_finite"] == 0
    assert "stage" not in provenance
    hands.finish(surface, own_loss=1.5)
    wait_until(lambda: site.services.surface(surface).provenance.get("own_loss") == 1.5, 5, "the last touches are known")
    wait_until(lambda: not site.services.blobs.list(f"{surface_prefix(surface)}units/"), 5, "the units are removed")
    check(site, hands, surface)


def test_a_curve_works_like_a_surface(settings, start_site, ready_checkpoint, request_for):
    site = start_site(settings)
    body = request_for(ready_checkpoint, (17, 1), 100)
    body["grid"]["y"] = body["plane"]["y"] = None
    surface = site.http.post("/surfaces", json=body).json()["id"]
    hands = Hands(site.services)
    hands.work_until_idle(surface)
    check(site, hands, surface)
    assert site.events(f"/surfaces/{surface}/events")[0][2]["y"] is None
    assert site.http.get(f"/surfaces/{surface}/data.vtp").status_code == 200
    for suffix in ("stl", "glb"):
        refused = site.http.get(f"/surfaces/{surface}/data.{suffix}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "surface_rejected")
        assert f"A .{suffix} needs at least 2 x 2 cells: a curve has no area" in refused.json()["error"]["message"]


def test_what_fails_is_tried_three_times(begin, wait_until):
    site, hands, surface = begin(points=2)
    for _ in range(3):
        unit = hands.wait_for(surface, 0)
        hands.fail(surface, unit, "The device is on fire.", retry=True)
    failed = wait_until(lambda: (i := site.services.surface(surface)).state == "failed" and i, 5, "it is given up")
    assert failed.problem == "The device is on fire."
    assert site.events(f"/surfaces/{surface}/events")[-1][2] == {"state": "failed", "problem": "The device is on fire."}
    assert site.http.post(f"/surfaces/{surface}/cancel").status_code == 409
    assert site.http.post(f"/surfaces/{surface}/retry").json()["state"] == "queued"
    hands.work_until_idle(surface)
    check(site, hands, surface)


def test_what_cannot_be_helped_is_not_tried_again(begin, wait_until):
    site, hands, surface = begin(points=2)
    hands.fail(surface, hands.wait_for(surface, 0), "The direction file has other shapes.", retry=False)
    info = wait_until(lambda: (i := site.services.surface(surface)).state == "failed" and i, 5, "it is given up")
    assert info.problem == "The direction file has other shapes."
    again = site.http.post("/surfaces", json=json.loads(info.request.canonical_json()))
    assert (again.status_code, again.json()["state"]) == (200, "queued")


def test_units_that_vanish_are_asked_for_again(begin):
    site, hands, surface = begin(points=2)
    lost = [hands.wait_for(surface, index) for index in (0, 1)]
    assert hands.wait_for(surface, 0, 10) == lost[0]
    assert hands.wait_for(surface, 1, 10) == lost[1]
    for unit in lost:
        hands.give(surface, unit)
    hands.work_until_idle(surface)
    check(site, hands, surface)


def test_results_that_nobody_announced_are_found(begin):
    site, hands, surface = begin()
    for index in range(4):
        hands.give(surface, hands.wait_for(surface, index), announce=False)
    hands.work_until_idle(surface)
    check(site, hands, surface)
    assert not {0, 1, 2, 3} & hands.taken_twice


def test_a_damaged_result_is_computed_again(begin):
    site, hands, surface = begin(points=2)
    unit = hands.wait_for(surface, 0)
    part = hands.plan(surface).unit(unit)
    # damaged before it is stored: a sweep would take in the good one
    blob = bytearray(encode_unit(part.cells, hands.tally(part)))
    blob[-20] ^= 1
    site.services.blobs.put(unit_key(surface, unit), bytes(blob))
    hands.announce(surface, unit)
    assert hands.wait_for(surface, unit, 10) == unit
    hands.give(surface, unit)
    hands.work_until_idle(surface)
    check(site, hands, surface)


def test_every_announcement_may_come_twice_and_in_any_order(begin):
    site, hands, surface = begin()
    hands.work_until_idle(surface, twice=True, shuffle=True)
    check(site, hands, surface)


@pytest.mark.slow
def test_a_flushed_redis_loses_nothing(begin):
    site, hands, surface = begin(points=21)
    for _ in range(3):
        for _ in range(3):
            hands.give(surface, hands.wait_for(surface))
        site.services.queue.redis.flushall()
    hands.work_until_idle(surface)
    check(site, hands, surface)


def test_a_web_server_that_starts_again_goes_on(begin, start_site, settings):
    site, hands, surface = begin(points=21)
    for _ in range(6):
        hands.give(surface, hands.wait_for(surface))
    site.stop()
    for unit in (hands.take(surface), hands.take(surface)):
        if unit is not None:
            hands.give(surface, unit)
    again = start_site(settings)
    hands.work_until_idle(surface)
    check(again, hands, surface)
    assert hands.taken_twice == set()


@pytest.mark.slow
def test_of_two_web_servers_one_collects_and_the_other_takes_over(begin, start_site, settings):
    site, hands, surface = begin(points=21)
    second = start_site(settings)
    for _ in range(4):
        hands.give(surface, hands.wait_for(surface))
    site.stop()
    hands.work_until_idle(surface)
    check(second, hands, surface)


def test_cancel_keeps_what_is_measured_and_retry_goes_on_from_it(begin, wait_until):
    site, hands, surface = begin(points=21)
    given = [hands.wait_for(surface) for _ in range(5)]
    for unit in given:
        hands.give(surface, unit)
    wait_until(lambda: site.services.surface(surface).state == "running", 5, "it is running")
    late = hands.wait_for(surface)
    assert site.http.post(f"/surfaces/{surface}/cancel").json()["state"] == "cancelled"
    assert site.http.post(f"/surfaces/{surface}/cancel").json()["state"] == "cancelled"
    assert site.services.queue.is_cancelled(surface)
    assert site.events(f"/surfaces/{surface}/events")[-1][2]["state"] == "cancelled"
    hands.give(surface, late)
    wait_until(lambda: left_alone(hands, surface), 15, "nobody asks for its units any more")
    assert site.services.surface(surface).state == "cancelled"
    assert site.http.post(f"/surfaces/{surface}/retry").json()["state"] == "queued"
    assert not site.services.queue.is_cancelled(surface)
    hands.taken.clear()
    hands.work_until_idle(surface)
    check(site, hands, surface)
    assert not {*given, late} & set(hands.taken)
    assert site.http.post(f"/surfaces/{surface}/cancel").status_code == 409
    assert site.http.post(f"/surfaces/{surface}/retry").status_code == 409


def test_a_unit_that_kills_its_worker_is_given_up_after_the_third_time(begin, wait_until):
    site, hands, surface = begin(points=2)
    for times in range(3):
        unit = hands.wait_for(surface, 0, 15)
        hands.die(surface, unit, attempt=times)
    info = wait_until(lambda: (i := site.services.surface(surface)).state == "failed" and i, 10, "it is given up")
    assert "killed 3 times" in info.problem


def test_a_surface_can_be_deleted_while_it_is_computed(begin, wait_until):
    site, hands, surface = begin()
    hands.give(surface, hands.wait_for(surface, 0))
    assert site.http.delete(f"/surfaces/{surface}").status_code == 204
    assert site.http.get(f"/surfaces/{surface}").status_code == 404
    hands.give(surface, 1, keep=True)
    wait_until(lambda: left_alone(hands, surface), 15, "nobody asks for its units any more")
    assert not site.services.blobs.exists(surface_key(surface))


def test_surfaces_share_the_workers(begin, request_for, ready_checkpoint, wait_until):
    site, hands, first = begin(points=41)
    second = site.http.post("/surfaces", json=request_for(ready_checkpoint, 31, 100)).json()["id"]
    wait_until(lambda: {first, second} <= {surface for surface, _ in hands.waiting()}, 5, "both have units in the queue")
    for surface in (first, second):
        assert sum(name == surface for name, _ in hands.waiting()) <= 8


def test_an_inspection_that_is_lost_is_asked_for_again(settings, start_site, mlp_bytes, wait_until):
    site = start_site(settings)
    hands = Hands(site.services)
    sha = site.http.put("/checkpoints", content=mlp_bytes(5)).json()["id"]
    wait_until(lambda: hands.take_intake(sha), 5, "the inspection is asked for")
    wait_until(lambda: hands.take_intake(sha), 10, "the inspection is asked for again")
    site.services.blobs.put(report_key("checkpoint", sha), b'{"problem": "It is no checkpoint."}')
    info = wait_until(lambda: (c := site.services.checkpoint(sha)).state == "rejected" and c, 10, "the report is found")
    assert info.problem == "It is no checkpoint."
    assert site.http.put("/checkpoints", content=mlp_bytes(5)).json() == {"id": sha, "state": "inspecting"}


def test_an_inspection_that_fails_is_tried_three_times(settings, start_site, mlp_bytes, wait_until):
    site = start_site(settings)
    hands = Hands(site.services)
    sha = site.http.put("/datasets", content=mlp_bytes(6)).json()["id"]
    for _ in range(3):
        wait_until(lambda: hands.take_intake(sha), 10, "the inspection is asked for")
        hands.say(Announcement(kind="intake", subject=sha, problem="The worker stumbled.", retry=True))
    info = wait_until(lambda: (d := site.services.dataset(sha)).state == "rejected" and d, 10, "it is given up")
    assert info.problem == "The worker stumbled."


def test_a_picture_that_cannot_be_drawn_does_not_hold_up_the_surface(begin, wait_until):
    site, hands, surface = begin()
    hands.work_until_idle(surface)
    site.finished(surface)
    for _ in range(3):
        wait_until(lambda: hands.take_finish(surface), 10, "the picture is asked for")
        hands.say(Announcement(kind="finishing", subject=surface, problem="No paint.", retry=True))
    wait_until(lambda: site.services.surface_row(surface).finishing == "failed", 5, "it is given up")
    hands.take_finish(surface)  # a sweep at that very moment may have asked once more
    time.sleep(2.0)
    assert not hands.take_finish(surface)
    assert site.http.get(f"/surfaces/{surface}").json()["state"] == "finished"
    assert site.http.get(f"/surfaces/{surface}/preview.png").status_code == 404


def test_a_file_that_is_imported_is_read_by_the_worker(settings, start_site, wait_until, begin):
    site, hands, surface = begin()
    hands.work_until_idle(surface)
    site.finished(surface)
    content = npz.dump(dataclasses.replace(site.services.surface_result(surface), provenance={"by": "me"}))
    sha = hashlib.sha256(content).hexdigest()
    path = settings.data / "import.npz"
    path.write_bytes(content)
    assert site.services.import_surface(path, "my surface.npz", wait_s=0).state == "queued"
    wait_until(lambda: hands.take_intake(sha), 5, "the inspection is asked for")
    site.services.blobs.put(surface_key(sha), content)
    site.services.blobs.put(report_key("surface", sha), b'{"kind": "surface", "problem": null}')
    hands.say(Announcement(kind="intake", subject=sha))
    info = wait_until(lambda: (i := site.services.surface(sha)).state == "finished" and i, 5, "it is imported")
    assert (info.title, info.origin, info.provenance) == ("my surface", "imported", {"by": "me"})
    assert site.http.post(f"/surfaces/{sha}/retry").status_code == 409
    assert site.services.snapshot(sha).event(info.progress, info.state)["columns"] == 9
