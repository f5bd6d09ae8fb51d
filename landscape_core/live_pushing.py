"""Sending a surface to a Loss Atlas server while it is computed: one link, at once, under which it refines."""

from __future__ import annotations

import threading
import time
import warnings
from types import TracebackType
from typing import Any

import httpx

from landscape_core import formats
from landscape_core.errors import InvalidRequest, LandscapeError, PushFailed
from landscape_core.results import Surface
from landscape_core.server import answer, connected

BEAT_S = 10.0
"""Time between two words to the server while there is nothing new; it gives a sender up after some minutes without one."""

AGAIN_S = (0.5, 1.0, 2.0, 5.0)
"""Waits before a server that does not answer is asked again; then ever the last."""

ENDS_WITHIN_S, LEAVES_WITHIN_S = 120.0, 10.0
"""How long the end of the block waits for the server to have everything; and if the block was left by an exception."""


class LivePush:
    """A surface on a server that refines while it is computed. `link` opens it from the beginning.

    Give it to `landscape(…, push=…)`; or, in a computation of your own, call it with every whole surface:

        with lc.push("http://127.0.0.1:8050") as live:
            for surface in ...:
                live(surface)

    The block's end makes the last surface the whole one; an exception leaves it unfinished, to be looked at and downloaded. A
    thread sends, and passes over what there is something newer of, so the computation does not wait for the network. A server
    that does not answer is asked again; what could not be delivered is said by a warning at the end, never by an exception.

    Args:
        server: As for `push`.
        token: As for `push`.
        name: What the surface is called there.
        stages: How many whole surfaces there will be; 0 if not known.

    Raises:
        InvalidRequest: If `server` is no address, or the token cannot be sent.
        PushFailed: If the server cannot be reached, or does not answer like a Loss Atlas.
        SurfaceRejected: If the server refuses, with its sentence.
    """

    def __init__(self, server: str, *, token: str | None = None, name: str = "surface", stages: int = 0) -> None:
        self._server, self._token, self._stages = server, token, stages
        with connected(server, token) as client:
            opened = answer(client.post("/surfaces/live", json={"name": name, "stages": stages}))
            self._path, self._headers = f"/surfaces/{opened['id']}/live", {"x-live-secret": str(opened["secret"])}
            self.link = str(answer(client.post(f"/surfaces/{opened['id']}/shares", json={"view": {}}))["url"])
        self._news = threading.Condition()
        self._waiting: Surface | None = None
        self._count = self._sent = 0
        self._done: float | None = None
        self._end: str | None = None
        self._problem: str | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._send_all, name="live-push", daemon=True)
        self._thread.start()

    def __call__(self, surface: Surface, stages: int | None = None) -> None:
        """The surface will be shown; one that was given before and is not sent yet never is.

        Args:
            surface: A whole surface.
            stages: How many there will be, if that is known by now.
        """
        with self._news:
            self._waiting, self._count = surface, self._count + 1
            self._stages = self._stages if stages is None else stages
            self._news.notify()

    @property
    def is_over(self) -> bool:
        """Whether its surface is finished or left."""
        return self._end is not None

    def progress(self, share: float) -> None:
        """The server will be told how much is done, in 0 … 1, with its next word."""
        self._done = share

    def __enter__(self) -> LivePush:
        """The push itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """The server has everything afterwards, or a warning says that it has not."""
        with self._news:
            self._end = "finished" if kind is None and self._count else "unfinished"
            self._news.notify()
        self._thread.join(ENDS_WITHIN_S if kind is None else LEAVES_WITHIN_S)
        self._stopped = True
        if (self._thread.is_alive() or self._problem) and kind is None:
            reason = (self._problem or "it does not answer").rstrip(".")
            warnings.warn(
                f"The server did not get the whole surface ({reason}); lc.push(surface, {self._server!r}) sends it again.",
                stacklevel=2,
            )

    # ---- in the thread -----------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        """Sends until the end; what the server refuses ends it too, for then nothing more can be shown."""
        failures = 0
        while not self._stopped:
            try:
                with connected(self._server, self._token) as client:
                    while not self._stopped:
                        if self._send_next(client):
                            self._problem = None
                            return
                        failures = 0
            except PushFailed as error:
                self._problem = str(error)
                time.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
                failures += 1
            except LandscapeError as error:
                self._problem = str(error)
                return

    def _send_next(self, client: httpx.Client) -> bool:
        """Waits for news and sends them; whether that was the last."""
        with self._news:
            if self._sent == self._count and self._end is None:
                self._news.wait(BEAT_S)
            surface, count, end = self._waiting, self._count, self._end
        if surface is not None and self._sent < count:
            self._send_state(client, surface, count)
            self._sent = count
            return False
        word: dict[str, Any] = {"state": end or "running", "done": self._done}
        answer(client.patch(self._path, json=word, headers=self._headers))
        return end is not None

    def _send_state(self, client: httpx.Client, surface: Surface, count: int) -> None:
        """The server shows the state afterwards.

        Raises:
            PushFailed: If it does not answer, or is not ready for it yet.
            SurfaceRejected: If it refuses the state.
        """
        content = formats.to_bytes(surface, ".npz")
        headers = {**self._headers, "content-type": "application/octet-stream"}
        query = {"stage": count, "stages": self._stages}
        while answer(client.put(self._path, params=query, content=content, headers=headers))["progress"]["stage"] < count:
            if self._stopped:  # the server answers after some seconds at the latest, also while its workers are busy
                raise PushFailed("it has not read the last surface yet")


def live_push(push: object, stages: int) -> LivePush:
    """A push for a computation, whose link is printed.

    Args:
        push: One that was made before, or a server's address.
        stages: How many whole surfaces there will be.

    Raises:
        InvalidRequest: If it is neither, or no address.
        PushFailed: If the server cannot be reached.
        SurfaceRejected: If the server refuses.
    """
    if isinstance(push, str):
        push = LivePush(push, stages=stages)
    if not isinstance(push, LivePush):
        raise InvalidRequest(
            f"push is a server's address or what lc.push(address) gave, but something of type {type(push).__name__} came.",
            field="push",
        )
    if push.is_over:
        raise InvalidRequest("push was used for another surface already; make a new one with lc.push(address).", field="push")
    print(f"The surface refines at {push.link}", flush=True)  # noqa: T201  in a notebook, where it is read
    return push
