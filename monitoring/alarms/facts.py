"""The facts of an alarm: everything that its sentence states."""

import msgspec

from monitoring.results import Rule, Score, Window


class AlarmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The reason of an open alarm, as its latest window shows it."""

    rule: Rule
    score: Score  # score that broke the rule: value, limit and note
    since: Window  # the first window that broke it
    labelled: int  # rows with a label
    scored: int  # columns with a drift score
    drifted: int  # features beyond their threshold
    columns: list[Score]  # columns to name, the largest drift first
