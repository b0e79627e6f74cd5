"""Pick rows for people to label while the log is ingested, and store the people's decisions.

All writes are in the transaction of the consumer's step. A review period is a span of event time
within one policy period. Its rows are picked when its windows are closed, because only late rows
can arrive after that, and late rows are in no window.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from eventlog.events import FeedbackEvent, Label, PredictionEvent
from monitoring.ingest.version_state import VersionState
from monitoring.reviews.row_kind import RowKind
from monitoring.reviews.rows import ReviewCounts, ReviewDecision, ReviewRow
from monitoring.reviews.selection import PeriodSelection, Place, ReviewCandidate, Sizes, uniforms
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.storage.row_layout import PredictedRow
from monitoring.storage.window_labels import WindowLabels
from monitoring.windows.grid import SECOND
from monitoring.windows.window_state import WindowState
from registry.manifest import ReviewPolicy


class ReviewQueue:
    """The review queue of all versions with a review policy."""

    def __init__(self, journal: Journal) -> None:
        """Write rows to `journal`."""
        self._journal = journal
        self._versions: dict[Key, _VersionQueue] = {}

    def offer(
        self,
        version: VersionState,
        event: PredictionEvent,
        predicted: Sequence[PredictedRow | None],
    ) -> None:
        """Count the rows of an event that is not late, and store the candidates among them."""
        if event.payload != "kept" or not predicted:
            return  # a person cannot label these rows; the logged rows' weights include them
        self._of(version).offer(event, predicted)

    def close(self, version: VersionState) -> None:
        """Pick the rows of the version's review periods that have ended."""
        if version.is_reviewed or version.key in self._versions:
            self._of(version).close()

    def save(self) -> None:
        """Write the changed counts of review periods."""
        for queue in self._versions.values():
            queue.save()

    def decide(self, place: Place, event: FeedbackEvent) -> bool:
        """Store a person's decision; return False if the row was not picked."""
        if self._journal.reviews.find(place) is None:
            return False
        label = None if event.review == "undo" else event.label
        decision = ReviewDecision(
            action=event.review, label=label, actor=event.actor, why=event.why, time=event.time
        )
        self._journal.reviews.decide(place, decision)
        return True

    def labels(self, version: VersionState, state: WindowState) -> WindowLabels:
        """Return the labels from the review queue for the rows of a window."""
        if not state.reviews:
            return WindowLabels()
        decided = self._journal.reviews.decided(version.key, state.window)

        def label(place: Place) -> Label | None:
            prediction = self._journal.predictions.find(*place)
            return None if prediction is None else prediction.label

        return WindowLabels.of(decided, label)

    def _of(self, version: VersionState) -> "_VersionQueue":
        queue = self._versions.get(version.key)
        if queue is None:
            queue = self._versions[version.key] = _VersionQueue(self._journal, version)
        return queue


class _VersionQueue:
    """The open review periods of one version."""

    def __init__(self, journal: Journal, version: VersionState) -> None:
        self._journal = journal
        self._version = version
        self._kind = RowKind(version.version)
        self._changed: set[int] = set()  # starts of periods whose counts are not saved
        self._open = {  # keyed by start of the period
            start: self._resumed(start, counts)
            for start, counts in journal.reviews.periods(version.key).items()
        }

    def offer(self, event: PredictionEvent, predicted: Sequence[PredictedRow | None]) -> None:
        """Count an event's rows, and store the candidates among them."""
        period = self._version.period(event.time)
        policy = period.policy.review
        if policy is None:
            return
        start = max(period.start, event.time // (policy.every * SECOND) * policy.every * SECOND)
        selection = self._open.get(start)
        if selection is None:
            selection = self._open[start] = PeriodSelection(_whole(policy))
        self._changed.add(start)
        for number, row in enumerate(predicted):
            if row is not None and not row.partial:
                self._offer_row(selection, start, event, number, row)

    def close(self) -> None:
        """Pick the rows of the review periods that have ended."""
        for start in sorted(self._open):
            policy, end = self._policy(start)
            if end > self._version.closed_until:
                return
            selection = self._open.pop(start)
            self._changed.discard(start)
            stored = self._journal.reviews.candidates(self._version.key, start)
            chosen = selection.choose(Sizes.of(policy, (end - start) // SECOND))
            picked = [
                (
                    candidate.place,
                    replace(
                        stored[candidate.place],
                        inclusion=candidate.inclusion * stored[candidate.place].logged,
                        parts=candidate.parts,
                    ),
                )
                for candidate in chosen
                # If a caller sends one id in several periods, the first period has the row.
                if candidate.place in stored
            ]
            self._journal.reviews.pick(picked, stored.keys() - {place for place, _ in picked})
            self._journal.reviews.delete_period(self._version.key, start)

    def save(self) -> None:
        """Write the changed counts."""
        changed = [
            (start, ReviewCounts(self._open[start].strata, self._open[start].scored))
            for start in sorted(self._changed)
        ]
        self._changed.clear()
        if changed:
            self._journal.reviews.save_periods(self._version.key, changed)

    def _offer_row(
        self,
        selection: PeriodSelection,
        start: int,
        event: PredictionEvent,
        number: int,
        predicted: PredictedRow,
    ) -> None:
        encoded = predicted.values
        values: list[Any] = rows.decode(encoded) if isinstance(encoded, bytes) else list(encoded)
        margin, stratum = self._kind.margin(values), self._kind.stratum(values)
        selection.count(stratum, margin)
        place = event.joined_by, number
        drawn = uniforms(event.event_id, number)
        accepted, dropped = selection.offer(ReviewCandidate(place, drawn, margin, stratum))
        for candidate in dropped:
            self._journal.reviews.drop(candidate)
        if not accepted:
            return
        row = ReviewRow(
            prediction_id=event.prediction_id,
            time=event.time,
            values=values,
            predicted=values[self._kind.answer],
            uniforms=drawn,
            margin=margin,
            stratum=stratum,
            logged=event.inclusion,
        )
        self._journal.reviews.add(self._version.key, start, place, row)

    def _policy(self, start: int) -> tuple[ReviewPolicy, int]:
        """Return the policy and the end of the review period that begins at `start`."""
        period = self._version.period(start)
        policy = period.policy.review or ReviewPolicy()
        every = policy.every * SECOND
        return policy, min(start // every * every + every, period.grid.end)

    def _resumed(self, start: int, counts: ReviewCounts) -> PeriodSelection:
        selection = PeriodSelection(_whole(self._policy(start)[0]))
        stored = self._journal.reviews.candidates(self._version.key, start)
        candidates = [
            ReviewCandidate(at, candidate.uniforms, candidate.margin, candidate.stratum)
            for at, candidate in stored.items()
        ]
        selection.resume(counts.strata, counts.scored, candidates)
        return selection


def _whole(policy: ReviewPolicy) -> Sizes:
    """Return the numbers of rows to pick in a review period of full length."""
    return Sizes.of(policy, policy.every)
