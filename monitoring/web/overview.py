"""Build the overview: versions worst first, open alarms and the headline."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.formats import moment, period, several
from monitoring.results import Alarm, Delivery, DisabledReceiver, LateCounts, Result, SourceLedger
from monitoring.web.queries import Catalogue, Queries
from monitoring.web.window_view import coverage, find, sentence, value

HISTORY = 30  # windows behind a sparkline
_STATES = ("firing", "acknowledged", "resolved")


class EventBalance(msgspec.Struct, frozen=True):
    """Events of all sources: answered = logged = monitored unless events were lost."""

    answered: int
    logged: int
    monitored: int
    lost: int
    duplicated: int
    unreadable: int

    @property
    def balanced(self) -> bool:
        """Whether every answer has been monitored."""
        return self.answered == self.logged == self.monitored


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model version on the overview."""

    model: str
    version: str
    aliases: list[str]
    latest: Result | None  # the last closed window
    filling: Result | None  # the last open one
    history: list[Result]  # the last closed windows, oldest first, see Queries.recent
    alarms: list[Alarm]  # firing and acknowledged
    late: LateCounts = LateCounts()  # what came too late for any window

    def series(self, name: str) -> list[float | None]:
        """A score of the whole over the last windows."""
        return [value(result, name) for result in self.history[-HISTORY:]]

    def newest(self, name: str) -> Result | None:
        """The last window where a score is known: labels come after the window they belong to."""
        known = (result for result in reversed(self.history) if value(result, name) is not None)
        return next(known, None)

    def limit(self, name: str) -> float | None:
        """The threshold of a score, as the newest window that has one states it."""
        scores = (find(result, name) for result in reversed(self.history))
        return next((score.threshold for score in scores if score), None)

    @property
    def rank(self) -> int:
        """Worst first."""
        if any(alarm.state == "firing" for alarm in self.alarms):
            return 0
        if self.latest is None:
            return 4
        if self.latest.verdict in ("drifted", "degraded"):
            return 1
        return 2 if self.alarms else 3 if self.latest.verdict == "not enough data" else 5

    @property
    def order(self) -> tuple[int, float, str, str]:
        """What rows are sorted by."""
        share = self.latest and value(self.latest, "drifted_share")
        return self.rank, -(share or 0.0), self.model, self.version


# What the overview can be sorted by besides: names as they stand in its address.
SORTS: dict[str, Callable[[VersionRow], Any]] = {
    "model": lambda row: (row.model, row.version),
    "window": lambda row: row.latest and row.latest.window.end,
    "drift": lambda row: row.latest and value(row.latest, "drifted_share"),
    "rows": lambda row: row.latest and row.latest.rows,
    "labelled": lambda row: row.latest and coverage(row.latest),
}


def sorted_by(rows: Sequence[VersionRow], name: str) -> list[VersionRow]:
    """By one of SORTS, the other way round with a `-` before; those without it last.

    Another name leaves them as they are, worst first.
    """
    by = SORTS.get(name.removeprefix("-"))
    if by is None:
        return list(rows)
    known = [row for row in rows if by(row) is not None]
    unknown = [row for row in rows if by(row) is None]
    return sorted(known, key=by, reverse=name.startswith("-")) + unknown


class Headline(msgspec.Struct, frozen=True):
    """The worst current state in a sentence, and its colour."""

    tone: str  # "alarm", "warning", "ok", "quiet"
    text: str


class Overview(msgspec.Struct, frozen=True):
    """What page, API and terminal show, in the same order."""

    headline: Headline
    ledger: EventBalance
    rows: list[VersionRow]  # worst first
    alarms: list[Alarm]  # open ones, worst first
    stopped: list[str]  # receivers that are disabled, and why

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "headline": self.headline,
            "ledger": self.ledger,
            "models": [as_data(row) for row in self.rows],
            "alarms": self.alarms,
            "stopped": self.stopped,
        }


def look(findings: Queries, catalogue: Catalogue | None) -> Overview:
    """Everything at a glance."""
    rows, stops = overview_rows(findings, catalogue), findings.disabled()
    book = ledger(findings.ledger())
    return Overview(
        headline(rows, book, findings.deliveries(), stops),
        book,
        rows,
        worst_first([alarm for row in rows for alarm in row.alarms]),
        [stopped(one) for one in stops],
    )


def as_data(row: VersionRow) -> dict[str, Any]:
    """One model version for programs, without its history."""
    names = ("model", "version", "aliases", "latest", "filling", "alarms")
    return {name: getattr(row, name) for name in names}


def worst_first(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Firing, then acknowledged, then resolved; of each the critical first, then the newest."""

    def order(alarm: Alarm) -> tuple[Any, ...]:
        newest = (-alarm.latest.start, -alarm.since.start)
        name = (alarm.model, alarm.version, alarm.rule)
        return _STATES.index(alarm.state), alarm.severity != "critical", *newest, *name

    return sorted(alarms, key=order)


def badge(alarm: Alarm) -> str:
    """An open alarm in a word or two."""
    return alarm.rule if alarm.state == "firing" else f"{alarm.rule}, acknowledged"


def waiting(row: VersionRow) -> str:
    """Describe a version without a closed window."""
    if row.filling is None:
        return "registered, no predictions yet"
    return f"first window open: {several(row.filling.rows, 'row')}, {period(row.filling.window)}"


def overview_rows(findings: Queries, catalogue: Catalogue | None) -> list[VersionRow]:
    """Every version that was seen or is registered, worst first."""
    aliases = _aliases(catalogue)
    pairs = {*findings.watched(), *_registered(catalogue)}
    alarms = [alarm for alarm in findings.alarms() if alarm.state != "resolved"]
    about: dict[tuple[str, str], list[Alarm]] = {}
    for alarm in alarms:
        about.setdefault((alarm.model, alarm.version), []).append(alarm)
    rows = [_row(findings, pair, aliases.get(pair, []), about.get(pair, [])) for pair in pairs]
    return sorted(rows, key=lambda row: row.order)


def row_of(
    findings: Queries, catalogue: Catalogue | None, pair: tuple[str, str]
) -> VersionRow | None:
    """One model version; None where it was never seen and is not registered."""
    if pair not in findings.watched() and pair not in _registered(catalogue):
        return None
    alarms = [a for a in findings.alarms() if a.state != "resolved" and _about(a) == pair]
    return _row(findings, pair, _aliases(catalogue).get(pair, []), alarms)


def _row(
    findings: Queries, pair: tuple[str, str], aliases: list[str], alarms: list[Alarm]
) -> VersionRow:
    results = findings.recent(*pair, last=HISTORY)
    open_windows = findings.live(*pair)
    return VersionRow(
        model=pair[0],
        version=pair[1],
        aliases=aliases,
        latest=results[-1] if results else None,
        filling=open_windows[-1] if open_windows else None,
        history=results,
        alarms=worst_first(alarms),
        late=findings.late(*pair),
    )


def ledger(sources: Sequence[SourceLedger]) -> EventBalance:
    """All sources added up.

    The service numbers its answers without a gap before they leave, so an answer whose number
    never came is one that was given and lost.
    """
    logged = sum(source.events for source in sources)
    lost = sum(source.lost for source in sources)
    unreadable = sum(source.unreadable for source in sources)
    return EventBalance(
        answered=logged + lost,
        logged=logged,
        monitored=logged - unreadable,
        lost=lost,
        duplicated=sum(source.duplicated for source in sources),
        unreadable=unreadable,
    )


def headline(
    rows: Sequence[VersionRow],
    book: EventBalance,
    deliveries: Sequence[Delivery],
    disabled: Sequence[DisabledReceiver] = (),
) -> Headline:
    """Return the headline: the worst current state."""
    firing = worst_first(a for row in rows for a in row.alarms if a.state == "firing")
    if firing:
        more = f" {_more(len(firing) - 1)} firing." if len(firing) > 1 else ""
        return Headline("alarm", about(firing[0]) + more)
    if book.lost:
        return Headline("alarm", f"{_events(book.lost)} lost: answered, but not in the event log.")
    if disabled:
        return Headline("warning", stopped(disabled[0]))
    dead = sum(delivery.state == "dead" for delivery in deliveries)
    if dead:
        return Headline("warning", f"{several(dead, 'retraining webhook')} could not be delivered.")
    off = [row for row in rows if row.rank == 1]
    if off and off[0].latest:
        name, latest = f"{off[0].model} version {off[0].version}", off[0].latest
        return Headline(
            "warning",
            f"{name}, {period(latest.window)}: {sentence(latest)} "
            "No alarm yet: it takes several windows in a row.",
        )
    return _calm(rows)


def about(alarm: Alarm) -> str:
    """Return an alarm's sentence with its model version."""
    name, text = f"{alarm.model} version {alarm.version}", alarm_text(alarm)
    return text if text.startswith(name) else f"{name}: {text}"


def stopped(disabled: DisabledReceiver) -> str:
    """State why a receiver is disabled, and how to enable it."""
    return (
        f"Webhooks to {disabled.host} are disabled since {moment(disabled.since)} "
        f"({disabled.reason}). To enable them: driftline webhooks enable."
    )


def _calm(rows: Sequence[VersionRow]) -> Headline:
    judged = [row for row in rows if row.rank in (2, 5)]
    noted = [row for row in rows if row.rank == 2]
    if not rows:
        return Headline("quiet", "No predictions yet.")
    if not judged:
        return Headline("quiet", "No window has enough data for a verdict yet.")
    if noted:
        return Headline("warning", "Every open alarm is acknowledged.")
    which = (
        f"{judged[0].model} version {judged[0].version} matches"
        if len(judged) == 1
        else f"All {len(judged)} judged versions match"
    )
    return Headline("ok", f"{which} the reference data.")


def _more(count: int) -> str:
    return "1 more alarm is" if count == 1 else f"{count:,} more alarms are"


def _events(count: int) -> str:
    return "1 event was" if count == 1 else f"{count:,} events were"


def _about(alarm: Alarm) -> tuple[str, str]:
    return alarm.model, alarm.version


def _registered(catalogue: Catalogue | None) -> list[tuple[str, str]]:
    if catalogue is None:
        return []
    return [
        (model, version.number)
        for model in catalogue.models()
        for version in catalogue.versions(model)
    ]


def _aliases(catalogue: Catalogue | None) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for model in catalogue.models() if catalogue else []:
        for alias, number in catalogue.aliases(model).items() if catalogue else []:
            found.setdefault((model, number), []).append(alias)
    return found
