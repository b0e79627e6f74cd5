"""`driftline history` and `driftline audit`: show and verify the registry's changes."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftline.registry_access import SERVER, open_access
from eventlog.durable_files import replace_file
from eventlog.errors import DriftlineError
from eventlog.events import HeartbeatEvent, PredictionEvent
from eventlog.settings import Home
from registry.history.audit import ChainHead, EventCheck, LoggedHeads, chain_faults
from registry.history.lifecycle import alias_at, misdated
from registry.history.replica import copy_head
from registry.history.rows import (
    FIRST,
    HistoryRow,
)
from registry.history.sentences import describe_row, reasons_of
from registry.settings import audit_key, is_shared, open_history

if TYPE_CHECKING:
    from driftline.logged_events import LogPlace

_WIDE = 140  # minimum terminal columns for a table; narrower terminals get one entry per row
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


class HistoryChanged(DriftlineError):
    """The registry's history has been changed after it was written."""


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [history, audit]


@click.command()
@click.argument("model")
@click.option("--at", "moment", type=_TIME, help="Print the alias's version at this time, UTC.")
@click.option("--alias", default="champion", show_default=True, help="Alias for --at.")
@click.option("--json", "as_json", is_flag=True, help="Print each row as one line of JSON.")
@SERVER
def history(*, model: str, moment: datetime | None, alias: str, as_json: bool, server: str) -> None:
    """Show every change of MODEL with its time, actor, reason and evidence."""
    rows = open_access(server).history(model)
    if moment is not None:
        _print_version_at(rows, model, alias, moment)
    elif as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
    else:
        console = Console(highlight=False)
        show = _print_table if console.width >= _WIDE else _print_entries
        show(console, rows)


def _print_table(console: Console, rows: Sequence[HistoryRow]) -> None:
    table = Table("revision", "time", "who", "what", "why", "evidence", box=None)
    for row, why in zip(rows, reasons_of(rows), strict=True):
        texts = (_day(row.time), row.actor or "unknown", describe_row(row), why, row.evidence[:12])
        table.add_row(str(row.revision), *map(Text, texts))
    console.print(table)


def _print_entries(console: Console, rows: Sequence[HistoryRow]) -> None:
    """Print a headline for each row, with actor and reason below it."""
    number = max((len(str(row.revision)) for row in rows), default=1)
    for row, why in zip(rows, reasons_of(rows), strict=True):
        headline = f"{row.revision:>{number}}  {_day(row.time)}  {describe_row(row)}"
        who = row.actor or "unknown"
        evidence = f"evidence {row.evidence[:12]}" if row.evidence else ""
        console.print(_hanging(Text(headline, "bold"), number + 2))
        console.print(Padding(Text(f"{who}: {why}" if why else who), (0, 0, 0, number + 2)))
        if evidence:
            console.print(Padding(Text(evidence, "dim"), (0, 0, 0, number + 2)))


def _hanging(text: Text, indent: int) -> Table:
    """Return a text that wraps with a hanging indent."""
    grid = Table.grid(padding=0)
    grid.add_column(width=indent, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(text[:indent], text[indent:])
    return grid


def _print_version_at(rows: Sequence[HistoryRow], model: str, alias: str, moment: datetime) -> None:
    at = moment.replace(tzinfo=moment.tzinfo or UTC)
    micros = int(at.timestamp() * 1e6)
    if (later := misdated(rows, alias, micros)) is not None:
        click.echo(
            f"a clock was wrong: revision {later.revision} is dated {_day(later.time)}, after "
            "later revisions; the order of revisions is correct, but this answer may be wrong",
            err=True,
        )
    row = alias_at(rows, alias, micros)
    if row is None:
        click.echo(f"{model} {alias} named no version at {at:%Y-%m-%d %H:%M:%S} UTC")
        return
    click.echo(
        f"{model} {alias} was version {row.number} at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC: "
        f"{row.actor or 'unknown'} set it in revision {row.revision} at {_day(row.time)}"
    )


@click.group()
def audit() -> None:
    """Verify, print or export the registry's history."""


@audit.command()
@click.option(
    "--head", default="", help="Head saved earlier: REVISION:CHAIN, or the file of a signed head."
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the key that must have signed --head.",
)
@click.option("--log/--no-log", default=True, help="Compare with the log that the monitor reads.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Verify this export.",
)
@SERVER
def verify(
    *, head: str, public_key: Path | None, log: bool, file: Path | None, server: str
) -> None:
    """Recompute the chain of the history; exit 1 and print the first difference, if there is one.

    The chain reveals edited and removed rows. A saved head, the log, and this machine's copy of a
    shared history reveal a truncated history and a restored backup. With --public-key, the saved
    head must be signed by that key. With --file, neither registry nor log of this machine is read.
    """
    home = Home.from_environment()
    required_head = _stated_head(head, public_key)
    here = not file and not server
    rows = _exported(file) if file else list(_rows(server, direct=True))
    heads: list[ChainHead | None] = [required_head]
    if here and is_shared() and home.registry_copy.exists():
        heads.append(ChainHead(*copy_head(home.registry_copy)))
    for head_to_match in heads:
        for fault in chain_faults(rows, head_to_match):
            raise HistoryChanged(fault)
    log_summary = "the log was not read"
    if log and not file:
        from driftline.logged_events import log_place  # noqa: PLC0415 - takes 0.1 seconds to import

        log_summary = _compare_with_log(rows, log_place(home))
    last = ChainHead(rows[-1].revision, rows[-1].chain) if rows else ChainHead(0, FIRST)
    click.echo(f"{len(rows)} rows agree with their chain, {log_summary}")
    click.echo(f"head {last.revision}:{last.chain}")


def _compare_with_log(rows: Sequence[HistoryRow], place: "LogPlace") -> str:
    """Compare the log with the rows and return the number of events, as text.

    Raises HistoryChanged for a difference. Differences from logged heads are raised first, because
    they name the changed rows.
    """
    check, heads = EventCheck(rows), LoggedHeads()
    predictions, differs = 0, ""
    from driftline.logged_events import logged_events  # noqa: PLC0415 - takes 0.1 seconds to import

    for event in logged_events(place):
        if isinstance(event, HeartbeatEvent):
            heads.add(event)
        elif isinstance(event, PredictionEvent):
            predictions += 1
            differs = differs or check.fault(event)
    if fault := heads.fault(rows) or differs:
        raise HistoryChanged(fault)
    return f"{predictions} predictions and {len(heads)} heads of the log agree with the rows"


@audit.command()
def key() -> None:
    """Print the public key that verifies signed heads; create the key pair if it does not exist.

    The private key is stored in `audit-key.pem` in the home, or in the file that
    DRIFTLINE_AUDIT_KEY names.
    """
    from registry.signed_heads import ensure_key, public_pem  # noqa: PLC0415 - cryptography is slow to import

    path = audit_key(Home.from_environment())
    private_key, created = ensure_key(path)
    if created:
        click.echo(f"created {path}; keep a copy of the public key elsewhere", err=True)
    click.echo(public_pem(private_key), nl=False)


@audit.command()
@click.option("--sign", is_flag=True, help="Print JSON, signed with the key of `audit key`.")
@SERVER
def head(*, sign: bool, server: str) -> None:
    """Print the head, REVISION:CHAIN; store it elsewhere for `audit verify --head`.

    A head is signed only if all rows of the history agree with their chain.
    """
    if sign:
        click.echo(_signed(_intact_head(server)))
        return
    revision, chain = (
        open_history(Home.from_environment()).head() if not server else _server_head(server)
    )
    click.echo(f"{revision}:{chain}")


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sign", is_flag=True, help="Also write FILE.head, the signed head of the rows.")
@SERVER
def export(*, file: Path, sign: bool, server: str) -> None:
    """Write every row with its chain to FILE as JSON Lines; `audit verify --file` checks it."""
    last, written = ChainHead(0, FIRST), 0
    part = file.with_name(f"{file.name}.part")

    def copied(out: IO[bytes]) -> Iterator[HistoryRow]:
        nonlocal last, written
        for row in _rows(server):
            out.write(msgspec.json.encode(row) + b"\n")
            last, written = ChainHead(row.revision, row.chain), written + 1
            yield row

    try:
        with part.open("wb") as out:
            if sign:
                _require_intact(copied(out))
            else:
                deque(copied(out), maxlen=0)
        if sign:
            signed = file.with_name(f"{file.name}.head")
            replace_file(signed, _signed(last) + b"\n", 0o644)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{written} rows written to {file}" + (f", their head to {signed}" if sign else ""))


def _signed(last: ChainHead) -> bytes:
    from registry.signed_heads import read_key, sign_head  # noqa: PLC0415 - cryptography is slow to import

    return msgspec.json.encode(sign_head(read_key(audit_key(Home.from_environment())), last))


def _server_head(server: str) -> ChainHead:
    """Read the history of a registry server to its end and return its head."""
    last = ChainHead(0, FIRST)
    for row in _rows(server):
        last = ChainHead(row.revision, row.chain)
    return last


def _intact_head(server: str) -> ChainHead:
    last = ChainHead(0, FIRST)

    def rows() -> Iterator[HistoryRow]:
        nonlocal last
        for row in _rows(server):
            last = ChainHead(row.revision, row.chain)
            yield row

    _require_intact(rows())
    return last


def _require_intact(rows: Iterator[HistoryRow]) -> None:
    for fault in chain_faults(rows):
        raise HistoryChanged(f"{fault}; nothing was signed")


def _stated_head(text: str, public_key: Path | None) -> ChainHead | None:
    """Return the head of --head; with a public key, check the head's signature."""
    if not text and public_key is not None:
        raise click.UsageError("--public-key: expected --head with the file of a signed head")
    if not text or re.fullmatch(r"[0-9]+:[0-9a-f]*", text):
        if public_key is not None:
            raise click.UsageError(f"--head {text} is not signed; expected a signed head's file")
        return _head(text) if text else None
    from registry.signed_heads import (  # noqa: PLC0415 - cryptography is slow to import
        check_signature,
        read_public_key,
        read_signed_head,
    )

    signed = read_signed_head(Path(text))
    if public_key is None:
        click.echo("the signature of --head is not checked: expected --public-key", err=True)
    else:
        check_signature(signed, read_public_key(public_key))
        at = _day(signed.time)
        click.echo(f"head {signed.revision} signed by key {signed.key[:12]}... at {at}")
    return signed.head


def _rows(server: str, *, direct: bool = False) -> Iterator[HistoryRow]:
    """Yield every row; with `direct`, read the shared database, not this machine's copy."""
    if server:
        return open_access(server).rows()
    return open_history(Home.from_environment(), direct=direct).all_rows()


def _exported(file: Path) -> list[HistoryRow]:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            rows.append(msgspec.json.decode(line, type=HistoryRow))
        except msgspec.DecodeError as error:
            raise HistoryChanged(f"{file} line {number}: {error}; expected a row") from None
    return rows


def _head(text: str) -> ChainHead:
    revision, _, chain = text.partition(":")
    if not revision.isdecimal() or len(chain) != len(FIRST):
        raise click.BadParameter(f"{text!r}: expected REVISION:CHAIN", param_hint="--head")
    return ChainHead(int(revision), chain)


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
