"""Close, revise and expire windows as event time passes, and schedule their scoring.

Every method returns the scoring jobs that it has scheduled, in order. They are already in the
journal.
"""

from typing import Any

from msgspec.structs import replace

from monitoring.alarms.decision import verdict
from monitoring.baselines.files import BaselineFiles
from monitoring.baselines.vectors import vector_columns
from monitoring.counters.window_counters import LabelCounters
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.expiry import Expiry
from monitoring.ingest.review_queue import ReviewQueue
from monitoring.ingest.version_state import Eviction, VersionState
from monitoring.results import (
    LEARNED_ROWS,
    SELECTION_GAP,
    TRUE_POSITIVE_GAP,
    Result,
    Rule,
    Score,
    Window,
)
from monitoring.revision_columns import revision_columns
from monitoring.score_jobs import ScoreJob
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore, WaitingScore
from monitoring.storage.window_labels import WindowLabels
from monitoring.windows.grid import END_OF_TIME, SECOND
from monitoring.windows.learned_baseline import MOST_ROWS
from monitoring.windows.tensor_samples import TensorEviction
from monitoring.windows.window_state import MOST_SHOWN, WindowState, result_of
from registry.outputs import label_output


class WindowLifecycle:
    """Updates windows in the consumer's step; it writes in the step's transaction."""

    def __init__(
        self,
        journal: Journal,
        state: ConsumerState,
        expiry: Expiry,
        reviews: ReviewQueue,
        baselines: BaselineFiles | None = None,
    ) -> None:
        """Change `state`; write results and jobs to `journal`.

        Learned baselines are written to `baselines`; if it is None, no baseline is learned.
        """
        self._baselines = baselines
        self._journal = journal
        self._state = state
        self._expiry = expiry
        self._reviews = reviews

    def update(self, version: VersionState, *, drained: bool) -> list[WaitingScore]:
        """Close, revise and expire the windows of a version that the watermark has passed."""
        if not version.is_due(version.newest):  # saves time after almost every event
            return []
        return self._update(version, version.watermark(drained=drained))

    def update_idle(self) -> list[WaitingScore]:
        """Update the windows of versions without traffic, as the reception time passes."""
        jobs: list[WaitingScore] = []
        for version in self._state.pop_idle_versions():
            jobs += self._update(version, self._state.idle_watermark(version))
        return jobs

    def close_all(self) -> list[WaitingScore]:
        """Close every window, whatever the watermark; later labels still revise the results."""
        jobs: list[WaitingScore] = []
        for version in self._state.versions():
            self._state.touch(version)
            jobs += self._close_until(version, END_OF_TIME - 1)
            if (state := version.close_open_window()) is not None:
                jobs += self._closed(version, state)
            self._reviews.close(version)
        return jobs

    def _update(self, version: VersionState, mark: int) -> list[WaitingScore]:
        if not version.is_due(mark):
            return []
        self._state.touch(version)
        jobs = self._close_until(version, mark)
        for state in version.pop_relabelled():
            if version.expects_labels and state.needs_revision(final=False):
                jobs.append(self._schedule(version, state))
        for state in version.expiring(mark):
            awaited = state.needs_revision(final=True) or state.labelled < state.rows
            if version.expects_labels and awaited:
                jobs.append(self._schedule(version, state, final=True))
            version.expire(state)
            self._expiry.window_expired(version, state.end, mark)
        return jobs

    def _close_until(self, version: VersionState, mark: int) -> list[WaitingScore]:
        jobs: list[WaitingScore] = []
        for effect in version.close_until(mark):
            if isinstance(effect, Eviction):
                predictions = self._journal.predictions
                predictions.evict_above(version.key, effect.window, effect.largest)
            elif isinstance(effect, TensorEviction):
                self._journal.samples.evict_above(
                    version.key, effect.window, effect.tensor, effect.largest
                )
            else:
                jobs += self._closed(version, effect)
        self._reviews.close(version)
        return jobs

    def _closed(self, version: VersionState, state: WindowState) -> list[WaitingScore]:
        """Schedule the scoring of a closed window; store the result of an empty window directly."""
        if not state.rows:
            version.begin_scoring(state)
            result = _result(version, state, sampled=0)
            policy = version.policy(state.start)
            judgement = verdict(result, policy.alarms, learning=_is_learning(version, state))
            self._journal.add_result(replace(result, verdict=judgement))
            return []
        job = self._schedule(version, state, closing=True)
        version.extend_trailing(state)
        return [job]

    def _schedule(
        self,
        version: VersionState,
        state: WindowState,
        *,
        closing: bool = False,
        final: bool = False,
    ) -> WaitingScore:
        """Schedule the scoring of a window with its current rows and labels.

        `closing`: the window was closed, so drift and data quality are scored as well as
        performance; a later revision scores only performance. `final`: the wait for labels is over.
        """
        version.begin_scoring(state)
        sampled = self._journal.predictions.sampled_rows(version.key, state.window)
        incomplete = state.counted and state.rows > len(sampled)
        learning = _is_learning(version, state)
        # The sample does not have all rows, or not all values of its rows.
        needs_counters = incomplete or state.inputs.summarized > 0
        review_labels = self._reviews.labels(version, state)
        bodies, labels = [row.body for row in sampled], review_labels.sample(sampled)
        manifest, policy = version.version.manifest, version.policy(state.start)
        needed = None if closing else revision_columns(manifest, policy, version.columns)
        regression = version.version.manifest.task == "regression"
        counted = review_labels.counters(state.answers, regression=regression)
        trailing = version.trailing_span(state.start) if closing and not learning else None
        job = ScoreJob(
            key=f"{state.revision}@{'/'.join(version.key)}@{state.start}",
            model=version.version.model,
            version=version.version.number,
            window=state.window,
            columns=rows.by_column(version.columns, bodies, labels, needed),
            reference=self._trailing_reference(version, state.start)
            if closing and not learning
            else {},
            baseline=version.baseline(state.start) if version.learns else None,
            learning=learning,
            order=sorted(range(len(sampled)), key=lambda at: sampled[at].place) if closing else [],
            inputs=replace(state.inputs) if closing and needs_counters else None,
            answers=counted if incomplete else None,
            reviewed=review_labels.columns(version.columns, needed),
            review_weights=review_labels.weights,
            drift=closing,
            policy=policy,
            report=_report_name(version, state.window) if closing else "",
            files=self._journal.samples.files(version.key, state.window) if closing else [],
            vectors=self._vectors(version, state.start, state.window) if closing else {},
            reference_vectors=self._vectors(version, state.start, trailing) if trailing else {},
        )
        result = _result(version, state, sampled=len(sampled), final=final)
        result = _with_reviews(result, review_labels, counted)
        if closing:
            self._learn(version, state, len(sampled))
        if learning:
            result = replace(result, scores=[*result.scores, _progress(version, state)])
        pending = PendingScore(
            self._journal.next_job(),
            job,
            result,
            dict(self._state.positions),
            [] if learning else _rules(version, result, closing=closing),
            self._state.ended_versions(version, state.window) if closing else [],
        )
        return self._journal.add_job(pending)

    def _vectors(self, version: VersionState, start: int, span: Window) -> dict[str, list[bytes]]:
        """Return a span's sampled vectors of each tensor that the window at `start` compares."""
        return {
            tensor.name: self._journal.samples.vectors(version.key, span, tensor.name, tensor.size)
            for tensor in version.sampled_tensors(start)
            if tensor.kind == "vector"
        }

    def _learn(self, version: VersionState, state: WindowState, sampled: int) -> None:
        """Add a closed window to the baseline that is being learned; store it once complete."""
        span = version.learn(state, sampled)
        if span is None or self._baselines is None:
            return
        limit = max(MOST_ROWS, version.policy(state.start).baseline.min_rows)
        bodies = self._journal.predictions.smallest_rows(version.key, span, limit)
        columns = rows.by_column(version.columns, bodies, [])
        columns |= vector_columns(self._vectors(version, state.start, span), len(bodies))
        digest = self._baselines.write(version.version.manifest, columns)
        version.complete_baseline(span, len(bodies), digest)

    def _trailing_reference(self, version: VersionState, start: int) -> dict[str, list[Any]]:
        """Return the trailing reference by column, or {} if the registered reference applies."""
        trailing = version.policy(start).trailing
        span = version.trailing_span(start)
        if trailing is None or span is None:
            return {}
        bodies = self._journal.predictions.smallest_rows(version.key, span, trailing.rows)
        return rows.by_column(version.columns, bodies, [])


def _is_learning(version: VersionState, state: WindowState) -> bool:
    return version.learns and version.baseline(state.start) is None


def _progress(version: VersionState, state: WindowState) -> Score:
    """Return a score with the number of rows that the baseline has learned so far."""
    policy = version.policy(state.start).baseline
    windows, learned = version.learned_rows()
    if not windows:  # this window has completed the baseline
        return Score(name=LEARNED_ROWS, value=None, note="complete with this window")
    return Score(
        name=LEARNED_ROWS,
        value=float(learned),
        threshold=float(policy.min_rows),
        note=f"window {windows:,} of {policy.windows:,}",
    )


def _result(
    version: VersionState, state: WindowState, *, sampled: int, final: bool = False
) -> Result:
    result = result_of(*version.key, state, sampled=sampled, final=final)
    return replace(result, policy=version.period(state.start).digest)


def _with_reviews(result: Result, review_labels: WindowLabels, counted: LabelCounters) -> Result:
    """Return a result whose confusion matrix includes the review decisions."""
    if not review_labels.only_reviewed and not review_labels.corrected:
        return result
    cells = counted.confusion.cells if len(counted.confusion.names) <= MOST_SHOWN else {}
    return replace(
        result, confusion=review_labels.confusion(cells), reviewed=len(review_labels.only_reviewed)
    )


def _rules(version: VersionState, result: Result, *, closing: bool) -> list[Rule]:
    """Return the rules to judge with this scoring.

    Rules without labels are judged when the window closes, and rules with labels at every revision
    that has labels. An estimate is judged at every revision, because labels supersede it. Choosing
    the rules before the window is scored makes them independent of the scoring time.
    """
    if not version.expects_labels:
        predicts = label_output(version.version.manifest.prediction)
        return ["drift", "parity"] if predicts else ["drift"]
    alarms = version.policy(result.window.start).alarms
    rules: list[Rule] = ["drift", "estimate", "parity"] if closing else ["estimate"]
    if closing and alarms.max_gap.selection_rate is not None:
        rules.append(SELECTION_GAP)
    if result.labelled or result.reviewed:
        rules += ["performance", "concept"]
        if alarms.min_segment_score is not None:
            rules.append("segment")
        if alarms.max_gap.true_positive_rate is not None:
            rules.append(TRUE_POSITIVE_GAP)
    return rules


def _report_name(version: VersionState, window: Window) -> str:
    return f"{version.version.model}-{version.version.number}-{window.start // SECOND}.html"
