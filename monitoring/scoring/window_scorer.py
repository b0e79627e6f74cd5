"""What the scoring process keeps of the versions that it has seen, and what it lets go of.

A version's reference, and all that was drawn from it, serves every window to come; made anew it
costs seconds. It is kept for each policy by which windows are watched: after a change those of the
old one are still revised, as labels come. What was not used for longest goes first.

Scores one window: everything that is computed about its rows.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec.structs import replace

from monitoring.results import REFERENCE_ROWS, Score
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.thresholds import Thresholds
from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.scoring.parity.scores import Again
from monitoring.scoring.performance.scores import Performance
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import attempt
from monitoring.scoring.segments.scores import Segments
from monitoring.settings import MonitorSettings
from monitoring.windows.policy_source import VersionSource
from registry.manifest import Monitoring, Trailing, Version
from registry.policies import digest


class Parts:
    """What scores the windows of one version by one policy."""

    def __init__(self, baseline: Baseline) -> None:
        """Nothing is drawn before the first window."""
        self.baseline = baseline
        self.thresholds = Thresholds(baseline)
        self.performance = Performance(baseline)
        self.segments = Segments(baseline, self.performance)
        self.again = Again(baseline)


class Recent:
    """The parts of versions and policies, the least recently used first."""

    def __init__(
        self,
        catalogue: VersionSource,
        room: int = MonitorSettings().reference_values,
        load: Callable[[Version], Baseline] = Baseline,
    ) -> None:
        """`room` for so many values, rows times columns; what was used last stays in any case."""
        self._catalogue = catalogue
        self._room = room
        self._load = load
        self._kept: dict[tuple[str, str, str], Parts] = {}

    def parts(self, model: str, number: str, policy: Monitoring | None) -> Parts:
        """What scores by a policy; None: the manifest's. Raises RegistryError."""
        key = model, number, "" if policy is None else digest(policy)
        parts = self._kept.pop(key, None) or Parts(self._baseline(model, number, policy))
        self._kept[key] = parts
        self._make_room()
        return parts

    def _baseline(self, model: str, number: str, policy: Monitoring | None) -> Baseline:
        for key, kept in self._kept.items():
            if policy is not None and key[:2] == (model, number):
                return kept.baseline.under(policy)
        version = self._catalogue.version(model, number)
        if policy is not None:
            version = replace(version, manifest=replace(version.manifest, monitoring=policy))
        return self._load(version)

    def _make_room(self) -> None:
        taken = sum(parts.baseline.frame.size for parts in self._kept.values())
        for key, parts in list(self._kept.items())[:-1]:
            if taken <= self._room:
                return
            taken -= parts.baseline.frame.size
            del self._kept[key]


class Scoring:
    """Scores one window after the other, each by the policy that its job states."""

    def __init__(self, recent: Recent, reports: Path) -> None:
        """Reports go below the folder `reports`."""
        self._recent = recent
        self._reports = reports

    def score(self, job: ScoreJob) -> ScoreReply:
        """All scores of one window; what went wrong as a whole is said in the reply."""
        try:
            scores = self._score(job)
        except Exception as error:  # noqa: BLE001 - the next window must be scored all the same
            return ScoreReply(
                key=job.key,
                scores=[],
                error=f"could not be scored: {type(error).__name__}: {error}",
            )
        written = bool(job.report) and (self._reports / job.report).exists()
        return ScoreReply(key=job.key, scores=scores, report=job.report if written else "")

    def _score(self, job: ScoreJob) -> list[Score]:
        parts = self._recent.parts(job.model, job.version, job.policy)
        window = frame(job.columns)
        scores = self._of_inputs(parts, job, window) if job.drift else []
        scores += parts.performance.score(window, answers=job.answers)
        return scores + parts.segments.score(window, drift=job.drift)

    def _of_inputs(self, parts: Parts, job: ScoreJob, window: pd.DataFrame) -> list[Score]:
        """What labels have no bearing on."""
        html = self._reports / job.report if job.report else None
        against, thresholds = parts.baseline, parts.thresholds
        if job.reference:
            against = Baseline(against.version, frame(job.reference))
            thresholds = Thresholds(against)
        scores = attempt("drifted_share", lambda: score_drift(against, thresholds, window, html))
        drifted = [score.column for score in scores if score.name == "drift" and score.breached]
        scores += parts.again.score(window, drifted, against)
        if trailing := against.manifest.monitoring.trailing:
            scores.append(_measured_against(trailing, against, trails=bool(job.reference)))
        return scores + score_quality(parts.baseline, window, job.order, job.inputs)


def _measured_against(trailing: Trailing, against: Baseline, *, trails: bool) -> Score:
    note = f"of the {trailing.windows} windows before"
    if not trails:
        note = f"of the registered reference: fewer than {trailing.windows} windows came before"
    return Score(name=REFERENCE_ROWS, value=float(len(against.frame)), note=note)


def frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """The rows as they came: nothing is turned into floats because one value is missing."""
    return pd.DataFrame(columns, dtype=object)
