"""`driftline history` and `driftline audit`: what was changed by whom, and whether it still is."""

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.console import Console
from rich.table import Table

from driftline.registry_access import SERVER, open_access
from eventlog.durable_files import replace_file
from eventlog.errors import DriftlineError
from eventlog.events import PredictionEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from registry.errors import DamagedRow
from registry.history.audit import ChainHead, EventCheck, chain_faults
from registry.history.replica import copy_head
from registry.history.rows import (
    FIRST,
    GateResult,
    HistoryRow,
    RolloutStep,
    RolloutVerdict,
    ShadowChange,
)
from registry.history.state import alias_at
from registry.history.store import History
from registry.settings import audit_key, is_shared, open_history

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


class HistoryChanged(DriftlineError):
    """The registry's history is not what it was."""


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [history, audit]


@click.command()
@click.argument("model")
@click.option("--at", "moment", type=_TIME, help="Print the alias's version at this time, UTC.")
@click.option("--alias", default="champion", show_default=True, help="Alias of --at.")
@click.option("--json", "as_json", is_flag=True, help="Print each row as one line of JSON.")
@SERVER
def history(*, model: str, moment: datetime | None, alias: str, as_json: bool, server: str) -> None:
    """Show every change of MODEL: when, who, what, why and with which evidence."""
    rows = open_access(server).history(model)
    if moment is not None:
        _print_version_at(rows, model, alias, moment)
    elif as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
    else:
        table = Table("revision", "time", "who", "what", "why", "evidence", box=None)
        for row, why in zip(rows, _reasons(rows), strict=True):
            values = (row.actor or "unknown", _what(row), why, row.evidence[:12])
            table.add_row(str(row.revision), _day(row.time), *values)
        Console().print(table)


def _print_version_at(rows: Sequence[HistoryRow], model: str, alias: str, moment: datetime) -> None:
    at = moment.replace(tzinfo=moment.tzinfo or UTC)
    row = alias_at(rows, alias, int(at.timestamp() * 1e6))
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
    "--head", "kept", default="", help="REVISION:CHAIN, or the file of a signed head, kept before."
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the key that must have signed --head.",
)
@click.option("--log/--no-log", default=True, help="Compare with the events of the local log.")
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An export."
)
def verify(*, kept: str, public_key: Path | None, log: bool, file: Path | None) -> None:
    """Recompute the chain of the history; exit 1 with the first difference.

    The chain finds edited and removed rows. A kept head, the log, and this machine's copy of a
    shared history find a cut tail and a restored backup. With --public-key, the kept head must be
    signed by that key; --file then needs nothing of this machine.
    """
    home = Home.from_environment()
    stated = _stated_head(kept, public_key)
    rows = _exported(file) if file else list(open_history(home, direct=True).all_rows())
    heads: list[ChainHead | None] = [stated]
    if not file and is_shared() and home.registry_copy.exists():
        heads.append(ChainHead(*copy_head(home.registry_copy)))
    for known in heads:
        for fault in chain_faults(rows, known):
            raise HistoryChanged(fault)
    events = 0
    if log and not file:
        check = EventCheck(rows)
        for event in _predictions(home.log):
            events += 1
            if fault := check.fault(event):
                raise HistoryChanged(fault)
    last = ChainHead(rows[-1].revision, rows[-1].chain) if rows else ChainHead(0, FIRST)
    click.echo(f"{len(rows)} rows agree with their chain, {events} predictions with the rows")
    click.echo(f"head {last.revision}:{last.chain}")


@audit.command()
def key() -> None:
    """Print the public key that verifies signed heads; create the key pair if there is none.

    The private key stays in `audit-key.pem` below the home, or in the file that
    DRIFTLINE_AUDIT_KEY names.
    """
    from registry.signed_heads import ensure_key, public_pem  # noqa: PLC0415 - cryptography

    path = audit_key(Home.from_environment())
    made, created = ensure_key(path)
    if created:
        click.echo(f"created {path}; keep a copy of the public key elsewhere", err=True)
    click.echo(public_pem(made), nl=False)


@audit.command()
@click.option("--sign", is_flag=True, help="Print it as JSON, signed with the key of `audit key`.")
def head(*, sign: bool) -> None:
    """Print the head, REVISION:CHAIN; keep it elsewhere for `audit verify --head`.

    A head is signed only if the chain of the history holds.
    """
    history = _history()
    if sign:
        last = _intact_head(history)
        click.echo(_signed(last))
    else:
        revision, chain = history.head()
        click.echo(f"{revision}:{chain}")


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sign", is_flag=True, help="Also write FILE.head, the signed head of the rows.")
def export(file: Path, sign: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Write every row with its chain to FILE as JSON Lines; `audit verify --file` checks it."""
    last, written = ChainHead(0, FIRST), 0
    part = file.with_name(f"{file.name}.part")

    def copied(out: IO[bytes]) -> Iterator[HistoryRow]:
        nonlocal last, written
        for row in _history().all_rows():
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
    from registry.signed_heads import read_key, sign_head  # noqa: PLC0415 - cryptography

    return msgspec.json.encode(sign_head(read_key(audit_key(Home.from_environment())), last))


def _intact_head(history: History) -> ChainHead:
    last = ChainHead(0, FIRST)

    def rows() -> Iterator[HistoryRow]:
        nonlocal last
        for row in history.all_rows():
            last = ChainHead(row.revision, row.chain)
            yield row

    _require_intact(rows())
    return last


def _require_intact(rows: Iterator[HistoryRow]) -> None:
    for fault in chain_faults(rows):
        raise HistoryChanged(f"{fault}; nothing was signed")


def _stated_head(kept: str, public_key: Path | None) -> ChainHead | None:
    """Return the head that was kept; with a public key, only one that it signed."""
    if not kept and public_key is not None:
        raise click.UsageError("--public-key: expected --head with the file of a signed head")
    if not kept or re.fullmatch(r"[0-9]+:[0-9a-f]*", kept):
        if public_key is not None:
            raise click.UsageError(f"--head {kept}: it is not signed; expected the file of a head")
        return _head(kept) if kept else None
    from registry.signed_heads import (  # noqa: PLC0415 - cryptography
        check_signature,
        read_public_key,
        read_signed_head,
    )

    signed = read_signed_head(Path(kept))
    if public_key is None:
        click.echo("the signature of --head is not checked: expected --public-key", err=True)
    else:
        check_signature(signed, read_public_key(public_key))
        at = _day(signed.time)
        click.echo(f"head {signed.revision} signed by key {signed.key[:12]}... at {at}")
    return signed.head


def _history() -> History:
    return open_history(Home.from_environment())


def _exported(file: Path) -> list[HistoryRow]:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            rows.append(msgspec.json.decode(line, type=HistoryRow))
        except msgspec.DecodeError as error:
            raise HistoryChanged(f"{file} line {number}: {error}; expected a row") from None
    return rows


def _head(stated: str) -> ChainHead:
    revision, _, chain = stated.partition(":")
    if not revision.isdecimal() or len(chain) != len(FIRST):
        raise click.BadParameter(f"{stated!r}: expected REVISION:CHAIN", param_hint="--head")
    return ChainHead(int(revision), chain)


def _predictions(log: Path) -> Iterator[PredictionEvent]:
    reader = SegmentReader(log, {})
    while records := reader.poll(10_000):
        for record in records:
            if isinstance(record.event, PredictionEvent):
                yield record.event


def _what(row: HistoryRow) -> str:
    kind = row.kind.replace("_", " ")
    version = f"version {row.number}" if row.number else ""
    words = " ".join(word for word in (kind, row.alias, version) if word)
    try:
        stated = _stated(row)
    except DamagedRow:
        stated = "cannot be read"
    return f"{words}: {stated}" if stated else words


def _stated(row: HistoryRow) -> str:
    """Return what the detail adds to the kind of a row; raises DamagedRow."""
    match row.kind:
        case "gated":
            return row.decode(GateResult).verdict
        case "verdict":
            return row.decode(RolloutVerdict).verdict
        case "shadow":
            return row.decode(ShadowChange).action
        case "rollout_step":
            change = row.decode(RolloutStep)
            number = f" {change.step + 1}" if change.action == "step" else ""
            return change.action + number
    return ""


def _reasons(rows: Sequence[HistoryRow]) -> Iterator[str]:
    """Return the reason of each row; what a verdict changed refers to the verdict's row."""
    verdict: HistoryRow | None = None
    for row in rows:
        if row.kind == "verdict":
            verdict = row
        elif verdict is not None and row.why == verdict.why:
            yield f"verdict of revision {verdict.revision}"
            continue
        yield _why(row)


def _why(row: HistoryRow) -> str:
    """Return the reason; those of policies and baselines are in their detail."""
    if row.why or not row.detail:
        return row.why
    detail = json.loads(row.detail)
    return str(detail.get("why", "")) if isinstance(detail, dict) else ""


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
