"""Score one window, with scorers that are cached per version and policy.

Calibrating a version takes seconds, so its scorers are reused for later windows. They are cached
for each policy, because after a policy change earlier windows are still revised as labels arrive.
The least recently used scorers are evicted first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from monitoring.baselines.files import BaselineFiles
from monitoring.errors import MissingBaseline
from monitoring.presenter.names import baseline_name
from monitoring.results import REFERENCE_ROWS, Score
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.column_statistics import column_statistics
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.embeddings import EmbeddingScorer
from monitoring.scoring.drift.like_times import LikeTimes
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.image_files import pictures
from monitoring.scoring.parity.scores import ParityScorer
from monitoring.scoring.performance.scores import PerformanceScorer, ReviewedRows
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import attempt
from monitoring.scoring.segments.scores import SegmentScorer
from monitoring.settings import MonitorSettings
from registry.baselines import BaselineRecord
from registry.catalogue import VersionSource
from registry.errors import RegistryUnavailable
from registry.manifest import Monitoring, Trailing, Version
from registry.own_columns import LABEL, OwnColumns
from registry.policies import digest


class VersionScorers:
    """The scorers of one version under one policy."""

    def __init__(self, baseline: Baseline) -> None:
        """Create the scorers; nothing is computed before the first window."""
        self.baseline = baseline
        self.like_times = LikeTimes(baseline)
        self.performance = PerformanceScorer(baseline)
        self.segments = SegmentScorer(baseline, self.performance)
        self.parity = ParityScorer(baseline)
        methods = baseline.manifest.monitoring.embedding_drift
        self.embeddings = EmbeddingScorer(methods, baseline.frame)


class ScorerCache:
    """A cache of scorers, keyed by version and policy, in the order of their last use."""

    def __init__(
        self,
        catalogue: VersionSource,
        room: int = MonitorSettings().reference_values,
        load: Callable[[Version], Baseline] = Baseline,
        baselines: BaselineFiles | None = None,
    ) -> None:
        """Cache at most `room` reference values (rows times columns).

        The scorers that were used last are always cached. `baselines` contains the baselines of
        versions without a reference.
        """
        self._baselines = baselines
        self._catalogue = catalogue
        self._room = room
        self._load = load
        # (model, version, baseline's digest, policy's digest) -> scorers
        self._scorers: dict[tuple[str, str, str, str], VersionScorers] = {}

    def parts(
        self,
        model: str,
        number: str,
        policy: Monitoring | None,
        baseline: BaselineRecord | None = None,
    ) -> VersionScorers:
        """Return a version's scorers under a policy, or under the manifest's policy if None.

        `baseline` replaces the reference of a version that has no reference.

        Raises:
            RegistryError: the registry does not have the version.
            MissingBaseline: the baseline cannot be read.
        """
        learned = "" if baseline is None else baseline.digest
        key = model, number, learned, "" if policy is None else digest(policy)
        parts = self._scorers.pop(key, None) or VersionScorers(self._baseline(key, policy))
        self._scorers[key] = parts
        self._make_room()
        return parts

    def version(self, model: str, number: str) -> Version:
        """Return a registered version.

        Raises:
            RegistryError: the registry does not have the version.
        """
        return self._catalogue.version(model, number)

    def _baseline(
        self, scorers_key: tuple[str, str, str, str], policy: Monitoring | None
    ) -> Baseline:
        for key, parts in self._scorers.items():
            if policy is not None and key[:3] == scorers_key[:3]:
                return parts.baseline.under(policy)
        model, number, learned, _ = scorers_key
        version = self._catalogue.version(model, number)
        if policy is not None:
            version = replace(version, manifest=replace(version.manifest, monitoring=policy))
        if not learned:
            return self._load(version)
        if self._baselines is None:
            raise MissingBaseline("this process has no folder of baselines")
        return Baseline(version, self._baselines.read(learned), learned=True)

    def _make_room(self) -> None:
        size = sum(parts.baseline.frame.size for parts in self._scorers.values())
        for key, parts in list(self._scorers.items())[:-1]:
            if size <= self._room:
                return
            size -= parts.baseline.frame.size
            del self._scorers[key]


class WindowScorer:
    """Scores windows one at a time, each under the policy of its job."""

    def __init__(self, cache: ScorerCache, reports: Path) -> None:
        """`reports` is the folder of Evidently's reports."""
        self._cache = cache
        self._reports = reports

    def score(self, job: ScoreJob) -> ScoreReply:
        """Score one window; if no score can be computed, the reply contains the error.

        Raises:
            MemoryError: another try may succeed.
            RegistryUnavailable: another try may succeed.
        """
        try:
            scores = self._score(job)
        except (MemoryError, RegistryUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - later windows must still be scored
            return ScoreReply(
                key=job.key,
                scores=[],
                error=f"could not be scored: {type(error).__name__}: {error}",
            )
        written = bool(job.report) and (self._reports / job.report).exists()
        return ScoreReply(
            key=job.key,
            scores=scores,
            report=job.report if written else "",
            pictures=pictures(job.files),
        )

    def _score(self, job: ScoreJob) -> list[Score]:
        window = frame(job.columns)
        if job.learning:
            manifest = self._cache.version(job.model, job.version).manifest
            return column_statistics(manifest, window) if job.drift else []
        parts = self._cache.parts(job.model, job.version, job.policy, job.baseline)
        window = _with_own_label(window, parts.baseline.own)
        scores = self._input_scores(parts, job, window) if job.drift else []
        if not parts.baseline.has_labels:
            return scores
        reviewed = None
        if job.review_weights:
            reviewed = ReviewedRows(frame(job.reviewed), np.array(job.review_weights))
        scores += parts.performance.score(window, answers=job.answers, reviewed=reviewed)
        return scores + parts.segments.score(window, drift=job.drift, reviewed=reviewed)

    def _input_scores(
        self, parts: VersionScorers, job: ScoreJob, window: pd.DataFrame
    ) -> list[Score]:
        """Return all scores that do not depend on labels."""
        html = self._reports / job.report if job.report else None
        if job.reference:
            against = Baseline(parts.baseline.version, frame(job.reference))
            thresholds, like_note = DriftThresholds(against), ""
        else:
            against, thresholds, like_note = parts.like_times.of(job.window)
        scores = attempt("drifted_share", lambda: score_drift(against, thresholds, window, html))
        scores += parts.embeddings.score(job.vectors, job.reference_vectors)
        drifted = [score.column for score in scores if score.name == "drift" and score.breached]
        scores += parts.parity.score(window, drifted, against)
        if trailing := against.manifest.monitoring.trailing:
            trails = bool(job.reference)
            scores.append(_reference_rows(trailing, against, job.baseline, trails=trails))
        elif like_note:
            rows = float(len(against.frame))
            scores.append(Score(name=REFERENCE_ROWS, value=rows, note=like_note))
        elif job.baseline is not None:
            scores.append(_learned_rows(job.baseline, of=baseline_name(job.baseline)))
        return scores + score_quality(parts.baseline, window, job.order, job.inputs)


def _learned_rows(baseline: BaselineRecord, of: str) -> Score:
    """Return the number of baseline rows as a score.

    Its `method` is the digest of the baseline's file, by which pages find the rows.
    """
    value = float(baseline.rows)
    return Score(name=REFERENCE_ROWS, value=value, method=baseline.digest, note=f"of {of}")


def _reference_rows(
    trailing: Trailing, against: Baseline, baseline: BaselineRecord | None, *, trails: bool
) -> Score:
    note = f"of the {trailing.windows} previous windows"
    if not trails:
        too_few = f"fewer than {trailing.windows} previous windows"
        if baseline is not None:
            return _learned_rows(baseline, of=f"{baseline_name(baseline)}: {too_few}")
        note = f"of the registered reference: {too_few}"
    return Score(name=REFERENCE_ROWS, value=float(len(against.frame)), note=note)


def _with_own_label(window: pd.DataFrame, own: OwnColumns) -> pd.DataFrame:
    """Return a window with its labels in a separate column.

    In jobs of earlier releases, labels replace the values of a feature that is named `label`.
    """
    if own.label in window:
        return window
    window[own.label], window[LABEL] = window[LABEL], None
    return window


def frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Return rows with their logged values; pandas must not convert integers to floats."""
    return pd.DataFrame(columns, dtype=object)
