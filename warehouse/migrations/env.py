"""Alembic's environment for the schema `control`; the connection is given by `warehouse.migrate`."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="migration", version_table_schema="control", include_schemas=True)
with context.begin_transaction():
    context.run_migrations()
