"""Following a Redis stream from asyncio, for Server-Sent Events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aredis
from redis import Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

_KEPT_ARGUMENTS = ("host", "port", "path", "db", "username", "password")
_RETRY_S = 0.5
_SILENT_S = 5.0
"""How much later than asked for an answer may come; then the connection is taken for dead, though it stands open."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """What a browser is told.

    Attributes:
        id: Redis stream id, which serves as SSE id.
        event: Its kind, as in "surface", "progress" or "end".
        data: JSON text.
    """

    id: str
    event: str
    data: str


async def follow(redis: Redis, stream: str, last_id: str, idle_s: float) -> AsyncIterator[Event | None]:
    """Events of a stream after `last_id`, for ever; None after each `idle_s` seconds without one.

    While Redis is away it waits and goes on behind the last event that it gave.

    Args:
        redis: Tells where Redis is; the stream is read over a connection of its own, as each read waits.
        stream: The stream's name.
        last_id: "0" for all that is kept, or the id of the last event that is known.
        idle_s: How long to wait before giving None, in seconds.
    """
    client = _async_client(redis)
    streams: dict[Any, Any] = {stream: last_id}
    try:
        while True:
            try:
                async with asyncio.timeout(idle_s + _SILENT_S):
                    entries = stream_entries(await client.xread(streams, count=16, block=max(1, int(idle_s * 1000))))
            except (RedisError, TimeoutError) as error:
                log.info("waiting for Redis: %s", error or "it is silent")
                await client.connection_pool.disconnect()
                await asyncio.sleep(_RETRY_S)
                entries = []
            for stream_id, fields in entries:
                streams[stream] = stream_id
                yield Event(stream_id.decode(), fields.get(b"event", b"").decode(), fields.get(b"data", b"{}").decode())
            if not entries:
                yield None
    finally:
        await client.aclose()


def stream_entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The (id, fields) in XREAD's answer for one stream: [[name, entries]] under RESP2, {name: [entries]} under RESP3."""
    if not answer:
        return []
    entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
    return list(entries)


def _async_client(redis: Redis) -> aredis.Redis:
    """A client for the same server whose reads may wait as long as they like (redis-py's default is five seconds)."""
    pool = redis.connection_pool
    arguments = {
        name: value for name, value in pool.connection_kwargs.items() if name in _KEPT_ARGUMENTS or name.startswith("ssl_")
    }
    kinds: dict[type, type] = {
        UnixDomainSocketConnection: aredis.UnixDomainSocketConnection,
        SSLConnection: aredis.SSLConnection,
    }
    kind = kinds.get(pool.connection_class, aredis.Connection)
    own = aredis.ConnectionPool(connection_class=kind, socket_timeout=None, socket_connect_timeout=2, **arguments)
    return aredis.Redis.from_pool(own)
