"""Follow the log while rollouts are under way, and act on what their comparisons say.

The judge keeps no state of its own. After a restart it reads the log again from the start of the
present steps, so a verdict is a function of log and history. Several monitors may judge the same
rollout: each change names the rollout and the step that it is about, and the second one is refused.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eventlog.errors import DriftlineError
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.log import Reader, Record
from monitoring.presenter.verdicts import verdict_sentence
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict
from registry.history.store import History
from registry.rollouts import Cause, Rollouts
from telemetry.backoff import Backoff

if TYPE_CHECKING:
    from monitoring.rollouts.comparison import Comparison, Judgement

ACTOR = "monitor"
_BATCH = 1_000  # records between two judgements
_PAUSE_S = 1.0  # between two looks at an idle log
_LONGEST_PAUSE_S = 30.0  # between two attempts after failures

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
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock` stamps the rows of the history, in nanoseconds."""
        self._history = history
        self._rollouts = Rollouts(history, clock)
        self._clock = clock
        self._open_reader = open_reader
        self._labels = labels
        self._reader: Reader | None = None
        self._revision = 0  # of the registry, up to which it was read
        self._judged: dict[str, _Judged] = {}  # by id of the rollout

    def close(self) -> None:
        """Release the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def step(self) -> bool:
        """Read records and judge; return whether there were any."""
        self._follow()
        if not self._judged:
            self.close()
            return False
        if self._reader is None:
            self._reader = self._open_reader(min(one.rollout.since for one in self._all()))
        records = self._reader.poll(_BATCH)
        self._include(records)
        now = self._clock() // 1_000
        for one in self._all():
            self._act(one, one.comparison.judge(now))
        return bool(records)

    def _all(self) -> list["_Judged"]:
        return list(self._judged.values())

    def _follow(self) -> None:
        """Begin a comparison for every step that began, and drop those of ended ones."""
        revision = self._history.revision()
        if revision == self._revision:
            return
        changed = self._history.changed(self._revision) if self._revision else None
        for model in self._history.models() if changed is None else changed:
            rollouts = self._history.state(model).rollouts.values()
            self._follow_model(model, [one for one in rollouts if one.phase == "running"])
        self._revision = revision

    def _follow_model(self, model: str, running: Sequence[Rollout]) -> None:
        wanted = {one.id: one for one in running if one.policy is not None}
        begun = {
            id_: self._compared(model, one)
            for id_, one in wanted.items()
            if id_ not in self._judged or self._judged[id_].rollout.revision != one.revision
        }
        if begun.keys() - self._judged.keys() and self._reader is not None:
            # It may have passed their first events: all counts begin again.
            self._judged = {id_: self._compared(*one.about) for id_, one in self._judged.items()}
            self.close()
        for one in self._all():
            if one.model == model and one.rollout.id not in wanted:
                del self._judged[one.rollout.id]
        self._judged |= begun

    def _compared(self, model: str, rollout: Rollout) -> "_Judged":
        # SciPy takes a third of a second: not before there is a rollout.
        from monitoring.rollouts.comparison import Comparison  # noqa: PLC0415

        assert rollout.policy is not None
        label = self._labels(model, rollout.number)
        return _Judged(model, Comparison(rollout, rollout.policy, label))

    def _include(self, records: Iterable[Record]) -> None:
        for record in records:
            event = record.event
            if isinstance(event, PredictionEvent):
                if (found := self._judged.get(event.rollout)) is not None:
                    found.comparison.include(event)
            elif isinstance(event, FeedbackEvent):
                for one in self._judged.values():
                    one.comparison.label(event)

    def _act(self, judged: "_Judged", found: "Judgement") -> None:
        if found.verdict == "continue":
            return
        model, rollout = judged.about
        counts = {str(metric): row for metric, row in found.counts.items()}
        verdict = RolloutVerdict(found.verdict, rollout.step, found.metric, counts)
        why = verdict_sentence(verdict)
        cause: Cause = {"actor": ACTOR, "expected": rollout.id, "verdict": verdict}
        try:
            if found.verdict == "roll back":
                self._rollouts.abort(model, rollout.alias, why=why, bar=True, **cause)
            elif found.verdict == "pause":
                self._rollouts.pause(model, rollout.alias, why=why, **cause)
            elif rollout.step + 1 < len(rollout.steps) and rollout.steps[rollout.step + 1] < 1:
                self._rollouts.advance(model, rollout.alias, why=why, **cause)
            else:
                self._rollouts.promote(model, rollout.alias, why=why, **cause)
        except DriftlineError as error:  # another monitor or a person was first, or policy forbids
            # It is compared further: what policy forbids now may be allowed or rolled back later.
            refused = found.verdict, str(error)
            if judged.refused != refused:
                _logger.warning("rollout of %s: %s: %s", model, found.verdict, error)
            judged.refused = refused
        else:
            _logger.info("rollout of %s: %s: %s", model, found.verdict, why)
            del self._judged[rollout.id]


class _Judged:
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
