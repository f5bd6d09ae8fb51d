"""What the app can do, for REST, pages and the collector alike. All methods block: call them in threads.

Parts ◁─ Uploads ◁─ Checkpoints, Datasets ◁─ Surfaces ◁─ Imports ◁─ LiveImports, Shares ◁─ Services
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from alembic.util.exc import CommandError
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database, SurfaceRow
from app.services.live import LiveImports
from app.services.shares import Shares
from app.settings import AppSettings
from landscape_core.errors import InvalidRequest
from worker.blobs import BlobStore
from worker.queue import WorkQueue

__all__ = ["Services"]

RECENT = 20


class Services(LiveImports, Shares):
    """Everything in one place."""

    @classmethod
    def at(cls, settings: AppSettings) -> Services:
        """The services over what the settings name; the database is brought to this release.

        Raises:
            InvalidRequest: One of them cannot be used.
        """
        try:
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = Database(settings.database)
            database.migrate()
            blobs = BlobStore(settings.blobs)
        except OSError as error:
            text = (
                f"The data folder {settings.data} cannot be used ({error.strerror or error}); name another in LOSSATLAS_DATA."
            )
            raise InvalidRequest(text, field="LOSSATLAS_DATA") from error
        except CommandError as error:
            text = (
                "The database was written by a newer release of Loss Atlas; start that one, or name another in LOSSATLAS_DATA."
            )
            raise InvalidRequest(text, field="LOSSATLAS_DATABASE_URL") from error
        except (SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            text = f"The database cannot be used ({reason}); correct LOSSATLAS_DATABASE_URL."
            raise InvalidRequest(text, field="LOSSATLAS_DATABASE_URL") from error
        return cls(settings, database, blobs, WorkQueue.at(settings.redis))

    def activity(self) -> dict[str, Any]:
        """Workers, how much waits in each queue, surfaces in work (oldest first) and then the last that were done."""
        working = SurfaceRow.state.in_(("queued", "running"))
        with self.database.reading() as session:
            running = session.scalars(select(SurfaceRow).where(working).order_by(SurfaceRow.created)).all()
            recent = session.scalars(
                select(SurfaceRow)
                .where(~working, SurfaceRow.origin != "gallery")
                .order_by(SurfaceRow.finished.desc().nulls_last(), SurfaceRow.created.desc())
                .limit(RECENT)
            ).all()
        queues: dict[str, int] = {}
        with self._redis_may_be_away():
            queues = self.queue.lengths()
        return {"workers": self.workers(), "queues": queues, "surfaces": self._infos([*running, *recent])}

    def health(self) -> dict[str, Any]:
        """Whether the parts answer. Without Redis nothing new is computed, but all that is stored can be looked at."""
        answers = {"redis": False, "database": False}
        workers = 0
        try:
            answers["redis"] = bool(self.queue.redis.ping())
            workers = len(self.queue.workers())
        except RedisError:
            pass
        try:
            self.database.ping()
            answers["database"] = True
        except SQLAlchemyError:
            pass
        status = "ok" if all(answers.values()) else "degraded"
        return {"status": status, **answers, "workers": workers, "version": version("loss-atlas")}

    def close(self) -> None:
        """Gives all connections back."""
        self.database.close()
        self.queue.redis.close()
