"""Decide whether an alarm is silenced. Pure.

A silenced alarm fires, is shown and resolves as any other. It requests no retraining, neither then
nor when the silence ends. Silences end by the wall clock, not by event time.
"""

from collections.abc import Iterable

from monitoring.results import Alarm, Silence


def silenced(alarm: Alarm, silences: Iterable[Silence], now: int) -> Silence | None:
    """Return the silence that matches an alarm at `now` (microseconds); None if there is none."""
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
