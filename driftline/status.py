"""`driftline status`: show the content of the status page in the terminal."""

from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftline.terminal import escaped
from eventlog.settings import Home, from_environment
from monitoring.counters.service_health import LABEL_DELAY
from monitoring.presenter import formats
from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.headline import alarm_badge, held_partitions, without_closed_window
from monitoring.presenter.names import PERFORMANCE
from monitoring.presenter.performance_state import performance_state
from monitoring.presenter.retrain_loop import loop_text
from monitoring.presenter.schedule_text import schedule_text
from monitoring.results import Alarm, Note
from monitoring.settings import PREFIX, MonitorSettings, database_address
from monitoring.storage.store import Store
from monitoring.web.overview import EventBalance, VersionRow, read_overview
from monitoring.web.retrain_loops import LATEST, RetrainLoops
from monitoring.web.window_view import chief_score, coverage, value
from registry.catalogue import Catalogue
from registry.settings import open_history
from telemetry.clock import DAY, now_us

_TONES = {"alarm": "bold red", "warning": "yellow", "ok": "green", "quiet": "dim"}
COLOURS = {
    "ok": "green",
    "resolved": "green",
    "drifted": "yellow",
    "acknowledged": "yellow",
    "degraded": "red",
    "firing": "bold red",
}

_WIDE = 110  # minimum terminal columns for a table without wrapped windows or scores


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [status]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of /api/overview.")
def status(as_json: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Show every model version and its alarms, worst first."""
    store = open_store()
    status_page = read_overview(store, _catalogue())
    if as_json:
        click.echo(msgspec.json.encode(status_page.as_data()))
        return
    console = Console()
    console.print(plain(status_page.headline.text, _TONES[status_page.headline.tone]))
    console.print(_ledger_line(status_page.ledger))
    if partitions := store.partitions():
        console.print(plain(held_partitions(partitions, now_us())))
    if gaps := _gaps_line(store.totals()):
        console.print(gaps)
    if status_page.rows:
        _print_versions(console, status_page.rows)
    else:
        console.print("No predictions yet: send the first one to /predict of the service")
    notes = store.notes_on_alarms([alarm.alarm_id for alarm in status_page.alarms])
    for alarm in status_page.alarms:
        print_alarm(console, alarm, notes.get(alarm.alarm_id, []))
    _print_retraining(console, store)
    for sentence in status_page.stopped:
        console.print(plain(sentence, "yellow"))


def print_alarm(console: Console, alarm: Alarm, notes: Sequence[Note] = ()) -> None:
    """Print an alarm with the same content as on the status page."""
    span = f"{formats.period(alarm.since)} to {formats.period(alarm.latest)}"
    about = f"{alarm.rule}, {alarm.model} version {alarm.version}, {span}"
    state = plain(f"{alarm.state} ({alarm.severity})", COLOURS[alarm.state])
    console.print(state, plain(about, "bold"), plain(alarm.alarm_id, "dim"))
    console.print(plain(alarm_text(alarm)))
    for step in alarm.steps:
        reason = f": {step.reason}" if step.reason else ""
        by = f"{step.deed} by {step.actor or 'unknown'}, {formats.moment(step.at)}{reason}"
        console.print(plain(f"  {by}", "dim"))
    for note in notes:
        console.print(plain(f"  {note_line(note)}", "dim"))


def note_line(note: Note) -> str:
    """Return a note with author and time as one line, with line breaks as spaces."""
    text = " ".join(note.text.split())
    return f"note of {note.actor or 'unknown'}, {formats.moment(note.created)}: {text}"


def _print_retraining(console: Console, store: Store) -> None:
    """Print the schedules and the state of retraining requests, as on the status page."""
    within = from_environment(MonitorSettings, PREFIX).answer_within_days
    loops = RetrainLoops(open_history(Home.from_environment()), int(within * DAY))
    for schedule in loops.schedules(store):
        console.print(plain(f"{schedule.model} is scheduled: {schedule_text(schedule)}"))
    for loop in loops.read_now(store)[:LATEST]:
        name = plain(f"{loop.model} version {loop.version}", "bold")
        colour = "bold red" if loop.overdue else "yellow" if loop.awaited else "dim"
        console.print(name, plain(loop.request, "dim"), plain(loop_text(loop), colour))


def _catalogue() -> Catalogue | None:
    """Return the registry, or None in an image with only the monitor."""
    try:
        from registry.store import Registry  # noqa: PLC0415 - needs BentoML
    except ImportError:
        return None
    return Registry(Home.from_environment())


def open_store() -> Store:
    return Store(database_address(Home.from_environment()))


def _ledger_line(balance: EventBalance) -> Text:
    line = (
        f"answered {formats.number(balance.answered)}, logged {formats.number(balance.logged)}, "
        f"monitored {formats.number(balance.monitored)}, lost {formats.number(balance.lost)}"
    )
    return Text(line, style="dim" if balance.balanced else "bold red")


def _gaps_line(totals: dict[str, int]) -> Text | None:
    """Return the numbers of unreadable ranges and skipped records, or None if there are none."""
    gaps = {name[4:]: count for name, count in totals.items() if name.startswith("gap_")}
    if not gaps:
        return None
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(gaps.items()))
    passed = formats.number(totals["passed_over"])
    return Text(f"gaps in the topics: {reasons}; {passed} records skipped", style="bold red")


def _print_versions(console: Console, rows: list[VersionRow]) -> None:
    """Print a table of the versions with a closed window, and a line for each other version."""
    closed = [row for row in rows if row.latest is not None]
    if console.width < _WIDE:
        for row in closed:
            _print_entry(console, row)
    elif closed:
        console.print(_table(closed))
    for row in rows:
        if row.latest is None:
            console.print(_name(row), plain(f" {without_closed_window(row.filling)}", "dim"))


def _print_entry(console: Console, row: VersionRow) -> None:
    """Print a version for a narrow terminal: its state, then the figures of its latest window."""
    late = bool(row.late.rows)
    _, window, verdict, badges, drift, score, rows, *others = _cells(row, late=late)
    states = [verdict, *([badges] if row.alarms else [])]
    console.print(Text(": ").join([_name(row), Text(", ").join(map(_as_text, states))]))
    counts = [f"{rows} rows", *([f"{others.pop(0)} late"] if late else [])]
    errors, labels, delay = others
    figures = [
        *counts, f"{drift} drifted", f"{errors} errors", str(score), f"{labels} labelled",
        f"after {delay}",
    ]  # fmt: skip
    texts = [text for text in figures if formats.NOTHING not in text]
    line = Text(f"{window}: {', '.join(texts)}")
    console.print(Padding(line, (0, 0, 0, 2)))


def _as_text(cell: Text | str) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _table(rows: list[VersionRow]) -> Table:
    """Return the table of versions for a wide terminal."""
    table = table_of("Model", "Window", "Verdict", "Alarms")
    table.columns[2].min_width = len("degraded")
    late = any(row.late.rows for row in rows)
    names = ["Drift", "Score", "Rows", "Late", "Errors", "Labels", "after"]
    for name in names if late else [name for name in names if name != "Late"]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row, late=late))
    return table


def _name(row: VersionRow) -> Text:
    name = plain(f"{row.model} {row.version}", "bold")
    for alias in row.aliases:
        name.append_text(plain(f" {alias}", "dim"))
    return name


def _cells(row: VersionRow, *, late: bool) -> list[Text | str]:
    """Return the cells of a version with a closed window, with late rows if `late` is set."""
    assert row.latest is not None
    chief = chief_score(row.history)
    score = row.newest(chief) if chief else None
    delayed = row.newest(LABEL_DELAY[0])
    firing = any(alarm.state == "firing" for alarm in row.alarms)
    badges = ", ".join(map(alarm_badge, row.alarms)) or "none"
    return [
        _name(row),
        formats.period(row.latest.window),
        plain(row.latest.verdict, COLOURS.get(row.latest.verdict, "dim")),
        Text(badges, style="bold red" if firing else "yellow" if row.alarms else "dim"),
        formats.percent(value(row.latest, "drifted_share")),
        f"{PERFORMANCE[chief]} {formats.figure(value(score, chief))}"
        if score
        else performance_state(row.history),
        formats.number(row.latest.rows),
        *([formats.number(row.late.rows) if row.late.rows else formats.NOTHING] if late else []),
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
    """Return foreign text on one line, without markup and without control characters."""
    return Text(escaped(" ".join(text.splitlines())), style=style)
