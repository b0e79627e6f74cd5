"""Rollout verdicts from a real log into a real history, with restarts and several judges."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from eventlog.events import PredictionEvent, Tensor
from eventlog.layout import positions_at
from eventlog.segments import SegmentReader, SegmentWriter
from monitoring.rollouts.follower import RolloutJudge, judge_until
from registry.errors import RegistryConflict, RegistryUnavailable
from registry.history import sqlite as history_file
from registry.history.rollout_state import Rollout, hash_key, position
from registry.history.rows import (
    ApprovalRule,
    HistoryRow,
    ReleasePolicy,
    RolloutVerdict,
    VerdictPolicy,
    encode_detail,
)
from registry.history.store import History
from registry.rollout_pauses import pauses
from registry.rollouts import Rollouts

SECOND = 1_000_000


class Stage:
    """A rollout of version 2, a log of its requests, and judges."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.history_path = folder / "registry.db"
        self.history = History(self.history_path)
        self.now = 1_000 * SECOND
        self.rollouts = Rollouts(self.history, clock=lambda: self.now * 1_000)
        self.writer = SegmentWriter.claim(self.log, "host")
        for number in "12":
            self.history.register("m", number, time=1, actor="ann", digest=f"d{number}")
        self.history.promote("m", "champion", "1", time=1, actor="ann")
        self.judges: list[RolloutJudge] = []
        self.keys = 0

    def start(self, *steps: float, **fields: float) -> None:
        policy = VerdictPolicy(floor=0.02, **fields)
        self.rollouts.start("m", "2", "champion", steps, bake_s=1, actor="ann", policy=policy)

    @property
    def rollout(self) -> Rollout:
        return self.history.state("m").rollouts["champion"]

    def judge(self) -> RolloutJudge:
        def reader(since: int) -> SegmentReader:
            return SegmentReader(self.log, positions_at(self.log, since / 1e6))

        judge = RolloutJudge(
            self.history, reader, lambda *_: "label", clock=lambda: self.now * 1_000
        )
        self.judges.append(judge)
        return self.judges[-1]

    def ask(self, keys: int, *, failing: bool = False) -> None:
        """Log one request for each key; with `failing`, version 2 fails for every third key."""
        self.now += 2 * SECOND
        now, revision, events = self.rollout, self.history.revision(), []
        for _ in range(keys):
            self.keys += 1
            hashed = hash_key(f"user-{self.keys}", now.id)
            new = now.active and position(hashed) < now.share
            arm: Literal["rollout", "before"] = "rollout" if new else "before"
            events.append(
                PredictionEvent(
                    source=self.writer.source,
                    epoch=self.writer.epoch,
                    sequence=self.writer.next_sequence + len(events),
                    time=self.now,
                    received=self.now,
                    prediction_id=f"p{self.keys}",
                    model="m",
                    protocol="rest",
                    outcome="failed" if new and failing and self.keys % 3 == 0 else "ok",
                    version="2" if new else "1",
                    alias="champion",
                    revision=revision,
                    rollout=now.id,
                    arm=arm,
                    routing_key=hashed,
                    total_us=1_000,
                    outputs={"label": Tensor("INT64", [1], [1])},
                )
            )
        self.writer.append(events)

    def verdicts(self) -> list[str]:
        state = self.history.state("m")
        return [row.decode(RolloutVerdict).verdict for row in state.verdicts]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for judge in stage.judges:
        judge.close()
    stage.writer.close()
    stage.history.close()


def _read(judge: RolloutJudge) -> None:
    while judge.step():
        pass


def test_good_version_passes_every_step_and_becomes_champion(stage: Stage) -> None:
    stage.start(0.3, 0.6, 1.0)
    judge = stage.judge()
    for _ in range(8):
        if not stage.rollout.active:
            break
        stage.ask(2_000)
        _read(judge)
    assert stage.history.aliases("m") == {"champion": "2"}
    assert (stage.rollout.phase, stage.verdicts()) == ("completed", ["promote", "promote"])
    last = stage.history.state("m").alias_row("champion")
    assert last is not None
    assert (last.actor, last.evidence) == ("monitor", stage.rollout.id)


def test_failing_version_is_rolled_back_and_barred_with_a_reason(stage: Stage) -> None:
    stage.start(0.3, 1.0)
    judge = stage.judge()
    stage.ask(400, failing=True)
    _read(judge)
    assert (stage.rollout.phase, stage.verdicts()) == ("aborted", ["roll back"])
    assert "d2" in stage.history.state("m").barred
    assert stage.rollout.why.startswith("rolled back: more keys with failed requests: ")
    assert stage.history.aliases("m") == {"champion": "1"}
    assert not judge.step()


def test_restarted_judge_gives_the_same_verdict(stage: Stage) -> None:
    stage.start(0.3, 1.0)
    stage.ask(15, failing=True)  # at most five bad keys: too few for any rollout id
    _read(stage.judge())
    assert stage.verdicts() == []
    stage.ask(400, failing=True)
    _read(stage.judge())
    assert stage.verdicts() == ["roll back"]


def test_two_judges_give_one_verdict(stage: Stage) -> None:
    stage.start(0.3, 1.0)
    one, other = stage.judge(), stage.judge()
    for judge in (one, other):
        judge.step()
    stage.ask(400, failing=True)
    for judge in (one, other):
        _read(judge)
    assert stage.verdicts() == ["roll back"]


def test_rollout_without_a_policy_gets_no_automatic_verdict(stage: Stage) -> None:
    stage.rollouts.start("m", "2", "champion", [0.5, 1.0], bake_s=1, actor="ann")
    judge = stage.judge()
    stage.ask(400, failing=True)
    _read(judge)
    assert stage.rollout.phase == "running"


def test_a_rollout_without_enough_data_pauses_and_keeps_its_share(stage: Stage) -> None:
    stage.start(0.3, 1.0)
    judge = stage.judge()
    for _ in range(4):
        stage.ask(3)
        _read(judge)
    assert (stage.rollout.phase, stage.verdicts()) == ("paused", ["pause"])
    assert stage.rollout.share == 0.3
    assert "not enough data" in stage.rollout.why


def _paused(stage: Stage) -> RolloutJudge:
    stage.start(0.3, 1.0, patience=2, expire=60)
    judge = stage.judge()
    while stage.rollout.phase == "running":
        stage.ask(3)
        _read(judge)
    judge.step()
    return judge


def test_paused_rollout_expires_without_barring_its_version(stage: Stage) -> None:
    judge = _paused(stage)
    stage.now += 55 * SECOND
    judge.step()
    assert stage.rollout.phase == "paused"
    stage.now += 10 * SECOND
    stage.judge().step()  # a restarted judge knows of the pause
    judge.step()
    assert (stage.rollout.phase, stage.verdicts()) == ("aborted", ["pause", "expire"])
    assert stage.rollout.why.startswith("ended, because nobody resumed it: not enough data about")
    assert stage.history.state("m").barred == {}
    assert stage.history.aliases("m") == {"champion": "1"}
    stage.start(0.3, 1.0)


def test_manually_resumed_or_paused_rollout_does_not_expire(stage: Stage) -> None:
    judge = _paused(stage)
    stage.now += 55 * SECOND
    stage.rollouts.resume("m", "champion", actor="ann")
    stage.now += 10 * SECOND
    judge.step()
    assert stage.rollout.phase == "running"
    stage.rollouts.pause("m", "champion", actor="ann")
    stage.now += 1_000 * SECOND
    judge.step()
    assert (stage.rollout.phase, stage.verdicts()) == ("paused", ["pause"])


def test_pause_that_was_resumed_does_not_expire(stage: Stage) -> None:
    _paused(stage)
    (pause,) = pauses(stage.history.state("m"))
    stage.rollouts.resume("m", "champion", actor="ann")
    with pytest.raises(RegistryConflict, match="was resumed"):
        stage.rollouts.expire("m", "champion", actor="monitor", why="x", expected=pause.rollout)


def test_evidence_of_an_aborted_rollout_does_not_reach_the_next(stage: Stage) -> None:
    stage.start(0.3, 1.0)
    judge = stage.judge()
    stage.ask(15, failing=True)
    _read(judge)
    stage.rollouts.abort("m", "champion", actor="ann", why="again")
    stage.start(0.3, 1.0)
    stage.ask(40)
    _read(judge)
    assert stage.rollout.phase == "running"
    assert stage.verdicts() == []


class StopAfter(threading.Event):
    """A stop signal that is set after so many waits and returns from each at once."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("failure", [RegistryUnavailable("locked"), ValueError("a bug")])
def test_judging_continues_after_a_failure_to_start(stage: Stage, failure: Exception) -> None:
    stage.start(0.3, 1.0)
    stage.ask(400, failing=True)
    failures = [failure, failure]

    def make() -> RolloutJudge:
        if failures:
            raise failures.pop()
        return stage.judge()

    judge_until(StopAfter(3), make)
    assert stage.verdicts() == ["roll back"]


def test_judging_restarts_from_the_log_after_a_read_failure(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.start(0.3, 1.0)
    stage.ask(400, failing=True)
    judges = iter([stage.judge(), stage.judge()])
    poll, failures = SegmentReader.poll, [ValueError("a bug")]

    def failing(reader: SegmentReader, limit: int) -> object:
        found = poll(reader, limit)
        if failures:
            raise failures.pop()
        return found

    monkeypatch.setattr(SegmentReader, "poll", failing)
    judge_until(StopAfter(2), lambda: next(judges))
    assert stage.verdicts() == ["roll back"]


def test_verdict_is_given_later_if_the_registry_is_locked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "PATIENCE_S", 0)
    stage.start(0.3, 1.0)
    stage.ask(400, failing=True)
    judge = stage.judge()
    database = sqlite3.connect(stage.history_path, isolation_level=None)
    with closing(database):
        database.execute("BEGIN IMMEDIATE")
        judge.step()
        assert stage.rollout.phase == "running"
        database.execute("ROLLBACK")
    judge.step()
    assert stage.verdicts() == ["roll back"]


def test_version_that_the_release_policy_blocks_is_still_rolled_back(stage: Stage) -> None:
    stage.start(0.5, 1.0)
    policy = ReleasePolicy(approvals={"champion": ApprovalRule(required=1)})
    row = HistoryRow(0, "m", "release_policy", "", 1, "ann", detail=encode_detail(policy))
    stage.history.append("m", lambda _: [row])
    judge = stage.judge()
    stage.ask(3_000)
    _read(judge)
    assert (stage.rollout.phase, stage.verdicts()) == ("running", [])
    stage.ask(1_000, failing=True)
    _read(judge)
    assert (stage.rollout.phase, stage.verdicts()) == ("aborted", ["roll back"])
