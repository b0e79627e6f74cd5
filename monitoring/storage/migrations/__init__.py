"""Forward-only migrations of the monitor's database, run when the database is opened.

Each file of `versions` is one migration and names its predecessor (`down_revision`).
`schema.REVISION` is the newest migration. A database with an unknown revision is refused.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from monitoring.errors import NewerDatabase
from monitoring.storage.schema import REVISION, VERSION_TABLE

_logger = logging.getLogger(__name__)

Connect = Callable[[], Any]  # returns a new DB-API connection


def upgrade_sqlite(connect: Connect) -> None:
    """Migrate a file on its own connection; raises the driver's errors and NewerDatabase."""
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    _lock_at_begin(engine)
    _upgrade_on(engine)


def upgrade_postgresql(connect: Connect, *before: str) -> None:
    """Migrate a schema on its own connection; raises the driver's errors and NewerDatabase.

    The statements `before` run first, in the same transaction.
    """
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    _upgrade_on(engine, *before)


def _upgrade_on(engine: Engine, *before: str) -> None:
    try:
        upgrade(engine, *before)
    except DBAPIError as error:
        raise error.orig or error from None


def _lock_at_begin(engine: Engine) -> None:
    """Make SQLAlchemy's transactions take SQLite's write lock when they begin.

    By default, Python's driver begins a transaction later, and without the lock.
    """

    @event.listens_for(engine, "begin")
    def _(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]


def upgrade(engine: Engine, *before: str) -> None:
    """Run the missing migrations in one transaction; raises NewerDatabase.

    The statements `before` run first; they take a lock that makes other migrating processes wait.
    """
    with engine.begin() as connection:
        for statement in before:
            connection.execute(text(statement))
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    # Imported only if a migration is needed, because the imports take half a second.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (revision := context.get_current_revision()) is not None and revision not in revisions:
        raise NewerDatabase(
            f"the monitor's database has schema revision {revision}, this release supports "
            f"revisions up to {REVISION}: run the release that wrote the database, or a newer one"
        )
    command.upgrade(config, "head")
    if revision != REVISION:
        change = (
            "was created with" if revision is None else f"was migrated from schema {revision} to"
        )
        _logger.info("the monitor's database %s schema %s", change, REVISION)
