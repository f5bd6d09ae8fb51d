"""The way to Redis: a client that gives up soon, and a look at whether the server stands open."""

from __future__ import annotations

import logging

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoPermissionError, ResponseError
from redis.retry import Retry

from landscape_core.errors import InvalidRequest

log = logging.getLogger(__name__)


def connect(url: str) -> Redis:
    """A connection to Redis that fails within about a second when there is nobody, instead of redis-py's minute.

    Raises:
        InvalidRequest: The URL is none, or the server is open to everybody (SECURITY: whoever writes to it queues work).
    """
    try:
        backoff = Retry(ExponentialBackoff(cap=0.5, base=0.05), 4)
        redis = Redis.from_url(url, retry=backoff, socket_timeout=5, socket_connect_timeout=2, health_check_interval=15)
    except ValueError as error:
        raise InvalidRequest(
            "LOSSATLAS_REDIS_URL is no address of a Redis; give one like redis://:password@host:6379/0."
        ) from error
    return redis


def refuse_open_server(redis: Redis) -> None:
    """Stops a start on a Redis that anybody in its network can write to.

    Args:
        redis: A connection; the server is there.

    Raises:
        InvalidRequest: The server has no password, and listens beyond the loopback without its protected mode.
    """
    if redis.connection_pool.connection_kwargs.get("password"):
        return
    try:
        values = {name: str(redis.config_get(name).get(name, "")) for name in ("bind", "protected-mode", "requirepass", "port")}
    except (NoPermissionError, ResponseError):
        log.warning("Redis has no password and does not say to whom it listens; make sure that nobody else reaches it")
        return
    binds = values["bind"].replace("-", "").split()
    local = bool(binds) and all(bind.startswith("127.") or bind == "::1" for bind in binds)
    if not (local or values["requirepass"] or values["protected-mode"] == "yes" or values["port"] == "0"):
        raise InvalidRequest(
            "Redis has no password and listens to the network, so anybody could queue work; set requirepass or bind 127.0.0.1."
        )
