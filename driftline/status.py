"""`driftline status`, `alarms` and `webhooks`: what the status page shows, in the terminal."""

import asyncio
import sys
import time
import uuid

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eventlog.errors import SettingError
from eventlog.settings import Home, from_environment
from monitoring.settings import MonitorSettings
from monitoring.state.store import Store
from monitoring.web import words
from monitoring.web.overview import Ledger, Row, headline, ledger, overview_rows
from monitoring.web.reading import PERFORMANCE, chief_score, coverage, value
from monitoring.webhooks.body import trial
from monitoring.webhooks.sender import Receiver

_TONES = {"alarm": "bold red", "warning": "yellow", "ok": "green", "quiet": "dim"}
_COLOURS = {
    "ok": "green",
    "resolved": "green",
    "drifted": "yellow",
    "acknowledged": "yellow",
    "degraded": "red",
    "firing": "bold red",
}


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [status, alarms, webhooks]


@click.command()
def status() -> None:
    """Say what is going on: every model version, worst first, and whether anything was lost."""
    store = _store()
    rows = overview_rows(store, None)
    book = ledger(store.ledger())
    said = headline(rows, book, store.deliveries())
    console = Console()
    console.print(_plain(said.text, _TONES[said.tone]))
    console.print(_ledger_line(book))
    if gaps := _gaps_line(store.totals()):
        console.print(gaps)
    if rows:
        console.print(_versions(rows))
    else:
        console.print("Send a first prediction to http://127.0.0.1:3000/predict")


@click.command()
def alarms() -> None:
    """List every alarm, newest first."""
    found = _store().alarms()
    if not found:
        click.echo("No alarm was ever raised.")
        return
    console = Console()
    for alarm in found:
        span = f"{words.period(alarm.since)} to {words.period(alarm.latest)}"
        about = f"{alarm.rule}, {alarm.model} version {alarm.version}, {span}"
        console.print(_plain(alarm.state, _COLOURS[alarm.state]), _plain(about, "bold"))
        console.print(_plain(alarm.sentence), "")


@click.group()
def webhooks() -> None:
    """Look after the webhooks that ask for retraining."""


@webhooks.command()
def test() -> None:
    """Send a signed trial to the configured address and show the answer."""
    receiver = Receiver.configured(from_environment(MonitorSettings, "DRIFTLINE_MONITOR_"))
    if receiver is None:
        raise SettingError("DRIFTLINE_MONITOR_WEBHOOK_URL is not set; expected an address")
    now = time.time_ns() // 1_000
    webhook_id = f"trial_{uuid.uuid4().hex}"
    answer = asyncio.run(receiver.post(webhook_id, trial(webhook_id, now), now))
    click.echo(f"{receiver.url} answered {answer.status}")
    if answer.text.strip():
        click.echo(_plain(answer.text.strip()).plain)
    sys.exit(0 if 200 <= answer.status < 300 else 1)


def _store() -> Store:
    return Store(Home.from_environment().monitor)


def _ledger_line(book: Ledger) -> Text:
    line = (
        f"answered {words.number(book.answered)}, logged {words.number(book.logged)}, "
        f"monitored {words.number(book.monitored)}, lost {words.number(book.lost)}"
    )
    return Text(line, style="dim" if book.balanced else "bold red")


def _gaps_line(totals: dict[str, int]) -> Text | None:
    """What reading had to pass over, None if nothing: the reasons are among the dead letters."""
    gaps = {name[4:]: count for name, count in totals.items() if name.startswith("gap_")}
    if not gaps:
        return None
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(gaps.items()))
    passed = words.number(totals["passed_over"])
    return Text(f"gaps in the topics: {told}; {passed} records passed over", style="bold red")


def _versions(rows: list[Row]) -> Table:
    table = _table("Model", "Window", "Verdict", "Alarms")
    for name in ("Drift", "Score", "Rows", "Labels"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[Text | str]:
    name = _plain(f"{row.model} {row.version}", "bold")
    if row.latest is None:
        filling = words.several(row.filling.rows, "row") if row.filling else "nothing yet"
        return [name, f"filling: {filling}"]
    chief = chief_score(row.history)
    known = row.newest(chief) if chief else None
    firing = [alarm.rule for alarm in row.alarms if alarm.state == "firing"]
    noted = [f"{alarm.rule} (noted)" for alarm in row.alarms if alarm.state != "firing"]
    return [
        name,
        words.period(row.latest.window),
        _plain(row.latest.verdict, _COLOURS.get(row.latest.verdict, "dim")),
        Text(", ".join(firing + noted), style="bold red" if firing else "yellow"),
        words.percent(value(row.latest, "drifted_share")),
        f"{PERFORMANCE[chief]} {words.figure(value(known, chief))}" if known else words.NOTHING,
        words.number(row.latest.rows),
        words.percent(coverage(row.latest)),
    ]


def _table(*headers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _plain(text: str, style: str = "") -> Text:
    """Words of others as they are: no markup, and nothing that could steer the terminal."""
    return Text("".join(c if c.isprintable() else " " for c in text), style=style)
