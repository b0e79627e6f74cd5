"""`driftline status`: what the status page shows, in the terminal."""

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.terminal import escaped
from eventlog.settings import Home
from monitoring.counters.service_health import LABEL_DELAY
from monitoring.presenter import formats
from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.headline import alarm_badge, without_closed_window
from monitoring.presenter.names import PERFORMANCE
from monitoring.presenter.performance_state import performance_state
from monitoring.results import Alarm
from monitoring.settings import database
from monitoring.storage.store import Store
from monitoring.web.overview import EventBalance, VersionRow, look
from monitoring.web.window_view import chief_score, coverage, value
from registry.catalogue import Catalogue

_TONES = {"alarm": "bold red", "warning": "yellow", "ok": "green", "quiet": "dim"}
COLOURS = {
    "ok": "green",
    "resolved": "green",
    "drifted": "yellow",
    "acknowledged": "yellow",
    "degraded": "red",
    "firing": "bold red",
}


def commands() -> list[click.Command]:
    """The commands of this noun."""
    return [status]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: what /api/overview answers.")
def status(as_json: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Show every model version and its alarms, worst first."""
    store = open_store()
    seen = look(store, _catalogue())
    if as_json:
        click.echo(msgspec.json.encode(seen.as_data()))
        return
    console = Console()
    console.print(plain(seen.headline.text, _TONES[seen.headline.tone]))
    console.print(_ledger_line(seen.ledger))
    if gaps := _gaps_line(store.totals()):
        console.print(gaps)
    if seen.rows:
        console.print(_versions(seen.rows))
    else:
        console.print("Send a first prediction to http://127.0.0.1:3000/predict")
    for alarm in seen.alarms:
        print_alarm(console, alarm)
    for sentence in seen.stopped:
        console.print(plain(sentence, "yellow"))


def print_alarm(console: Console, alarm: Alarm) -> None:
    """Print an alarm as the page shows it."""
    span = f"{formats.period(alarm.since)} to {formats.period(alarm.latest)}"
    about = f"{alarm.rule}, {alarm.model} version {alarm.version}, {span}"
    state = plain(f"{alarm.state} ({alarm.severity})", COLOURS[alarm.state])
    console.print(state, plain(about, "bold"), plain(alarm.alarm_id, "dim"))
    console.print(plain(alarm_text(alarm)))
    for step in alarm.steps:
        reason = f": {step.reason}" if step.reason else ""
        by = f"{step.deed} by {step.actor or 'unknown'}, {formats.moment(step.at)}{reason}"
        console.print(plain(f"  {by}", "dim"))


def _catalogue() -> Catalogue | None:
    """The registry; none in an image that carries the monitor alone."""
    try:
        from registry.store import Registry  # noqa: PLC0415 - BentoML, where it is installed
    except ImportError:
        return None
    return Registry(Home.from_environment())


def open_store() -> Store:
    return Store(database(Home.from_environment()))


def _ledger_line(book: EventBalance) -> Text:
    line = (
        f"answered {formats.number(book.answered)}, logged {formats.number(book.logged)}, "
        f"monitored {formats.number(book.monitored)}, lost {formats.number(book.lost)}"
    )
    return Text(line, style="dim" if book.balanced else "bold red")


def _gaps_line(totals: dict[str, int]) -> Text | None:
    """What reading had to pass over, None if nothing: the reasons are among the dead letters."""
    gaps = {name[4:]: count for name, count in totals.items() if name.startswith("gap_")}
    if not gaps:
        return None
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(gaps.items()))
    passed = formats.number(totals["passed_over"])
    return Text(f"gaps in the topics: {reasons}; {passed} records skipped", style="bold red")


def _versions(rows: list[VersionRow]) -> Table:
    table = table_of("Model", "Window", "Verdict", "Alarms")
    table.columns[2].min_width = len("degraded")  # a narrow terminal breaks other words first
    for name in ("Drift", "Score", "Rows", "Late", "Errors", "Labels", "after"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: VersionRow) -> list[Text | str]:
    name = plain(f"{row.model} {row.version}", "bold")
    for alias in row.aliases:
        name.append_text(plain(f" {alias}", "dim"))
    if row.latest is None:
        return [name, without_closed_window(row.filling)]
    chief = chief_score(row.history)
    known = row.newest(chief) if chief else None
    delayed = row.newest(LABEL_DELAY[0])
    firing = any(alarm.state == "firing" for alarm in row.alarms)
    badges = ", ".join(map(alarm_badge, row.alarms)) or "none"
    return [
        name,
        formats.period(row.latest.window),
        plain(row.latest.verdict, COLOURS.get(row.latest.verdict, "dim")),
        Text(badges, style="bold red" if firing else "yellow" if row.alarms else "dim"),
        formats.percent(value(row.latest, "drifted_share")),
        f"{PERFORMANCE[chief]} {formats.figure(value(known, chief))}"
        if known
        else performance_state(row.history),
        formats.number(row.latest.rows),
        formats.number(row.late.rows) if row.late.rows else formats.NOTHING,
        formats.percent(value(row.latest, "error_share")),
        formats.percent(coverage(row.latest)),
        formats.duration(value(delayed, LABEL_DELAY[0]) if delayed else None),
    ]


def table_of(*headers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def plain(text: str, style: str = "") -> Text:
    """Words of others as they are: no markup, and nothing that could steer the terminal."""
    return Text(escaped(" ".join(text.splitlines())), style=style)
