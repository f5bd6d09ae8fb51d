"""A surface's events for one browser: what there is, then what comes, until the end.

Event ids are ids of a Redis stream, so a browser that comes back goes on where it was. Each event is complete in itself, so
any may be missed. While Redis is away, and against events that nobody sent, the database is looked at every few seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import Event as Flag
from typing import Annotated, Any

import anyio
from fastapi import Header
from fastapi.sse import ServerSentEvent
from redis.exceptions import RedisError

from app.schemas import SurfaceInfo
from app.services import Services
from app.services.progress import end_event
from landscape_core.errors import NotFound

LastEventId = Annotated[str | None, Header(description="Id of the last event that was received.")]

RETRY_MS = 500
IDLE_S = 1.0
LOOK_EVERY_S = 3.0
"""How often the database is asked whether the surface went on, and whether the link still opens it."""

CLOSE_WITHIN_S = 2.0

STREAM_ID = re.compile(r"\d{1,19}-\d{1,19}")
ENDED = {"finished", "failed", "cancelled"}


async def follow(  # noqa: C901, PLR0912  41 lines: one loop, whose ends are all here
    services: Services, surface: str, last_event_id: str | None, allowed: Callable[[], Awaitable[bool]], stopping: Flag
) -> AsyncIterator[ServerSentEvent]:
    """Events of a surface, until it ends, may not be seen any more, or the server stops.

    Args:
        services: Database and queue.
        surface: Its id; it exists.
        last_event_id: As the browser sent it.
        allowed: Whether it may still be seen.
        stopping: Set when the server stops.
    """
    known = last_event_id is not None and STREAM_ID.fullmatch(last_event_id) is not None
    last = last_event_id if known and last_event_id is not None else await asyncio.to_thread(_newest, services, surface)
    info = await asyncio.to_thread(services.surface, surface)
    shown = 0
    if not known or info.state in ENDED:
        for present in await asyncio.to_thread(_now, services, info, last):
            yield present
        shown = info.progress.stage
        if info.state in ENDED:
            return
    looked_at = time.monotonic()
    stream = services.queue.events(surface, last, IDLE_S)
    try:
        async for heard in stream:
            if heard is not None:
                stage = json.loads(heard.data)["stage"] if heard.event == "surface" else None
                if stage is None or stage > shown:  # else the look at the database was faster than the stream
                    yield ServerSentEvent(event=heard.event, id=heard.id, raw_data=heard.data, retry=RETRY_MS)
                    shown = stage or shown
                if heard.event == "end":
                    return
            if stopping.is_set():
                return
            if time.monotonic() - looked_at < LOOK_EVERY_S:
                continue
            looked_at = time.monotonic()
            fresh = await asyncio.to_thread(_look, services, surface)
            if fresh is None or not await allowed():
                return
            if fresh.state in ENDED or fresh.progress.stage > shown:
                for missed in await asyncio.to_thread(_now, services, fresh, None):
                    yield missed
                shown = fresh.progress.stage
            if fresh.state in ENDED:
                return
    finally:
        with anyio.move_on_after(CLOSE_WITHIN_S, shield=True):  # else a browser's leaving would interrupt this too
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator


def _newest(services: Services, surface: str) -> str:
    """Id of the newest event, "0" if there is none or Redis is away."""
    try:
        return services.queue.last_event_id(surface)
    except RedisError:
        return "0"


def _look(services: Services, surface: str) -> SurfaceInfo | None:
    try:
        return services.surface(surface)
    except NotFound:
        return None


def _now(services: Services, info: SurfaceInfo, event_id: str | None) -> list[ServerSentEvent]:
    """What there is at this moment: the latest whole surface, how far it is, and whether that is the end."""
    progress = info.progress.model_dump(mode="json")
    stream_id = event_id if event_id and STREAM_ID.fullmatch(event_id) else None
    events: list[tuple[str, dict[str, Any]]] = []
    try:
        snapshot = services.snapshot(info.id)
    except NotFound:
        snapshot = None
    if snapshot is not None:
        events.append(("surface", snapshot.event(info.progress, info.state)))
    events.append(("progress", {"progress": progress, "state": info.state}))
    if info.state in ENDED:
        events.append(("end", end_event(info.state, info.problem)))
    return [ServerSentEvent(event=name, id=stream_id, raw_data=_json(data), retry=RETRY_MS) for name, data in events]


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
