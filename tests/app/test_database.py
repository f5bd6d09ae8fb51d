"""The record: its tables are those of the models, its file is private, writers wait for each other."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import OperationalError

from app.database import Database, ShareRow, SurfaceRow, Table, now


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'atlas.sqlite'}"


def surface(name: str = "a") -> SurfaceRow:
    return SurfaceRow(id=name * 64, state="queued", title="t", origin="computed")


def test_the_migrations_make_the_tables_of_the_models(url):
    database = Database(url)
    database.migrate()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Table.metadata) == []
    database.close()


def test_several_processes_may_migrate_at_once(url):
    problems: list[BaseException] = []

    def migrate() -> None:
        database = Database(url)
        try:
            database.migrate()
        except BaseException as error:  # noqa: BLE001
            problems.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_new_file_in_which_another_process_writes_is_waited_for(url, tmp_path):
    """SQLite does not wait by itself: it refuses the change of the journal's mode at once, as one of several starts found."""
    other = sqlite3.connect(tmp_path / "atlas.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    leaves = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    leaves.start()
    database = Database(url)
    database.migrate()
    leaves.join()
    other.close()
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_a_file_that_is_held_for_longer_is_given_up_in_time(url, tmp_path, monkeypatch):
    monkeypatch.setattr("app.database.BUSY_TIMEOUT_MS", 200)
    with closing(sqlite3.connect(tmp_path / "atlas.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database = Database(url)
        with pytest.raises(OperationalError, match="locked"):
            database.migrate()
        database.close()


def test_the_file_is_private_and_survives(url, tmp_path):
    database = Database(url)
    database.migrate()
    with database.writing() as session:
        session.add(surface())
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    database.close()
    again = Database(url)
    again.migrate()
    with again.reading() as session:
        row = session.get(SurfaceRow, "a" * 64)
    assert row is not None
    assert row.created.tzinfo is UTC
    assert abs((now() - row.created).total_seconds()) < 60
    again.close()


def test_writers_wait_and_a_failed_one_changes_nothing(url):
    database = Database(url)
    database.migrate()
    with database.writing() as session:
        session.add(surface())

    def count() -> None:
        for _ in range(25):
            with database.writing() as session:
                row = session.get(SurfaceRow, "a" * 64)
                assert row is not None
                row.stage += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def stumble() -> None:
        with database.writing() as session:
            row = session.get(SurfaceRow, "a" * 64)
            assert row is not None
            row.stage = -1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stumble()
    with database.reading() as session:
        row = session.get(SurfaceRow, "a" * 64)
        assert row is not None
        assert row.stage == 100
    database.close()


def test_links_go_with_their_surface(url):
    database = Database(url)
    database.migrate()
    with database.writing() as session:
        session.add(surface())
        session.flush()
        session.add(ShareRow(token_sha256="1" * 64, public_id="p", surface="a" * 64, view="{}"))
    with database.writing() as session:
        row = session.get(SurfaceRow, "a" * 64)
        session.delete(row)
    with database.reading() as session:
        assert session.get(ShareRow, "1" * 64) is None
    database.close()
