"""Scores one window: everything that is computed about its rows."""

from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.core.results import REFERENCE_ROWS, Score
from monitoring.policies import Catalogue
from monitoring.scoring.again import Again
from monitoring.scoring.drift import score_drift
from monitoring.scoring.isolation import attempt
from monitoring.scoring.jobs import ScoreJob, ScoreReply
from monitoring.scoring.performance import Performance
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.segments import Segments
from monitoring.scoring.thresholds import Thresholds
from registry.manifest import Trailing, Version


class Scoring:
    """Keeps the baselines of the versions it has seen."""

    def __init__(self, catalogue: Catalogue, reports: Path) -> None:
        """Reports go below the folder `reports`."""
        self._catalogue = catalogue
        self._reports = reports
        self._known: dict[tuple[str, str], _Known] = {}

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
        known = self._version(job.model, job.version)
        window = frame(job.columns)
        scores = self._of_inputs(known, job, window) if job.drift else []
        scores += known.performance.score(window)
        return scores + known.segments.score(window, drift=job.drift)

    def _of_inputs(self, known: "_Known", job: ScoreJob, window: pd.DataFrame) -> list[Score]:
        """What labels have no bearing on."""
        html = self._reports / job.report if job.report else None
        against, thresholds = known.baseline, known.thresholds
        if job.reference:
            against = Baseline(against.version, frame(job.reference))
            thresholds = Thresholds(against)
        scores = attempt("drifted_share", lambda: score_drift(against, thresholds, window, html))
        drifted = [score.column for score in scores if score.name == "drift" and score.breached]
        scores += known.again.score(window, drifted, against)
        if trailing := against.manifest.monitoring.trailing:
            scores.append(_measured_against(trailing, against, trails=bool(job.reference)))
        return scores + score_quality(known.baseline, window, job.order, job.inputs)

    def _version(self, model: str, number: str) -> "_Known":
        known = self._known.get((model, number))
        if known is None:
            known = self._known[model, number] = _Known(self._catalogue.version(model, number))
        return known


class _Known:
    """What the parts keep of one version."""

    def __init__(self, version: Version) -> None:
        self.baseline = Baseline(version)
        self.thresholds = Thresholds(self.baseline)
        self.performance = Performance(self.baseline)
        self.segments = Segments(self.baseline, self.performance)
        self.again = Again(self.baseline)


def _measured_against(trailing: Trailing, against: Baseline, *, trails: bool) -> Score:
    note = f"of the {trailing.windows} windows before"
    if not trails:
        note = f"of the registered reference: fewer than {trailing.windows} windows came before"
    return Score(name=REFERENCE_ROWS, value=float(len(against.frame)), note=note)


def frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """The rows as they came: nothing is turned into floats because one value is missing."""
    return pd.DataFrame(columns, dtype=object)
