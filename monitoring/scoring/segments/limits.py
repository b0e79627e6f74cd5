"""Everything that decides when a group, or the gap between two, breaks a rule lives here.

Few rows say little about a group, and among many groups some look bad by chance. A rule is broken
only where a figure lies beyond its limit by more than chance does to any of the groups, as rarely
as the budget of false alarms allows the rule in one window.
"""

from collections.abc import Sequence
from statistics import NormalDist

import msgspec
from msgspec.structs import replace
from scipy.stats import t as student

from monitoring.alarms.budget import level
from monitoring.results import Score
from monitoring.scoring.performance.metrics import ERRORS, WIDTH
from monitoring.scoring.segments.fairness import Allowed
from registry.manifest import Manifest


class Limits(msgspec.Struct, frozen=True):
    """What the policy of one version asks of groups."""

    gaps: tuple[Allowed, Allowed]  # of the selection rate, and of the true-positive rate
    score: float | None  # of every group
    chance: float  # with which a group may break the limit of its score

    @classmethod
    def of(cls, manifest: Manifest, groups: Sequence[int]) -> "Limits":
        """`groups` are the numbers of named groups, by segment."""
        stated, allowed = manifest.monitoring.alarms, level(manifest)
        pairs = sum(number * (number - 1) // 2 for number in groups)
        errors = NormalDist().inv_cdf(1 - allowed / max(pairs, 1))
        gaps = stated.max_gap.selection_rate, stated.max_gap.true_positive_rate
        together = sum(number + 2 for number in groups)  # with the others, and with none
        return cls(
            (Allowed(gaps[0], errors), Allowed(gaps[1], errors)),
            stated.min_segment_score,
            allowed / max(together, 1),
        )

    def judged(self, score: Score, parts: int) -> Score:
        """A group's score beside the limit; its interval comes of so many `parts` left out."""
        if self.score is None or score.value is None or score.low is None or score.high is None:
            return score
        error = (score.high - score.low) / 2 / WIDTH
        beyond = float(student.ppf(1 - self.chance, parts - 1)) * error
        if score.name in ERRORS:
            breached = score.value - beyond > self.score
        else:
            breached = score.value + beyond < self.score
        return replace(score, threshold=self.score, breached=breached)
