"""Alembic's entry point: run migrations on the connection that `upgrade` has opened."""

from alembic import context

from monitoring.storage.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
