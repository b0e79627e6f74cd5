"""Closes windows when their time has come and decides what is to be scored."""

from typing import Any

from msgspec.structs import replace

from eventlog.answer_counts import MINUTE
from monitoring.alarms.decision import can_judge_performance
from monitoring.results import SELECTION_GAP, TRUE_POSITIVE_GAP, Result, Rule, Window
from monitoring.scoring.jobs import ScoreJob
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.rows import PendingScore, QueuedJob
from monitoring.windows.expiry import Expiry
from monitoring.windows.grid import END_OF_TIME, SECOND, Close, Fill, due
from monitoring.windows.version_state import ConsumerState, VersionState
from monitoring.windows.window_state import WindowState, counts, trail, watermark


class WindowLifecycle:
    """Part of the consumer's step; `scheduled` gathers what the step decided to have scored."""

    def __init__(self, journal: Journal, memory: ConsumerState, keeping: Expiry) -> None:
        """Work on `memory`, keep decisions in `journal`."""
        self._journal = journal
        self._memory = memory
        self._keeping = keeping
        self._minute = memory.latest // MINUTE  # of reception, in which was looked around last
        self.scheduled: list[QueuedJob] = []

    def look(self, watching: VersionState, *, drained: bool) -> None:
        """Close, revise and expire what the watermark asks for."""
        self._look(watching, watermark(watching.watch, drained=drained))

    def look_around(self) -> None:
        """Do the same for versions that nobody asks any more, once a minute of the log."""
        minute = self._memory.latest // MINUTE
        if minute == self._minute:
            return
        self._minute = minute
        for watching in self._memory.everything():
            if watching.wakes <= self._memory.latest:
                self._look(watching, self._memory.silence(watching))

    def _look(self, watching: VersionState, mark: int) -> None:
        self._close_until(watching, mark)
        self._revise(watching, mark)

    def close_all(self) -> None:
        """Close every window, as if time had moved on for ever; labels stay welcome."""
        for watching in self._memory.everything():
            self._close_until(watching, END_OF_TIME - 1)
            if (filling := watching.filling()) is not None:
                self._close(watching, watching.state(filling.window))

    def _close_until(self, watching: VersionState, mark: int) -> None:
        closed_until = watching.watch.closed_until
        done = watching.timeline.done(mark, closed_until)
        if done < watching.due:
            return
        filling, panes = watching.filling(), watching.panes()
        for step in due(watching.timeline.grid, filling, panes, closed_until, done):
            if isinstance(step, Close):
                state = watching.state(step.window)
                state.end = step.window.end
                self._close(watching, state)
            else:
                self._fill(watching, step)
        watching.due = watching.next_end()

    def _fill(self, watching: VersionState, step: Fill) -> None:
        state = watching.state(step.window)
        state.pane = False
        if step.pane.start != step.window.start:
            self._memory.absorb(watching, state, step.pane)
        watching.watch.closed_until = step.pane.end

    def _close(self, watching: VersionState, state: WindowState) -> None:
        watching.watch.closed_until = state.end
        watching.close(state)
        if state.rows:
            self._schedule(watching, state, drift=True)
            self._trail(watching, state)
        else:
            state.revision += 1
            self._journal.add_result(_counts(watching, state, sampled=0))

    def _revise(self, watching: VersionState, mark: int) -> None:
        for start in sorted(watching.relabelled):
            state = watching.windows[start]
            if state.needs_revision(final=False):
                self._schedule(watching, state, drift=False)
        watching.relabelled.clear()
        for state in watching.expiring(mark):
            self._expire(watching, state)
            self._keeping.expired(watching, state.end, mark)

    def _expire(self, watching: VersionState, state: WindowState) -> None:
        """No label is awaited any more."""
        watching.touched.add(state.start)
        state.expired = True
        fresh = state.needs_revision(final=True)
        if fresh or state.labelled < state.rows:
            self._schedule(watching, state, drift=False)

    def _schedule(self, watching: VersionState, state: WindowState, *, drift: bool) -> None:
        """Have the window scored as it is at this moment of the log."""
        watching.touched.add(state.start)
        watching.counting.settle()
        state.revision += 1
        state.scored_labels = state.labelled
        kept = self._journal.predictions.sampled_rows(watching.key, state.window)
        beyond = state.counted and state.rows > len(kept)
        job = ScoreJob(
            key=f"{state.revision}@{'/'.join(watching.key)}@{state.start}",
            model=watching.version.model,
            version=watching.version.number,
            window=state.window,
            columns=rows.by_column(
                watching.watch.columns, [row.body for row in kept], [row.label for row in kept]
            ),
            reference=self._trailing(watching, state.window) if drift else {},
            order=sorted(range(len(kept)), key=lambda at: kept[at].place),
            inputs=replace(state.inputs) if drift and beyond else None,
            answers=state.answers.in_order() if beyond else None,
            drift=drift,
            policy=watching.era(state.start).policy,
            report=_report_name(watching, state.window) if drift else "",
        )
        result = _counts(watching, state, sampled=len(kept))
        pending = PendingScore(
            self._journal.next_job(),
            job,
            result,
            dict(self._memory.positions),
            _rules(watching, state, result, drift=drift),
        )
        self.scheduled.append(self._journal.add_job(pending))

    def _trailing(self, watching: VersionState, window: Window) -> dict[str, list[Any]]:
        """The rows that the window's drift is measured against; none: the registered reference."""
        trailing, recent = watching.era(window.start).policy.trailing, watching.watch.recent
        if trailing is None or len(recent) < trailing.windows:
            return {}
        before = Window(recent[-trailing.windows], window.start)
        bodies = self._journal.predictions.smallest_rows(watching.key, before, trailing.rows)
        return rows.by_column(watching.watch.columns, bodies, [])

    def _trail(self, watching: VersionState, state: WindowState) -> None:
        policy = watching.era(state.start).policy
        if policy.trailing is None:
            watching.watch.recent = []  # where a later policy wants it, it begins anew
        elif state.rows >= policy.alarms.min_rows:
            trail(watching.watch, state.start, policy.trailing.windows)


def _counts(watching: VersionState, state: WindowState, *, sampled: int) -> Result:
    found = counts(*watching.key, state, sampled=sampled)
    return replace(found, policy=watching.era(state.start).digest)


def _rules(
    watching: VersionState, state: WindowState, result: Result, *, drift: bool
) -> list[Rule]:
    """What needs no labels is judged when the window closes, the truth once it is known enough.

    This is decided here and not when the scores come, because it must not depend on how long
    scoring takes.
    """
    alarms = watching.era(state.start).policy.alarms
    rules: list[Rule] = ["drift", "estimate", "parity"] if drift else []
    if drift and alarms.max_gap.selection_rate is not None:
        rules.append(SELECTION_GAP)
    if not state.judged and can_judge_performance(result, alarms):
        state.judged = True
        rules += ["performance", "concept"]
        if alarms.min_segment_score is not None:
            rules.append("segment")
        if alarms.max_gap.true_positive_rate is not None:
            rules.append(TRUE_POSITIVE_GAP)
    return rules


def _report_name(watching: VersionState, window: Window) -> str:
    return f"{watching.version.model}-{watching.version.number}-{window.start // SECOND}.html"
