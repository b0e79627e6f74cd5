"""Divide the budget of false alarms among the rules of a model. Pure.

The manifest states how many false alarms a model may raise, summed over all rules. Every rule that
can raise a false alarm gets an equal part, because expected numbers add up even if the rules are
correlated. A rule's part determines its level, the probability at which one window may break the
rule by chance. If an alarm needs two broken windows in a row, the level can be much higher.
"""

import math

from monitoring.results import SELECTION_GAP, TRUE_POSITIVE_GAP, Rule
from registry.features import expects_labels
from registry.manifest import AlarmPolicy, Manifest, Monitoring
from registry.outputs import probabilities_output

_DAY = 86_400
_STEPS = 80  # bisection steps; enough for the last digit of a float
# A window is judged at 60, 80 and 100 % of its labels. Three judgements break a rule by chance 1.5
# times as often as one. Pocock (1977) states factors of 1.4 to 1.6 for the usual levels.
_LOOKS = 1.5


def false_alarms(monitoring: Monitoring) -> float:
    """Return the allowed false alarms per window, all rules together; 0.01 is one in 100 windows.

    The number of row-count windows per day is unknown, so only the limit per window applies to
    them.
    """
    allowed = monitoring.alarms.false_alarms
    if monitoring.window.rows is not None or monitoring.window.length is None:
        return 1 / allowed.windows
    return min(monitoring.window.length / (allowed.days * _DAY), 1 / allowed.windows)


def rules(manifest: Manifest) -> list[Rule]:
    """Return this model's rules that chance can break; prediction parity is never among them."""
    estimated = manifest.task == "regression" or bool(probabilities_output(manifest.prediction))
    alarms = manifest.monitoring.alarms
    if not expects_labels(manifest):
        return ["drift"]
    limited = alarms.min_score is not None
    possible: list[tuple[Rule, bool]] = [
        ("drift", True),
        ("performance", limited),
        ("estimate", limited and estimated),
        ("concept", True),
        ("segment", alarms.min_segment_score is not None),
        (SELECTION_GAP, alarms.max_gap.selection_rate is not None),
        (TRUE_POSITIVE_GAP, alarms.max_gap.true_positive_rate is not None),
    ]
    return [rule for rule, can_fire in possible if can_fire]


def rule_budget(manifest: Manifest) -> float:
    """Return one rule's allowed false alarms per window."""
    return false_alarms(manifest.monitoring) / len(rules(manifest))


def level(manifest: Manifest) -> float:
    """Return the probability at which one window may break one rule by chance."""
    return _level_for_rate(rule_budget(manifest), manifest.monitoring.alarms.consecutive)


def label_level(manifest: Manifest) -> float:
    """Return the level of a rule about labels; it is lower because every revision is judged."""
    return level(manifest) / _LOOKS


def hourly_level(alarms: AlarmPolicy) -> tuple[float, float]:
    """Return the traffic rule's levels: for one hour, and for the 24 hours that end with it.

    Traffic is counted per model, not per version, so this rule has a budget of its own, in which
    each hour is a window. Each of the two checks gets half of it. Successive spans of 24 hours
    share 23 hours, so the second level assumes that one broken span raises an alarm.
    """
    allowed = min(1 / (alarms.false_alarms.days * 24), 1 / alarms.false_alarms.windows) / 2
    return _level_for_rate(allowed, alarms.consecutive), _level_for_rate(allowed, 1)


def budget_text(monitoring: Monitoring) -> str:
    """Return the budget in words: "at most one false alarm in 30 days and in 100 windows"."""
    allowed = monitoring.alarms.false_alarms
    days = f"{allowed.days:g} day{'s' * (allowed.days != 1)}"
    windows = f"{allowed.windows:,} window{'s' * (allowed.windows != 1)}"
    if monitoring.window.rows is not None:
        return f"at most one false alarm in {windows}, all rules together"
    return f"at most one false alarm in {days} and in {windows}, all rules together"


def _level_for_rate(rate: float, consecutive: int) -> float:
    low, high = 0.0, 0.5  # above one half, alarms become longer but not more frequent
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _alarm_rate(middle, consecutive) < rate:
            low = middle
        else:
            high = middle
    return low


def _alarm_rate(broken: float, consecutive: int) -> float:
    """Return the alarms per window if each window breaks the rule with probability `broken`.

    Windows are assumed to be independent.
    """
    if broken <= 0:
        return 0.0
    return 1 / (_expected_wait(broken, consecutive) + _expected_wait(1 - broken, consecutive))


def _expected_wait(chance: float, times: int) -> float:
    """Return the expected number of windows until an event occurs `times` in a row."""
    in_a_row = math.pow(chance, times)
    return (1 - in_a_row) / ((1 - chance) * in_a_row) if in_a_row > 0 else math.inf
