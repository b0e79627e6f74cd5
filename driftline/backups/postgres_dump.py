"""Dump a PostgreSQL database with pg_dump."""

import os
import shutil
import subprocess
from pathlib import Path

from driftline.backups.contents import BackupFault

_PROGRAM = "pg_dump"
# Environment variables of libpq that are not named `PG` plus the parameter in capitals.
_VARIABLES = {"dbname": "PGDATABASE", "application_name": "PGAPPNAME"}


def dump_database(address: str, target: Path) -> None:
    """Write a dump in pg_dump's custom format, which pg_restore reads; raises BackupFault.

    Connection parameters are passed as environment variables, because the password must not be
    among the arguments, which all users of the machine can read.
    """
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - only with this database

    program = shutil.which(_PROGRAM)
    if program is None:
        raise BackupFault(
            f"the monitor's database is in PostgreSQL, and {_PROGRAM} is not installed: "
            "install the client programs of PostgreSQL"
        )
    variables = {
        _VARIABLES.get(name, f"PG{name.upper()}"): str(value)
        for name, value in conninfo_to_dict(address).items()
    }
    done = subprocess.run(  # noqa: S603 - a fixed program
        [program, "--format=custom", f"--file={target}", "--no-password"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise BackupFault(f"{_PROGRAM} could not copy the monitor's database: {reason}")
    target.chmod(0o600)
