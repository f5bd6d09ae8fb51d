"""The web application: REST and pages in one, with the collector beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from redis.exceptions import RedisError

import app.api
from app import errors
from app.collector import Collector
from app.connections import PromptProtocol
from app.security import Guard
from app.services import Services
from app.settings import AppSettings
from worker.lasting import keep_what_is_loaded
from worker.queue import refuse_open_server

THREADS = 48
"""Threads for work that blocks. Python's default is six on two cores, of which imports that wait could hold all."""

STREAMS_GRACE_S = 2
"""How long open event streams may hold up the end; browsers connect again by themselves."""

SERVING: dict[str, Any] = {
    "http": PromptProtocol,
    "access_log": False,  # the tokens of links are in the paths
    "proxy_headers": False,
    "server_header": False,
    "timeout_graceful_shutdown": STREAMS_GRACE_S,
}
"""How uvicorn serves the application."""

DESCRIPTION = (
    "Upload a checkpoint, ask for a surface, follow it, take it away, share it. Bodies and answers are JSON, but for files. "
    'What goes wrong is always {"error": {"code", "message", "field"?}}, with one sentence for people.'
)

log = logging.getLogger(__name__)


def create_app(settings: AppSettings, *, pages: bool = True) -> FastAPI:
    """The whole application; its lifespan runs the collector.

    Args:
        settings: The web process's.
        pages: Whether to serve the pages too, or REST alone.

    Raises:
        InvalidRequest: The settings cannot be used.
    """
    services = Services.at(settings)
    stopping = threading.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="work"))
        await asyncio.to_thread(services.install_gallery)
        resumable.resume()
        with _told_of_the_end(stopping):
            collecting = asyncio.create_task(Collector(services).run(), name="collector")
            try:
                yield
            finally:
                stopping.set()
                collecting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await collecting
                await resumable.close()
                await asyncio.to_thread(services.close)

    api = FastAPI(
        title="Loss Atlas",
        version=version("loss-atlas"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    api.state.services, api.state.stopping = services, stopping
    errors.register(api)
    resumable = app.api.register(api, services)
    scripts: list[str] = []
    if pages:
        from app.pages_server import attach  # noqa: PLC0415  REST works without the pages

        scripts += attach(api, services, settings).csp_hashes()
    api.add_middleware(Guard, settings=settings, script_hashes=scripts)
    api.add_middleware(errors.Edge)
    return api


def run(settings: AppSettings, host: str, port: int) -> None:
    """Serves until a signal asks to stop.

    Args:
        settings: The web process's.
        host: Address to listen on.
        port: TCP port.

    Raises:
        InvalidRequest: The settings cannot be used, or Redis stands open to everybody.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    api = create_app(settings)
    try:
        refuse_open_server(api.state.services.queue.redis)
    except RedisError as error:
        log.warning("Redis does not answer yet: %s", error)
    keep_what_is_loaded()
    uvicorn.run(api, host=host, port=port, **SERVING)


@contextlib.contextmanager
def _told_of_the_end(stopping: threading.Event) -> Iterator[None]:
    """Event streams learn of a signal to stop at once, not only when the server has waited for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def tell(number: int, frame: FrameType | None) -> None:
        stopping.set()
        before = earlier[signal.Signals(number)]
        if callable(before):
            before(number, frame)

    for number, before in earlier.items():
        if callable(before):
            signal.signal(number, tell)
    try:
        yield
    finally:
        for number, before in earlier.items():
            if callable(before) and signal.getsignal(number) is tell:
                signal.signal(number, before)
