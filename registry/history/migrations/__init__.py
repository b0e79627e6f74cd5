"""Migrations of the registry's history, which run when a database is opened. Forward only.

Each file in `versions` is one migration and names the previous one; `schema.REVISION` is the
newest. A database that a newer release has migrated is refused.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from registry.errors import IncompatibleRegistry
from registry.history.schema import REVISION, VERSION_TABLE

# Migrations read and change only the first schema in the address's search path.
_ONE_SCHEMA = "SELECT set_config('search_path', quote_ident(current_schema()), false)"

_logger = logging.getLogger(__name__)


def migrate_file(connect: Callable[[], Any], after: str, *, copy: bool = False) -> None:
    """Migrate a file in one transaction, which ends with the statement `after`.

    If the file is a `copy` of a server's history, migrations add no rows to it.
    """
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that only one process migrates

    _migrate(engine, [], [after], copy=copy)


def migrate_server(connect: Callable[[], Any], lock: str) -> None:
    """Migrate a server's schema in one transaction that begins with the statement `lock`."""

    def manual() -> Any:
        connection = connect()
        connection.autocommit = False
        return connection

    engine = create_engine("postgresql+psycopg://", creator=manual, poolclass=NullPool)
    _migrate(engine, [lock, _ONE_SCHEMA], [])


def _migrate(engine: Any, before: list[str], after: list[str], *, copy: bool = False) -> None:
    try:
        with engine.begin() as connection:
            for statement in before:
                connection.execute(text(statement))
            _upgrade(connection, copy=copy)
            for statement in after:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        raise (error.orig or error) from None


def _upgrade(connection: Connection, *, copy: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes |= {"connection": connection, "copy": copy}
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (revision := context.get_current_revision()) is not None and revision not in revisions:
        raise IncompatibleRegistry(
            f"schema revision {revision} is from a newer release, expected at most {REVISION}; "
            "upgrade Driftline here, or restore the backup made before the upgrade"
        )
    command.upgrade(config, "head")
    if revision != REVISION:
        since = (
            "was created with" if revision is None else f"was migrated from schema {revision} to"
        )
        _logger.info("the registry's history %s schema %s", since, REVISION)
