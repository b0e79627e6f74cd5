"""`driftline events`: look at the event log."""

import time

import click

from eventlog import wire
from eventlog.errors import UnreadableEvent
from eventlog.log import Record
from eventlog.segments import SegmentReader
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [events]


@click.group()
def events() -> None:
    """Look at the event log."""


@events.command()
@click.option("--follow", "-f", is_flag=True, help="Keep printing what comes.")
def tail(follow: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Print every event as a line of JSON, oldest first per source."""
    reader = SegmentReader(Home.from_environment().log, {})
    while True:
        records = reader.poll(1000)
        for record in records:
            click.echo(_line(record))
        if not records:
            if not follow:
                return
            time.sleep(0.2)


@events.command()
def count() -> None:
    """Print how many events each source holds."""
    counts: dict[str, int] = {}
    reader = SegmentReader(Home.from_environment().log, {})
    while records := reader.poll(10_000):
        for record in records:
            counts[record.source] = counts.get(record.source, 0) + 1
    for source, number in sorted(counts.items()):
        click.echo(f"{source}\t{number}")
    click.echo(f"total\t{sum(counts.values())}")


def _line(record: Record) -> bytes | str:
    if isinstance(record.event, UnreadableEvent):
        return f"{record.source}:{record.epoch}:{record.sequence} unreadable: {record.event}"
    return wire.encode(record.event)
