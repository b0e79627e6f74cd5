"""Read the log while rollouts are running, and apply the verdicts on them to the registry.

The judge stores no state. After a restart it reads the log again from the start of the current
steps, so a verdict is a function of the log and the registry's history. Several monitors can judge
the same rollout: each change states its rollout and step, and the registry refuses the second
change.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from eventlog.errors import DriftlineError
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.log import Reader, Record
from monitoring.presenter.rollout_waits import CurrentJudgement
from monitoring.presenter.verdicts import verdict_sentence
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict
from registry.history.store import History
from registry.rollout_pauses import Pause, pauses
from registry.rollouts import Cause, Rollouts
from telemetry.backoff import Backoff

if TYPE_CHECKING:
    from monitoring.rollouts.verdict import Comparison, Judgement

ACTOR = "monitor"
_BATCH = 1_000  # records between two judgements
_PAUSE_S = 1.0  # seconds between checks of an idle log
_LONGEST_PAUSE_S = 30.0  # maximum seconds between attempts after failures

_logger = logging.getLogger(__name__)

Labels = Callable[[str, str], str]  # model, version number -> output of the predicted label
OpenReader = Callable[[int], Reader]  # time -> reader of all records received from this time on


@contextmanager
def rollout_judge_thread(make: Callable[[], "RolloutJudge"]) -> Iterator[None]:
    """Judge rollouts in a thread while the block runs; `make` is called in that thread."""
    stop = threading.Event()
    thread = threading.Thread(target=judge_until, args=(stop, make), name="rollouts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def judge_until(stop: threading.Event, make: Callable[[], "RolloutJudge"]) -> None:
    """Judge rollouts until `stop` is set; log failures and retry.

    After an unexpected failure a new judge starts, which counts again from the log.
    """
    pauses, judge = Backoff(_PAUSE_S, _LONGEST_PAUSE_S), None
    pause = _PAUSE_S
    while not stop.wait(pause):
        try:
            judge = judge or make()
            while judge.step() and not stop.is_set():
                pass
        except DriftlineError as error:
            _logger.warning("%s; rollouts are judged later", error)
            pause = pauses.next()
        except Exception:
            _logger.exception("judging rollouts failed; a new judge starts")
            pause = pauses.next()
            if judge is not None:
                judge.close()
            judge = None
        else:
            pauses.reset()
            pause = _PAUSE_S
    if judge is not None:
        judge.close()


class RolloutJudge:
    """Judges the running rollouts; not thread-safe."""

    def __init__(
        self,
        history: History,
        open_reader: OpenReader,
        labels: Labels,
        clock: Callable[[], int] | None = None,
        publish: Callable[[dict[str, CurrentJudgement]], None] = lambda _: None,
    ) -> None:
        """`clock` returns nanoseconds; the default is the clock of the history's database.

        `publish` is called after every step with the newest judgements, keyed by rollout id.
        """
        self._publish = publish
        self._history = history
        self._rollouts = Rollouts(history, clock)
        self._clock = clock or history.time_ns
        self._open_reader = open_reader
        self._labels = labels
        self._reader: Reader | None = None
        self._revision = 0  # registry revision up to which changes were read
        self._judged: dict[str, _JudgedRollout] = {}  # rollout id -> running rollout
        self._paused: dict[str, list[Pause]] = {}  # model -> pauses by verdict

    def close(self) -> None:
        """Close the reader of the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def step(self) -> bool:
        """Read a batch of records and judge all rollouts; return whether there were records."""
        self._read_changes()
        now = self._clock() // 1_000
        self._end_expired(now)
        if not self._judged:
            self._publish({})
            self.close()
            return False
        if self._reader is None:
            self._reader = self._open_reader(min(entry.rollout.since for entry in self._all()))
        records = self._reader.poll(_BATCH)
        self._include(records)
        judgements = {
            entry.rollout.id: (entry, entry.comparison.judge(now)) for entry in self._all()
        }
        for rollout_entry, judgement in judgements.values():
            self._apply(rollout_entry, judgement)
        self._publish(
            {
                id_: _current(judgement, entry.refused[1], now)
                for id_, (entry, judgement) in judgements.items()
            }
        )
        return bool(records)

    def _all(self) -> list["_JudgedRollout"]:
        return list(self._judged.values())

    def _read_changes(self) -> None:
        """Start a comparison for every new step, and drop the comparisons of ended steps."""
        revision = self._history.revision()
        if revision == self._revision:
            return
        changed = self._history.changed(self._revision) if self._revision else None
        for model in self._history.models() if changed is None else changed:
            state = self._history.state(model)
            running = [now for now in state.rollouts.values() if now.phase == "running"]
            self._set_running(model, running)
            self._paused[model] = pauses(state)
        self._revision = revision

    def _set_running(self, model: str, running: Sequence[Rollout]) -> None:
        rollouts_by_id = {rollout.id: rollout for rollout in running if rollout.policy is not None}
        new_entries = {
            id_: self._new_entry(model, rollout)
            for id_, rollout in rollouts_by_id.items()
            if id_ not in self._judged or self._judged[id_].rollout.revision != rollout.revision
        }
        if new_entries.keys() - self._judged.keys() and self._reader is not None:
            # The reader may be past the first events of the new rollouts, so it is opened again,
            # and all counts start from zero.
            self._judged = {
                id_: self._new_entry(entry.model, entry.rollout)
                for id_, entry in self._judged.items()
            }
            self.close()
        for rollout_entry in self._all():
            if rollout_entry.model == model and rollout_entry.rollout.id not in rollouts_by_id:
                del self._judged[rollout_entry.rollout.id]
        self._judged |= new_entries

    def _new_entry(self, model: str, rollout: Rollout) -> "_JudgedRollout":
        # Importing SciPy takes a third of a second, so it is imported only if a rollout runs.
        from monitoring.rollouts.verdict import Comparison  # noqa: PLC0415

        assert rollout.policy is not None
        label = self._labels(model, rollout.number)
        return _JudgedRollout(model, Comparison(rollout, rollout.policy, label))

    def _include(self, records: Iterable[Record]) -> None:
        for record in records:
            event = record.event
            if isinstance(event, PredictionEvent):
                if (entry := self._judged.get(event.rollout)) is not None:
                    entry.comparison.include(event)
            elif isinstance(event, FeedbackEvent):
                for entry in self._judged.values():
                    entry.comparison.label(event)

    def _end_expired(self, now: int) -> None:
        """End the rollouts that the monitor paused and that no person resumed in time."""
        for model, paused in self._paused.items():
            for pause in [pause for pause in paused if pause.expires <= now]:
                paused.remove(pause)
                verdict = replace(pause.verdict, verdict="expire")
                why = verdict_sentence(verdict)
                cause: Cause = {"actor": ACTOR, "expected": pause.rollout, "verdict": verdict}
                try:
                    self._rollouts.expire(model, pause.alias, why=why, **cause)
                except DriftlineError as error:  # another monitor or a person was first
                    _logger.warning("rollout of %s: expire: %s", model, error)
                else:
                    _logger.info("rollout of %s: %s", model, why)

    def _apply(self, judged: "_JudgedRollout", judgement: "Judgement") -> None:
        if judgement.verdict == "continue":
            return
        model, rollout = judged.model, judged.rollout
        counts = {str(metric): row for metric, row in judgement.counts.items()}
        verdict = RolloutVerdict(judgement.verdict, rollout.step, judgement.metric, counts)
        why = verdict_sentence(verdict)
        cause: Cause = {"actor": ACTOR, "expected": rollout.id, "verdict": verdict}
        try:
            if judgement.verdict == "roll back":
                self._rollouts.abort(model, rollout.alias, why=why, bar=True, **cause)
            elif judgement.verdict == "pause":
                self._rollouts.pause(model, rollout.alias, why=why, **cause)
            elif rollout.step + 1 < len(rollout.steps) and rollout.steps[rollout.step + 1] < 1:
                self._rollouts.advance(model, rollout.alias, why=why, **cause)
            else:
                self._rollouts.promote(model, rollout.alias, why=why, **cause)
        except DriftlineError as error:  # another monitor or a person was first, or policy forbids
            # The comparison continues, because the registry may accept a later verdict.
            refused = judgement.verdict, str(error)
            if judged.refused != refused:
                _logger.warning("rollout of %s: %s: %s", model, judgement.verdict, error)
            judged.refused = refused
        else:
            _logger.info("rollout of %s: %s: %s", model, judgement.verdict, why)
            del self._judged[rollout.id]


def _current(judgement: "Judgement", refused: str, now: int) -> CurrentJudgement:
    return CurrentJudgement(
        judgement.metric,
        {str(metric): counts for metric, counts in judgement.counts.items()},
        {str(metric): evidence for metric, evidence in judgement.evidence.items()},
        {str(metric): list(bound) for metric, bound in judgement.bounds.items()},
        refused,
        now,
    )


class _JudgedRollout:
    """A running rollout, with the comparison of its current step."""

    def __init__(self, model: str, comparison: "Comparison") -> None:
        self.model = model
        self.comparison = comparison
        self.refused = "", ""  # the latest verdict that the registry refused, and the reason

    @property
    def rollout(self) -> Rollout:
        """The rollout at the start of its current step."""
        return self.comparison.rollout
