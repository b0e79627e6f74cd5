"""Headline of the status page and the terminal: the worst current problem in one sentence."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from monitoring.presenter.alarm_sentence import alarm_text
from monitoring.presenter.formats import moment, number, period, several
from monitoring.results import REFUSED_LABELS, Alarm, DisabledReceiver, PartitionHolder, Result

_LATE_SHARE = 0.01  # smallest share of late rows that becomes a headline
_MOST_NAMED = 10  # maximum partitions that a sentence names
_REFUSED_SHARE = 0.01  # smallest share of refused labels that becomes a headline


class Headline(msgspec.Struct, frozen=True):
    """The worst current problem in a sentence, and its tone, which sets the colour."""

    tone: str  # "alarm", "warning", "ok", "quiet"
    text: str


class WindowTrouble(msgspec.Struct, frozen=True):
    """A version's newest window that breaks a rule, although no alarm is firing."""

    model: str
    version: str
    summary: str  # summary of the window
    window: Result
    progress: str = ""  # progress of the rules towards an alarm


class MonitorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts that the headline is chosen from."""

    firing: Sequence[Alarm]  # firing alarms, worst first
    lost: int = 0  # number of lost events
    disabled: Sequence[DisabledReceiver] = ()
    data: Sequence[str] = ()  # sentences about refused labels and late rows; may be empty texts
    dead: int = 0  # number of undeliverable webhooks
    trouble: WindowTrouble | None = None  # worst window without a firing alarm
    versions: int = 0  # number of monitored versions
    judged: Sequence[tuple[str, str]] = ()  # (model, version) whose newest window has a verdict
    acknowledged: bool = False  # whether an alarm is open and acknowledged


def headline_of(facts: MonitorFacts) -> Headline:
    """Return the headline about the most severe fact."""
    if facts.firing:
        others = len(facts.firing) - 1
        more = f" {_more(others)} firing." if others else ""
        # Without the outcome of revisions, so that the headline fits two lines of the page. The
        # list of alarms below it has the whole text.
        alarm = facts.firing[0]
        return Headline("alarm", _versioned(alarm, alarm.sentence) + more)
    if facts.lost:
        return Headline("alarm", f"{_events(facts.lost)} lost: answered, but not in the event log.")
    warning = next(filter(None, _warnings(facts)), "")
    return Headline("warning", warning) if warning else _calm(facts)


def refused_labels(totals: Mapping[str, int]) -> str:
    """State how many labels were refused; return "" if they are less than 1 % of all labels."""
    unfit, by_service = totals.get("unfit_labels", 0), totals.get(REFUSED_LABELS, 0)
    refused, labels = unfit + by_service, totals.get("labels", 0) + by_service
    if not refused or refused < _REFUSED_SHARE * labels:
        return ""
    details = "The dead letters contain them." if unfit else "Their callers received the reason."
    return (
        f"{number(refused)} of {several(labels, 'label')} refused: they are neither classes of the "
        f"model nor numbers. {details}"
    )


def unheld_partitions(partitions: Sequence[PartitionHolder], now: int) -> str:
    """State which partitions no monitor holds; return "" if every partition has a monitor."""
    unheld = [partition.partition for partition in partitions if not partition.is_held(now)]
    if not unheld:
        return ""
    names = ", ".join(map(str, unheld[:_MOST_NAMED]))
    more = f" and {len(unheld) - _MOST_NAMED} more" if len(unheld) > _MOST_NAMED else ""
    return (
        f"{len(unheld)} of {several(len(partitions), 'partition')} held by no monitor: {names}"
        f"{more}. Their models are not monitored."
    )


def held_partitions(partitions: Sequence[PartitionHolder], now: int) -> str:
    """State how many monitors hold the partitions, and their lag in records."""
    holders = {partition.holder for partition in partitions if partition.is_held(now)}
    behind = sum(partition.behind for partition in partitions)
    return (
        f"{several(len(partitions), 'partition')} held by {several(len(holders), 'monitor')}, "
        f"{several(behind, 'record')} behind"
    )


def late_rows(model: str, version: str, late: int, rows: int) -> str:
    """State the number of late rows; return "" if they are less than 1 % of all rows.

    `rows` is the number of rows in closed windows, without the late rows.
    """
    if not late or late < _LATE_SHARE * (late + rows):
        return ""
    return (
        f"{model} version {version}: {number(late)} of {several(late + rows, 'row')} came after "
        "their windows had closed, and are included in no result."
    )


def versioned_alarm(alarm: Alarm) -> str:
    """Return an alarm's text, with its model version in front."""
    return _versioned(alarm, alarm_text(alarm))


def _versioned(alarm: Alarm, text: str) -> str:
    name = f"{alarm.model} version {alarm.version}"
    return text if text.startswith(name) else f"{name}: {text}"


def alarm_badge(alarm: Alarm) -> str:
    """Return an open alarm's rule, and whether the alarm is acknowledged."""
    return alarm.rule if alarm.state == "firing" else f"{alarm.rule}, acknowledged"


def disabled_receiver(disabled: DisabledReceiver) -> str:
    """State why a webhook receiver is disabled, and how to enable it."""
    return (
        f"Webhooks to {disabled.host} have been disabled since {moment(disabled.since)} "
        f"({disabled.reason}). To enable them: driftline webhooks enable."
    )


def without_closed_window(filling: Result | None) -> str:
    """Describe a version without a closed window; `filling` is its open window, if any."""
    if filling is None:
        return "registered, no predictions yet"
    return f"first window open: {several(filling.rows, 'row')}, {period(filling.window)}"


def _warnings(facts: MonitorFacts) -> Iterator[str]:
    """Yield a sentence for each kind of warning, worst first; "" if the warning does not apply."""
    yield disabled_receiver(facts.disabled[0]) if facts.disabled else ""
    yield from facts.data
    webhooks = several(facts.dead, "retraining webhook")
    yield f"{webhooks} could not be delivered." if facts.dead else ""
    yield "" if facts.trouble is None else _trouble(facts.trouble)


def _trouble(trouble: WindowTrouble) -> str:
    name = f"{trouble.model} version {trouble.version}, {period(trouble.window.window)}"
    no_alarm = f"No alarm yet: {trouble.progress}." if trouble.progress else "No alarm yet."
    return f"{name}: {trouble.summary} {no_alarm}"


def _calm(facts: MonitorFacts) -> Headline:
    if not facts.versions:
        return Headline("quiet", "No predictions yet.")
    if not facts.judged:
        return Headline("quiet", "No window has enough data for a verdict yet.")
    if facts.acknowledged:
        return Headline("warning", "Every open alarm is acknowledged.")
    versions = (
        "{} version {} matches".format(*facts.judged[0])
        if len(facts.judged) == 1
        else f"All {len(facts.judged)} judged versions match"
    )
    return Headline("ok", f"{versions} the reference data.")


def _more(count: int) -> str:
    return "1 more alarm is" if count == 1 else f"{number(count)} more alarms are"


def _events(count: int) -> str:
    return "1 event was" if count == 1 else f"{number(count)} events were"
