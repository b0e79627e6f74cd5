"""`driftline backup` copies an installation; `driftline restore` restores the copy."""

from pathlib import Path

import click

from driftline.backups.contents import POSTGRES_DUMP, BackupRecord, read_verified
from eventlog.settings import Home
from monitoring.presenter.formats import several


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [backup, restore]


_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER)
def backup(folder: Path) -> None:
    """Copy registry, models, log, monitor database and keys to FOLDER, and verify the copy.

    All processes may continue to run. FOLDER must not exist yet. The backup contains secrets:
    protect it like the home.
    """
    from driftline.backups.take import take_backup  # noqa: PLC0415 - not needed for --help

    record = take_backup(Home.from_environment(), folder)
    click.echo(f"{folder}: {_summary(record)}")
    for fault in record.faults:
        click.echo(f"damaged before the backup: {fault}", err=True)


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option("--check", is_flag=True, help="Verify the backup only.")
def restore(folder: Path, *, check: bool) -> None:
    """Verify the backup in FOLDER and restore it as DRIFTLINE_HOME, which must be empty."""
    if check:
        click.echo(f"{folder} is complete: {_summary(read_verified(folder))}")
        return
    from driftline.backups.restore import restore_backup  # noqa: PLC0415

    home = Home.from_environment()
    record = restore_backup(folder, home)
    click.echo(f"restored to {home.root}: {_summary(record)}")
    if POSTGRES_DUMP in record.files:
        dump = home.root / POSTGRES_DUMP
        click.echo(f"The monitor's database: pg_restore --no-owner --dbname=ADDRESS {dump}")
    if record.shared_registry:
        click.echo(
            "The registry is a local copy: driftline registry copy --to ADDRESS --artifacts URL "
            "moves it to a shared database."
        )


def _summary(record: BackupRecord) -> str:
    size = sum(file.bytes for file in record.files.values()) / (1 << 20)
    return (
        f"{several(len(record.files), 'file')}, {size:.1f} MiB, registry revision "
        f"{record.revision}, {several(record.events, 'event')}, of {record.time}"
    )
