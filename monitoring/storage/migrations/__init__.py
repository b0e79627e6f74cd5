"""Migrations of the monitor's database, which run when a database is opened. Forward only.

Each file of `versions` is one step; a new one names the step before it, and `schema.REVISION` names
the newest. A database that a newer release has migrated is refused.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from monitoring.errors import NewerDatabase
from monitoring.storage.schema import REVISION

VERSION_TABLE = "monitor_revision"


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
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (found := context.get_current_revision()) is not None and found not in known:
        raise NewerDatabase(
            f"the monitor's database has revision {found} of its schema; this release knows none "
            f"after {REVISION}: run the release that wrote it, or a newer one"
        )
    command.upgrade(config, "head")
