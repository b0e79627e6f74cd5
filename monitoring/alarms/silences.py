"""Decide whether an alarm is silenced. Pure.

A silenced alarm fires, is shown and resolves like any other alarm. It requests no retraining, even
after the silence has ended. Silences end by wall-clock time, not by event time.
"""

from collections.abc import Iterable

from monitoring.results import Alarm, Silence


def silenced(alarm: Alarm, silences: Iterable[Silence], now: int) -> Silence | None:
    """Return a silence that matches the alarm at `now`, in microseconds; None if there is none."""
    return next(
        (silence for silence in silences if now < silence.until and _matches(silence, alarm)), None
    )


def _matches(silence: Silence, alarm: Alarm) -> bool:
    return all(
        expected in ("", actual)
        for expected, actual in (
            (silence.model, alarm.model),
            (silence.version, alarm.version),
            (silence.rule, alarm.rule),
        )
    )
