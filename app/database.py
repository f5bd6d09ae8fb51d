"""What is known of checkpoints, data sets, surfaces and links. With the blobs it is the record; Redis is a hint.

SQLite by default: a file that only the user can read, in WAL mode, each commit on the disk. PostgreSQL by URL.
Sizes and states stand here, values stand in blobs.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    String,
    Text,
    TypeDecorator,
    create_engine,
    event,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS, BUSY_POLL_S = 15_000, 0.02
MIGRATION_LOCK = 7_061_746


class UtcTime(TypeDecorator[datetime]):
    """A moment, in UTC; SQLite forgets time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The moment with its time zone."""
        return value if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """Base of all tables."""


class UploadColumns(Table):
    """What is known of any uploaded file. `report` is the inspection's, in JSON; `state` a `schemas.FileState`."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), index=True)
    problem: Mapped[str | None] = mapped_column(Text)
    report: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)


class CheckpointRow(UploadColumns):
    """One uploaded file of parameters, known by the SHA-256 of its bytes.

    Attributes:
        alone: Whether somebody brought it by itself, so that it stays when an archive that holds it too is deleted. False of
            one that was brought before this was noted; it stays if it is older than the archive.
    """

    __tablename__ = "checkpoints"

    alone: Mapped[bool] = mapped_column(default=False, server_default=false())


class DatasetRow(UploadColumns):
    """One uploaded data set."""

    __tablename__ = "datasets"


class DirectionsRow(UploadColumns):
    """One uploaded file of directions."""

    __tablename__ = "directions"


class SurfaceRow(Table):
    """One surface.

    Attributes:
        id: The request's digest; of an imported file without a request, the SHA-256 of its bytes.
        request: JSON; null while an imported file is inspected, and for one that carries no request.
        job: The `SurfaceJob` in JSON, from which all processes plan the same units; null for what is not computed here.
        stage: How many whole surfaces there have been so far, of `stages`.
        done: Share of the work, in 0 … 1.
        measured: Which workers spent how long, in JSON.
        finishing: "wait" until the preview is drawn, then "done" or "failed".
    """

    __tablename__ = "surfaces"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    title: Mapped[str] = mapped_column(String(255))
    problem: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(String(16))
    checkpoint: Mapped[str | None] = mapped_column(String(64), index=True)
    checkpoint_name: Mapped[str] = mapped_column(String(255), default="")
    dataset: Mapped[str | None] = mapped_column(String(128), index=True)
    request: Mapped[str | None] = mapped_column(Text)
    job: Mapped[str | None] = mapped_column(Text)
    stage: Mapped[int] = mapped_column(Integer, default=0)
    stages: Mapped[int] = mapped_column(Integer, default=0)
    examples: Mapped[int] = mapped_column(BigInteger, default=0)
    done: Mapped[float] = mapped_column(default=0.0)
    provenance: Mapped[str] = mapped_column(Text, default="{}")
    measured: Mapped[str] = mapped_column(Text, default="{}")
    finishing: Mapped[str] = mapped_column(String(8), default="wait")
    created: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
    finished: Mapped[datetime | None] = mapped_column(UtcTime)


class UnitRow(Table):
    """How often one unit of a surface failed or killed its worker. Units that came through have no row: their blob tells."""

    __tablename__ = "units"

    surface: Mapped[str] = mapped_column(ForeignKey("surfaces.id", ondelete="CASCADE"), primary_key=True)
    unit: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    problem: Mapped[str | None] = mapped_column(Text)


class LiveRow(Table):
    """A surface that somebody sends while it is computed elsewhere: who may, and which state of it is being inspected.

    Attributes:
        secret_sha256: Of the secret that only the sender has.
        heard: When something came from the sender last.
        states: How many states have come.
        pending: SHA-256 of the state's file that is being inspected; null if none is.
        pending_stage: How many whole surfaces there have been with that one, of `pending_stages`.
        refused: Why the last state that was inspected was refused; null if it was not.
    """

    __tablename__ = "live_imports"

    surface: Mapped[str] = mapped_column(ForeignKey("surfaces.id", ondelete="CASCADE"), primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    heard: Mapped[datetime] = mapped_column(UtcTime, default=now)
    states: Mapped[int] = mapped_column(Integer, default=0)
    pending: Mapped[str | None] = mapped_column(String(64), index=True)
    pending_stage: Mapped[int] = mapped_column(Integer, default=0)
    pending_stages: Mapped[int] = mapped_column(Integer, default=0)
    refused: Mapped[str | None] = mapped_column(Text)


class ShareRow(Table):
    """One link. Its token is not known here, only the token's SHA-256; a revoked link has no row."""

    __tablename__ = "shares"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    surface: Mapped[str] = mapped_column(ForeignKey("surfaces.id", ondelete="CASCADE"), index=True)
    view: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(String(200), default="")
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    views: Mapped[int] = mapped_column(Integer, default=0)


class Database:
    """The database at a URL; safe to use from several threads.

    Args:
        url: As SQLAlchemy takes it.
    """

    def __init__(self, url: str) -> None:
        self._sqlite = url.startswith("sqlite")
        if self._sqlite:
            _make_private(Path(url.partition(":///")[2]))
            self.engine = create_engine(url, connect_args={"check_same_thread": False})
            event.listen(self.engine, "connect", _prepare)
            event.listen(self.engine, "begin", _begin)
        else:
            self.engine = create_engine(url, pool_pre_ping=True)
        self._writer = self.engine.execution_options(writes=True)

    def migrate(self) -> None:
        """The tables are those of this release afterwards. Several processes may do so at once."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writer.begin() as connection:
            if not self._sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads; what it gave stays usable afterwards."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that writes: commits at the end, or changes nothing if anything is raised."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def ping(self) -> None:
        """Returns if the database answers; raises SQLAlchemy's error if not."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()


def _make_private(path: Path) -> None:
    """Makes the file if it is missing, readable by this user alone; SQLite gives its companions the same rights."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _prepare(connection: Any, _record: Any) -> None:
    """WAL lets readers and one writer work at once; transactions are begun by `_begin`, not by the driver."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _log_ahead(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turns WAL on; while another process writes into a new file, SQLite refuses that at once, whatever its timeout."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_POLL_S)
        else:
            return


def _begin(connection: Any) -> None:
    """A writer takes its lock at once: one that reads first and writes then could not wait for another."""
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
