"""Facts of an alarm that its sentence states."""

import msgspec

from monitoring.results import Rule, Score, Window


class AlarmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The reason for an open alarm, from its latest window's result."""

    rule: Rule
    score: Score  # score that broke the rule: value, limit and note
    since: Window  # first window that broke the rule
    labelled: int  # number of rows with a label
    scored: int  # number of columns with a drift score
    drifted: int  # number of columns whose drift score is beyond its threshold
    columns: list[Score]  # scores of the columns to name, largest drift first
