"""What every service stands on: settings, database, blobs and queue; and that Redis may be away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from app.database import Database
from app.settings import AppSettings
from worker.blobs import BlobStore
from worker.job import WorkerStatus
from worker.queue import WorkQueue

log = logging.getLogger(__name__)

LONGEST_NAME = 255


class Parts:
    """Base of the services.

    Args:
        settings: The web process's.
        database: The record, with the blobs.
        blobs: Where values and files lie.
        queue: The way to the workers.
    """

    def __init__(self, settings: AppSettings, database: Database, blobs: BlobStore, queue: WorkQueue) -> None:
        self.settings, self.database, self.blobs, self.queue = settings, database, blobs, queue

    @contextmanager
    def _redis_may_be_away(self) -> Iterator[None]:
        """What is asked of Redis here is asked again by the collector, so nothing is lost if it fails."""
        try:
            yield
        except RedisError as error:
            log.warning("the queue does not answer (%s); the collector will ask again", error)

    def workers(self) -> list[WorkerStatus]:
        """The workers that are alive; none while Redis is away."""
        try:
            return self.queue.workers()
        except RedisError as error:
            log.info("the queue does not answer: %s", error)
            return []


def shown_name(filename: str) -> str:
    """A file's name to show: its last part, without control characters, 255 characters at most.

    Args:
        filename: As it was sent; never used as a path.
    """
    last = filename.replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(character for character in last if character.isprintable()).strip()
    return printable[:LONGEST_NAME] or "file"
