"""Divide the budget of false alarms among the rules of a model. Pure.

The manifest states how many false alarms a model may raise, all rules together. Every rule that can
raise one gets an equal part, because expected numbers add up whatever the rules have in common. The
hysteresis then gives the level of one window: a rule that takes two broken windows in a row may be
broken by chance far more often than it may raise an alarm.
"""

import math

from monitoring.results import SELECTION_GAP, TRUE_POSITIVE_GAP, Rule
from registry.features import expects_labels
from registry.manifest import AlarmPolicy, Manifest, Monitoring
from registry.outputs import probabilities_output

_DAY = 86_400
_STEPS = 80  # halvings: to the last digit of a float
# Times as often as one look, three looks at 60, 80 and 100 % of the labels break a rule by chance;
# Pocock (1977) gives 1.4 to 1.6 for the usual levels.
_LOOKS = 1.5


def false_alarms(monitoring: Monitoring) -> float:
    """Return the allowed false alarms per window over all rules; 0.01 is one in 100.

    The number of row-count windows in a day is unknown, so only the limit per window holds for
    them.
    """
    allowed = monitoring.alarms.false_alarms
    if monitoring.window.rows is not None or monitoring.window.length is None:
        return 1 / allowed.windows
    return min(monitoring.window.length / (allowed.days * _DAY), 1 / allowed.windows)


def rules(manifest: Manifest) -> list[Rule]:
    """Return the rules that chance can break on this model; parity is not one of them."""
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


def part(manifest: Manifest) -> float:
    """Return the allowed false alarms of one rule per window."""
    return false_alarms(manifest.monitoring) / len(rules(manifest))


def level(manifest: Manifest) -> float:
    """Return the probability at which one window may break one rule by chance."""
    return _level(part(manifest), manifest.monitoring.alarms.consecutive)


def label_level(manifest: Manifest) -> float:
    """Return `level` for a rule about labels, which every revision of a window judges."""
    return level(manifest) / _LOOKS


def hourly_level(alarms: AlarmPolicy) -> tuple[float, float]:
    """Return the probabilities at which an hour, and the 24 hours before its end, may break the
    rule about traffic by chance.

    Traffic is the model's, and not that of a version's windows: it has the budget by itself, with
    hours as windows. 24 hours share 23 with those an hour later, so no hour after the first counts.
    """
    allowed = min(1 / (alarms.false_alarms.days * 24), 1 / alarms.false_alarms.windows) / 2
    return _level(allowed, alarms.consecutive), _level(allowed, 1)


def wording(monitoring: Monitoring) -> str:
    """Return the budget in words: "at most one false alarm in 30 days and in 100 windows"."""
    allowed = monitoring.alarms.false_alarms
    days = f"{allowed.days:g} day{'s' * (allowed.days != 1)}"
    windows = f"{allowed.windows:,} window{'s' * (allowed.windows != 1)}"
    if monitoring.window.rows is not None:
        return f"at most one false alarm in {windows}, all rules together"
    return f"at most one false alarm in {days} and in {windows}, all rules together"


def _level(rate: float, consecutive: int) -> float:
    low, high = 0.0, 0.5  # from one half on, alarms only become longer and not more
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _rate(middle, consecutive) < rate:
            low = middle
        else:
            high = middle
    return low


def _rate(broken: float, consecutive: int) -> float:
    """Return alarms per window if each breaks the rule with this probability, independently."""
    if broken <= 0:
        return 0.0
    return 1 / (_wait(broken, consecutive) + _wait(1 - broken, consecutive))


def _wait(chance: float, times: int) -> float:
    """Return the expected windows until an event of this chance occurs `times` in a row."""
    in_a_row = math.pow(chance, times)
    return (1 - in_a_row) / ((1 - chance) * in_a_row) if in_a_row > 0 else math.inf
