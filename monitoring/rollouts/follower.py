"""Follow the log while rollouts are under way, and act on what their comparisons say.

The judge keeps no state of its own. After a restart it reads the log again from the start of the
present steps, so a verdict is a function of log and history. Several monitors may judge the same
rollout: each change names the rollout and the step that it is about, and the second one is refused.
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
_LONGEST_PAUSE_S = 30.0  # seconds between attempts after failures

_logger = logging.getLogger(__name__)

Labels = Callable[[str, str], str]  # model, version number -> output of the predicted label
OpenReader = Callable[[int], Reader]  # begins no later than at records received at this time


@contextmanager
def judging(make: Callable[[], "RolloutJudge"]) -> Iterator[None]:
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
    """Judge until the signal is set; log failures and retry.

    After an unexpected failure a new judge begins, whose counts come from the log again.
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
            _logger.exception("judging rollouts failed; it begins again")
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
    """Belongs to one thread."""

    def __init__(
        self,
        history: History,
        open_reader: OpenReader,
        labels: Labels,
        clock: Callable[[], int] | None = None,
        note: Callable[[dict[str, CurrentJudgement]], None] = lambda _: None,
    ) -> None:
        """`clock` stamps the rows of the history, in nanoseconds: by default that of its database.

        `note` gets the newest judgements, by the id of their rollout, after every step.
        """
        self._note = note
        self._history = history
        self._rollouts = Rollouts(history, clock)
        self._clock = clock or history.time_ns
        self._open_reader = open_reader
        self._labels = labels
        self._reader: Reader | None = None
        self._revision = 0  # revision of the registry, up to which it was read
        self._judged: dict[str, _JudgedRollout] = {}  # keyed by id of the rollout
        self._paused: dict[str, list[Pause]] = {}  # keyed by model

    def close(self) -> None:
        """Release the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def step(self) -> bool:
        """Read records and judge; return whether there were any."""
        self._follow()
        now = self._clock() // 1_000
        self._end_expired(now)
        if not self._judged:
            self._note({})
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
            self._act(rollout_entry, judgement)
        self._note(
            {
                id_: _current(judgement, entry.refused[1], now)
                for id_, (entry, judgement) in judgements.items()
            }
        )
        return bool(records)

    def _all(self) -> list["_JudgedRollout"]:
        return list(self._judged.values())

    def _follow(self) -> None:
        """Begin a comparison for every step that began, and drop those of ended ones."""
        revision = self._history.revision()
        if revision == self._revision:
            return
        changed = self._history.changed(self._revision) if self._revision else None
        for model in self._history.models() if changed is None else changed:
            state = self._history.state(model)
            running = [now for now in state.rollouts.values() if now.phase == "running"]
            self._follow_model(model, running)
            self._paused[model] = pauses(state)
        self._revision = revision

    def _follow_model(self, model: str, running: Sequence[Rollout]) -> None:
        rollouts_by_id = {rollout.id: rollout for rollout in running if rollout.policy is not None}
        begun = {
            id_: self._compared(model, rollout)
            for id_, rollout in rollouts_by_id.items()
            if id_ not in self._judged or self._judged[id_].rollout.revision != rollout.revision
        }
        if begun.keys() - self._judged.keys() and self._reader is not None:
            # It may have passed their first events: all counts begin again.
            self._judged = {
                id_: self._compared(*entry.about) for id_, entry in self._judged.items()
            }
            self.close()
        for rollout_entry in self._all():
            if rollout_entry.model == model and rollout_entry.rollout.id not in rollouts_by_id:
                del self._judged[rollout_entry.rollout.id]
        self._judged |= begun

    def _compared(self, model: str, rollout: Rollout) -> "_JudgedRollout":
        # SciPy takes a third of a second: not before there is a rollout.
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
        """End the rollouts that the monitor paused and nobody resumed in time."""
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

    def _act(self, judged: "_JudgedRollout", judgement: "Judgement") -> None:
        if judgement.verdict == "continue":
            return
        model, rollout = judged.about
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
            # It is compared further: what policy forbids now may be allowed or rolled back later.
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
    """A rollout under way, and what its step has shown."""

    def __init__(self, model: str, comparison: "Comparison") -> None:
        self.model = model
        self.comparison = comparison
        self.refused = "", ""  # the latest verdict that was refused, and why

    @property
    def rollout(self) -> Rollout:
        """The rollout as its present step began."""
        return self.comparison.rollout

    @property
    def about(self) -> tuple[str, Rollout]:
        """The model and its rollout."""
        return self.model, self.rollout
