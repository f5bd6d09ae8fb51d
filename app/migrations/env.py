"""Run by Alembic, on the connection that `Database.migrate` gives it."""

from __future__ import annotations

from alembic import context

from app.database import Table

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True)
context.run_migrations()
