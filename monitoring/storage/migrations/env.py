"""Run migrations on the connection that `upgrade` has opened; Alembic loads this file."""

from alembic import context

from monitoring.storage.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
