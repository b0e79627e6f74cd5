"""Everything that decides whether an alarm is silenced lives here.

A silenced alarm fires, is seen and resolves as any other; it asks for nothing, neither then nor
when the silence is over. Silences are for people's time: they end by the clock.
"""

from collections.abc import Iterable

from monitoring.results import Alarm, Silence


def silenced(alarm: Alarm, silences: Iterable[Silence], now: int) -> Silence | None:
    """The silence that holds this alarm at `now`, microseconds."""
    return next((one for one in silences if now < one.until and _matches(one, alarm)), None)


def _matches(silence: Silence, alarm: Alarm) -> bool:
    return all(
        wanted in ("", found)
        for wanted, found in (
            (silence.model, alarm.model),
            (silence.version, alarm.version),
            (silence.rule, alarm.rule),
        )
    )
