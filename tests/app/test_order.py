"""In which order several surfaces are computed, and by whom."""

from __future__ import annotations

import pytest

from app.services.jobs import UNIT_S
from tests.app.hands import Hands
from worker.job import Announcement


@pytest.fixture
def two(monkeypatch, settings, start_site, ready_checkpoint, request_for, wait_until):
    """A large surface that has been computed for six seconds, and a small one that was asked for just now."""
    monkeypatch.setattr("app.turns.SOON_S", 10.0)
    site = start_site(settings)
    hands = Hands(site.services)
    large = site.http.post("/surfaces", json=request_for(ready_checkpoint, 41)).json()["id"]
    for _ in range(12):
        hands.give(large, hands.wait_for(large))
    wait_until(hands.waiting, 5, "further units are asked for")
    small = site.http.post("/surfaces", json=request_for(ready_checkpoint, 21)).json()["id"]
    return site, hands, large, small


def work(hands: Hands, surface: str, unit: int) -> None:
    hands.beat()
    assert hands.take(surface, unit) == unit
    hands.give(surface, unit)


def test_a_small_surface_goes_ahead_of_a_large_one_and_then_takes_turns_with_it(two, wait_until):
    _, hands, large, small = two
    done: list[str] = []
    for _ in range(13):  # half a second each
        wait_until(lambda: small in dict(hands.waiting()), 5, "the small one's next units are asked for")
        surface, unit = hands.waiting()[0]
        work(hands, surface, unit)
        done.append(surface)
    assert done == [small] * 13
    assert len(hands.plan(small).stage_units(0)) < 13, "only its first stage went ahead"
    for _ in range(24):
        wait_until(lambda: {large, small} == set(dict(hands.waiting())), 5, "both have units in the queue")
        surface, unit = hands.waiting()[0]
        work(hands, surface, unit)
        done.append(surface)
    late = done[21:]  # those that were asked for ahead are still done ahead
    assert 4 <= late.count(small) <= 12, late


def test_none_starves_beside_others_that_go_ahead(two, wait_until, monkeypatch):
    _, hands, large, small = two
    wait_until(lambda: "preview" in queues_of(hands, small), 5, "the small one goes ahead")
    assert set(queues_of(hands, large)) == {"compute"}
    monkeypatch.setattr("app.turns.PATIENCE_S", 1.0)
    wait_until(lambda: "preview" in queues_of(hands, large), 5, "the large one has waited for long, and goes ahead too")
    assert queues_of(hands, large).count("preview") == 1


def queues_of(hands: Hands, surface: str) -> list[str]:
    """The queues in which a surface's units wait."""
    return [
        name for name, queue in hands.queue.queues.items() for job in queue.get_job_ids() if job.startswith(f"unit-{surface}-")
    ]


@pytest.mark.slow
def test_two_workers_share_a_surface_from_its_first_stage_and_small_ones_are_done_beside_large_ones(
    settings, start_site, mlp_bytes, request_for, wait_until
):
    site = start_site(settings)
    site.start_worker()
    site.start_worker()
    wait_until(lambda: sum(w.state == "idle" for w in site.services.workers()) == 2, 30, "both workers are ready")
    checkpoint = site.upload(mlp_bytes(1, (784, 1024, 1024, 10)))
    large = site.http.post("/surfaces", json=request_for(checkpoint, 201, 1000)).json()["id"]
    wait_until(lambda: site.services.surface(large).progress.stage >= 1, 30, "the first stage is whole")
    told = said(site, large)
    stage = Hands(site.services).plan(large).stage_units(0)
    assert {word.worker for word in told if word.unit in stage} == {"worker-1", "worker-2"}
    small = site.compute(request_for(checkpoint, 9, 100, loss="mse"), 30)
    info = site.services.surface(large)
    assert info.state == "running"
    before = info.progress.done
    wait_until(lambda: site.services.surface(large).progress.done > before, 20, "the large one goes on")
    assert site.services.surface(small).state == "finished"
    site.http.post(f"/surfaces/{large}/cancel")


def said(site, surface: str) -> list[Announcement]:
    """What workers have said of a surface's units."""
    found = site.services.queue.results("0", 1)
    return [word for _, word in found if word.subject == surface and word.kind == "unit"]


def test_units_are_cut_by_the_speed_of_the_workers_with_that_architecture(settings, start_site, ready_checkpoint, request_for):
    site = start_site(settings)
    hands = Hands(site.services)
    speeds = {"": 2e6, "mlp": 6e6, "resnet20": 1e6}
    status = next(iter(site.services.workers()))
    hands.queue.beat(status.model_copy(update={"macs_per_second": 9e6, "speeds": speeds}))
    surface = site.http.post("/surfaces", json=request_for(ready_checkpoint, 9, 100)).json()["id"]
    assert hands.job(surface).unit_macs == int(UNIT_S * 6e6)
    assert [status.model_copy(update={"speeds": speeds}).speed_on(name) for name in ("resnet20", "vgg16")] == [1e6, 2e6]
    estimate = site.http.post("/surfaces/estimate", json=request_for(ready_checkpoint, 9, 100)).json()
    assert estimate["seconds"] == pytest.approx(estimate["macs"] / 6e6)
