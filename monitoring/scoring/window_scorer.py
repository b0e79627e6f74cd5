"""Scores one window: everything that is computed about its rows."""

from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.results import REFERENCE_ROWS, Score
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.thresholds import Thresholds
from monitoring.scoring.isolation import attempt
from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.reference_cache import Parts, Recent
from registry.manifest import Trailing


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
