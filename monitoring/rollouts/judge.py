"""Follow the log while rollouts are under way, and act on what their comparisons say.

The judge keeps no state of its own. After a restart it reads the log again from the start of the
present steps, so a verdict is a function of log and history. Several monitors may judge the same
rollout: each change names the rollout and the step that it is about, and the second one is refused.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from eventlog.errors import DriftlineError
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.log import Reader, Record
from monitoring.presenter.verdicts import verdict_sentence
from monitoring.rollouts.comparison import Comparison, Judgement
from registry.history.rollout_state import Rollout
from registry.history.rows import RolloutVerdict
from registry.history.store import History
from registry.rollouts import Rollouts
from telemetry.backoff import Backoff

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
        self._active: dict[tuple[str, str], Rollout] = {}  # by model and alias
        self._comparisons: dict[str, Comparison] = {}  # by id of the rollout
        self._models: dict[str, str] = {}  # by id of the rollout
        self._refused: dict[str, tuple[str, str]] = {}  # by id: the latest verdict and its refusal

    def close(self) -> None:
        """Release the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def step(self) -> bool:
        """Read records and judge; return whether there were any."""
        self._follow()
        if not self._comparisons:
            self.close()
            return False
        if self._reader is None:
            oldest = min(one.since for one in self._active.values())
            self._reader = self._open_reader(oldest)
        records = self._reader.poll(_BATCH)
        self._include(records)
        now = self._clock() // 1_000
        for id_, comparison in list(self._comparisons.items()):
            self._act(self._models[id_], comparison.rollout, comparison.judge(now))
        return bool(records)

    def _follow(self) -> None:
        """Begin a comparison for every step that began, and drop those of ended ones."""
        revision = self._history.revision()
        if revision == self._revision:
            return
        changed = self._history.changed(self._revision) if self._revision else None
        for model in self._history.models() if changed is None else changed:
            for alias, rollout in self._history.state(model).rollouts.items():
                key = model, alias
                if rollout.phase == "running" and rollout.policy is not None:
                    self._begin(key, rollout)
                elif key in self._active:
                    self._end(key)
        self._revision = revision

    def _begin(self, key: tuple[str, str], rollout: Rollout) -> None:
        before = self._active.get(key)
        if before is not None and before.revision == rollout.revision:
            return
        comparison = self._new(key[0], rollout)
        if before is not None:
            self._end(key)
        elif self._reader is not None:  # which may have passed its first events
            self.close()
            self._comparisons = {
                id_: self._new(self._models[id_], one.rollout)
                for id_, one in self._comparisons.items()
            }
        self._active[key] = rollout
        self._models[rollout.id] = key[0]
        self._comparisons[rollout.id] = comparison

    def _new(self, model: str, rollout: Rollout) -> Comparison:
        assert rollout.policy is not None
        return Comparison(rollout, rollout.policy, self._labels(model, rollout.number))

    def _end(self, key: tuple[str, str]) -> None:
        ended = self._active.pop(key)
        self._comparisons.pop(ended.id, None)
        self._models.pop(ended.id, None)
        self._refused.pop(ended.id, None)

    def _include(self, records: Iterable[Record]) -> None:
        for record in records:
            event = record.event
            if isinstance(event, PredictionEvent):
                comparison = self._comparisons.get(event.rollout)
                if comparison is not None:
                    comparison.include(event)
            elif isinstance(event, FeedbackEvent):
                for comparison in self._comparisons.values():
                    comparison.label(event)

    def _act(self, model: str, rollout: Rollout, found: Judgement) -> None:
        if found.verdict == "continue":
            return
        counts = {str(metric): row for metric, row in found.counts.items()}
        verdict = RolloutVerdict(found.verdict, rollout.step, found.metric, counts)
        why = verdict_sentence(verdict)
        change = {"actor": ACTOR, "why": why, "expected": rollout.id, "verdict": verdict}
        try:
            if found.verdict == "roll back":
                self._rollouts.abort(model, rollout.alias, bar=True, **change)  # type: ignore[arg-type]
            elif found.verdict == "pause":
                self._rollouts.record(
                    model, rollout.alias, verdict, actor=ACTOR, why=why, expected=rollout.id
                )
            elif rollout.step + 1 < len(rollout.steps) and rollout.steps[rollout.step + 1] < 1:
                self._rollouts.advance(model, rollout.alias, **change)  # type: ignore[arg-type]
            else:
                self._rollouts.promote(model, rollout.alias, **change)  # type: ignore[arg-type]
        except DriftlineError as error:  # another monitor or a person was first, or policy forbids
            # It is compared further: what policy forbids now may be allowed or rolled back later.
            refused = found.verdict, str(error)
            if self._refused.get(rollout.id) != refused:
                _logger.warning("rollout of %s: %s: %s", model, found.verdict, error)
            self._refused[rollout.id] = refused
        else:
            _logger.info("rollout of %s: %s: %s", model, found.verdict, why)
            self._end((model, rollout.alias))
