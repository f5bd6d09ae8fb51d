"""Surfaces that are sent while they are computed elsewhere, over HTTP: who may send, what is taken, what is told."""

from __future__ import annotations

import io
import pickle
from typing import Any

import httpx
import numpy as np
import pytest

from landscape_core.formats import npz
from tests.cli.running import measured

pytestmark = pytest.mark.slow


class Sender:
    """Somebody who computes elsewhere."""

    def __init__(self, http: httpx.Client, **wish: Any) -> None:
        answer = http.post("/surfaces/live", json={"name": "mine", **wish})
        assert answer.status_code == 201, answer.text
        self.http, self.id = http, answer.json()["id"]
        self.headers = {"x-live-secret": answer.json()["secret"]}

    def send(self, stage: int, content: bytes, **parameters: int) -> httpx.Response:
        """The answer to a state, once it is shown or refused: until then the same is sent again, as after a lost answer."""
        query = {"stage": stage, **parameters}
        while True:
            answer = self.http.put(f"/surfaces/{self.id}/live", params=query, content=content, headers=self.headers)
            if answer.status_code != 202:
                return answer

    def tell(self, **word: Any) -> httpx.Response:
        return self.http.patch(f"/surfaces/{self.id}/live", json=word, headers=self.headers)

    def info(self) -> dict[str, Any]:
        return self.http.get(f"/surfaces/{self.id}").json()


def _bowl(points: int) -> bytes:
    return npz.dump(measured(points, points))


def test_followers_see_every_state_how_far_it_is_and_the_end(working_site):
    sender = Sender(working_site.http, stages=3)
    assert sender.send(1, _bowl(3), stages=3).status_code == 200
    assert sender.tell(done=0.25).json()["progress"]["done"] == 0.25
    first = sender.info()
    assert (first["state"], first["origin"], first["progress"]["stage"], first["progress"]["stages"]) == (
        "running",
        "imported",
        1,
        3,
    )
    assert sender.send(2, _bowl(5), stages=3).status_code == 200
    assert sender.send(3, _bowl(9), stages=3).status_code == 200
    assert sender.tell(state="finished").json()["state"] == "finished"
    assert sender.tell(state="finished").status_code == 200, "the answer may have been lost"
    events = working_site.events(f"/surfaces/{sender.id}/events", **{"Last-Event-ID": "0-0"})
    kinds = [kind for kind, _, _ in events]
    assert kinds[-1] == "end"
    assert events[-1][2] == {"state": "finished", "problem": None}
    whole = [data for kind, _, data in events if kind == "surface"][-1]
    assert (whole["rows"], whole["columns"], whole["state"]) == (9, 9, "finished")
    assert working_site.finished(sender.id)["progress"] | {"seconds_left": None} == {
        "done": 1.0, "stage": 3, "stages": 3, "examples": 10, "seconds_left": None, "measures": "losses",
    }  # fmt: skip
    assert sender.send(4, _bowl(9)).status_code == 409


def test_only_the_sender_may_send_and_a_state_that_came_changes_nothing(working_site):
    sender, other = Sender(working_site.http), Sender(working_site.http)
    assert sender.send(2, _bowl(5)).status_code == 200
    stranger = working_site.http.put(
        f"/surfaces/{sender.id}/live", params={"stage": 3}, content=_bowl(3), headers=other.headers
    )
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (403, "forbidden")
    assert working_site.http.patch(f"/surfaces/{sender.id}/live", json={}, headers=other.headers).status_code == 403
    assert working_site.http.patch(f"/surfaces/{sender.id}/live", json={}).status_code == 422
    assert sender.send(2, _bowl(3)).json()["progress"]["stage"] == 2
    assert sender.send(1, _bowl(3)).status_code == 200
    found = npz.load(working_site.http.get(f"/surfaces/{sender.id}/data.npz").content)
    assert found.loss.shape == (5, 5)
    assert working_site.http.post(f"/surfaces/{sender.id}/cancel").status_code == 409
    assert sender.tell(state="unfinished").json()["state"] == "cancelled"
    assert working_site.http.post(f"/surfaces/{sender.id}/retry").status_code == 409
    assert sender.send(3, _bowl(9)).json()["state"] == "running", "its sender may go on"


class Trap:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_hostile_states_are_refused_and_the_surface_stays_as_it_was(working_site):
    sender = Sender(working_site.http)
    assert sender.send(1, _bowl(5)).status_code == 200
    pickled = io.BytesIO()
    np.savez(pickled, x=np.array([Trap()], dtype=object), loss=np.zeros((1, 1)))
    for bad in (pickle.dumps(Trap()), pickled.getvalue()):
        refused = sender.send(2, bad)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "surface_rejected"), refused.text
    assert sender.info()["progress"]["stage"] == 1
    assert sender.send(2, b"\0" * ((64 << 20) + 1)).status_code == 413
    assert sender.tell(done=2).status_code == 422
    assert sender.send(2, _bowl(9)).status_code == 200


def test_the_same_bytes_as_an_imported_file_harm_neither(working_site):
    imported = working_site.http.post("/surfaces/import?filename=a.npz", content=_bowl(7)).json()
    sender = Sender(working_site.http)
    assert sender.send(1, _bowl(7)).status_code == 200
    for surface in (imported["id"], sender.id):
        assert npz.load(working_site.http.get(f"/surfaces/{surface}/data.npz").content).loss.shape == (7, 7)
    assert working_site.http.delete(f"/surfaces/{imported['id']}").status_code == 204
    assert npz.load(working_site.http.get(f"/surfaces/{sender.id}/data.npz").content).loss.shape == (7, 7)


def test_without_a_worker_one_state_waits_and_the_next_is_asked_to_come_later(services, tmp_path):
    from app.errors import Conflict, TooMany
    from app.schemas import LiveWish, LiveWord

    ticket = services.open_live(LiveWish())

    def send(stage: int) -> int:
        path = tmp_path / "state"
        path.write_bytes(_bowl(2 * stage + 1))
        sha = f"{stage}" * 64
        return services.send_state(ticket.id, ticket.secret, path, sha, stage, 0, wait_s=0).progress.stage

    assert send(1) == 0
    with pytest.raises(TooMany, match="still being inspected"):
        send(2)
    with pytest.raises(Conflict, match="last state is not there yet"):
        services.tell_live(ticket.id, ticket.secret, LiveWord(state="finished"))
    assert services.live_states() == ["1" * 64]
    assert services.settle_state("1" * 64, "The reader died.")
    assert services.live_states() == []
    assert send(2) == 0
    services.delete_surface(ticket.id)
    assert services.live_states() == []


def test_as_many_as_may_be_are_sent_at_a_time(services):
    from app.errors import TooMany
    from app.schemas import LiveWish, LiveWord
    from app.services.live import MOST_LIVE

    tickets = [services.open_live(LiveWish()) for _ in range(MOST_LIVE)]
    with pytest.raises(TooMany, match="as many as may be"):
        services.open_live(LiveWish())
    services.tell_live(tickets[0].id, tickets[0].secret, LiveWord(state="unfinished"))
    assert services.surface(tickets[0].id).problem.endswith("nothing of it had come.")
    services.open_live(LiveWish())
