"""`driftline status`: what the status page shows, in the terminal."""

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eventlog.settings import Home
from monitoring.core.health import LABEL_DELAY
from monitoring.settings import database
from monitoring.state.store import Store
from monitoring.web import words
from monitoring.web.overview import Ledger, Row, headline, ledger, overview_rows
from monitoring.web.reading import PERFORMANCE, chief_score, coverage, value

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
def status() -> None:
    """Say what is going on: every model version, worst first, and whether anything was lost."""
    store = open_store()
    rows = overview_rows(store, None)
    book = ledger(store.ledger())
    said = headline(rows, book, store.deliveries(), store.disabled())
    console = Console()
    console.print(plain(said.text, _TONES[said.tone]))
    console.print(_ledger_line(book))
    if gaps := _gaps_line(store.totals()):
        console.print(gaps)
    if rows:
        console.print(_versions(rows))
    else:
        console.print("Send a first prediction to http://127.0.0.1:3000/predict")


def open_store() -> Store:
    return Store(database(Home.from_environment()))


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
    table = table_of("Model", "Window", "Verdict", "Alarms")
    for name in ("Drift", "Score", "Rows", "Errors", "Labels", "after"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[Text | str]:
    name = plain(f"{row.model} {row.version}", "bold")
    if row.latest is None:
        filling = words.several(row.filling.rows, "row") if row.filling else "nothing yet"
        return [name, f"filling: {filling}"]
    chief = chief_score(row.history)
    known = row.newest(chief) if chief else None
    delayed = row.newest(LABEL_DELAY[0])
    firing = [alarm.rule for alarm in row.alarms if alarm.state == "firing"]
    noted = [f"{alarm.rule} (noted)" for alarm in row.alarms if alarm.state != "firing"]
    return [
        name,
        words.period(row.latest.window),
        plain(row.latest.verdict, COLOURS.get(row.latest.verdict, "dim")),
        Text(", ".join(firing + noted), style="bold red" if firing else "yellow"),
        words.percent(value(row.latest, "drifted_share")),
        f"{PERFORMANCE[chief]} {words.figure(value(known, chief))}" if known else words.NOTHING,
        words.number(row.latest.rows),
        words.percent(value(row.latest, "error_share")),
        words.percent(coverage(row.latest)),
        words.duration(value(delayed, LABEL_DELAY[0]) if delayed else None),
    ]


def table_of(*headers: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def plain(text: str, style: str = "") -> Text:
    """Words of others as they are: no markup, and nothing that could steer the terminal."""
    return Text("".join(c if c.isprintable() else " " for c in text), style=style)
