"""`driftline events`: print, count, verify, export and delete logged events."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from eventlog import wire
from eventlog.dead_letters import DeadLetters
from eventlog.errors import UnreadableEvent
from eventlog.events import HeartbeatEvent
from eventlog.log import Record
from eventlog.retention import sweep as sweep_log
from eventlog.segments import SegmentReader
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from eventlog.verification import verify as find

_KIND = click.Choice(["prediction", "feedback", "heartbeat"])
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [events]


@click.group()
def events() -> None:
    """Print, count, verify, export or delete logged events."""


@events.command()
@click.option("--follow", "-f", is_flag=True, help="Keep printing new events.")
def tail(follow: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Print every event as one line of JSON, the oldest of each source first."""
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
    """Print the number of events of each source, without heartbeats."""
    counts: dict[str, int] = {}
    reader = SegmentReader(Home.from_environment().log, {})
    while records := reader.poll(10_000):
        for record in records:
            beat = isinstance(record.event, HeartbeatEvent)
            counts[record.source] = counts.get(record.source, 0) + (not beat)
    for source, number in sorted(counts.items()):
        click.echo(f"{source}\t{number}")
    click.echo(f"total\t{sum(counts.values())}")


@events.command()
def verify() -> None:
    """Check every frame and sequence number of the log; exit 1 if an event is missing."""
    findings = find(Home.from_environment().log)
    click.echo("source\tepochs\tevents\tunreadable\tmissing\ttorn bytes")
    for finding in findings:
        row = (
            finding.epochs,
            finding.events,
            finding.unreadable,
            finding.missing,
            finding.torn_bytes,
        )
        click.echo(f"{finding.source}\t" + "\t".join(map(str, row)))
    for finding in findings:
        for shard, number in sorted(finding.gaps_by_shard.items()):
            click.echo(
                f"{finding.source}: {number:,} events of shard {shard} are missing or unreadable"
            )
    if not all(finding.whole for finding in findings):
        raise click.exceptions.Exit(1)


@events.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--kind", type=click.Choice(["prediction", "feedback", "heartbeat"]), help="Only these events."
)
@click.option("--model", default="", help="Only predictions of this model.")
@click.option(
    "--from", "start", type=_TIME, help="Start of the period in event time, inclusive, UTC."
)
@click.option("--to", "end", type=_TIME, help="End of the period in event time, exclusive, UTC.")
def export(file: Path, kind: Any, model: str, start: datetime | None, end: datetime | None) -> None:
    """Write events to FILE: as Parquet if it ends in .parquet, else as JSON lines."""
    from driftline.event_export import (  # noqa: PLC0415 - pyarrow is slow to import
        EventFilter,
        export_events,
    )

    event_filter = EventFilter(kind, model, _microseconds(start), _microseconds(end))
    written, unreadable = export_events(Home.from_environment().log, file, event_filter)
    click.echo(f"{written} events written to {file}")
    if unreadable:
        click.echo(f"{unreadable} records are unreadable; see driftline events verify", err=True)
        raise click.exceptions.Exit(1)


@events.command()
def sweep() -> None:
    """Delete segments that are expired by DRIFTLINE_LOG_RETAIN_*, as the service does regularly."""
    home, settings = Home.from_environment(), from_environment(LogSettings, LOG_PREFIX)
    for path in sweep_log(home, settings, time.time()):
        click.echo(f"deleted {path}")


@events.command()
@click.argument("origin", required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Number of records, newest first.",
)
def deadletters(origin: str | None, limit: int) -> None:
    """List the events that the forwarder dead-lettered, with reasons.

    With ORIGIN (`source:epoch:sequence`), write the bytes of that record to stdout.
    """
    letters = DeadLetters(Home.from_environment().dead_letters)
    if origin is not None:
        click.echo(_record(letters, origin))
        return
    click.echo("origin\treceived\tbytes\treason")
    for letter in letters.newest(limit):
        row = (letter.origin, _moment(letter.received), letter.size, ascii(letter.reason)[1:-1])
        click.echo("\t".join(map(str, row)))


def _record(letters: DeadLetters, origin: str) -> bytes:
    try:
        source, epoch, sequence = origin.rsplit(":", 2)
        letter = letters.find(source, int(epoch), int(sequence))
    except ValueError:
        raise click.BadParameter(f"{origin!r}: expected source:epoch:sequence") from None
    if letter is None:
        raise click.ClickException(f"no dead letter {origin!r}; run without ORIGIN to list all")
    if letter.record is None:
        raise click.ClickException(f"the record of {origin} was deleted to free space")
    return letter.record


def _moment(received: int) -> str:
    return datetime.fromtimestamp(received / 1e6, UTC).isoformat() if received else "-"


def _microseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e6)


def _line(record: Record) -> bytes | str:
    if isinstance(record.event, UnreadableEvent):
        return f"{record.source}:{record.epoch}:{record.sequence} unreadable: {record.event}"
    return wire.encode(record.event)
