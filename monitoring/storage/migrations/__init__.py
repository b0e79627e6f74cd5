"""Migrations of the monitor's database, which run when a database is opened. Forward only.

Each file of `versions` is one step; a new one names the step before it, and `schema.REVISION` names
the newest. A database that a newer release has migrated is refused.
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

Connect = Callable[[], Any]  # a connection of Python's DB-API


def upgrade_sqlite(connect: Connect) -> None:
    """Migrate a file on a connection of its own; raises errors of the driver, and NewerDatabase."""
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    _begin_alone(engine)
    _upgrade_on(engine)


def upgrade_postgresql(connect: Connect, *before: str) -> None:
    """Migrate a schema on a connection of its own; raises errors of the driver, NewerDatabase."""
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    _upgrade_on(engine, *before)


def _upgrade_on(engine: Engine, *before: str) -> None:
    try:
        upgrade(engine, *before)
    except DBAPIError as error:
        raise error.orig or error from None


def _begin_alone(engine: Engine) -> None:
    """Begin SQLAlchemy's transactions after every other one that writes.

    Python's driver begins one only before some statements, and without the lock.
    """

    @event.listens_for(engine, "begin")
    def _(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]


def upgrade(engine: Engine, *before: str) -> None:
    """Run the migrations that a database lacks, all of them or none, in one transaction.

    The statements `before` come first in it; they make others that migrate wait. Raises
    NewerDatabase.
    """
    with engine.begin() as connection:
        for statement in before:
            connection.execute(text(statement))
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    # Most openings need no migration, and then not the half second that these take.
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
            f"the monitor's database has revision {revision} of its schema; this release knows "
            f"none after {REVISION}: run the release that wrote it, or a newer one"
        )
    command.upgrade(config, "head")
    if revision != REVISION:
        since = (
            "was created with" if revision is None else f"was migrated from schema {revision} to"
        )
        _logger.info("the monitor's database %s schema %s", since, REVISION)
