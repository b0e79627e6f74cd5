"""Service, monitor and registry writers are killed during rollouts; an oracle checks the result.

The oracle reads the bytes of history and log, and uses nothing that decides about rollouts. In
`make nightly` there are 50 kills; `make kills` runs this study alone.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from eventlog.events import PredictionEvent
from registry.errors import RegistryError
from registry.history.audit import chain_faults
from registry.history.rows import HistoryRow, VerdictPolicy
from registry.history.store import History
from registry.rollback import unbar
from registry.rollouts import Rollouts
from registry.settings import open_history
from tests.crash import kill, kill_session, serving_workers
from tests.depth import by_depth
from tests.e2e.planted_models import DEAR, invalid_for_dear_rows, register
from tests.preloaded import Command
from tests.service.conftest import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_000)]
KILLS = by_depth(4, 50)
MONITOR_AT = 2  # of ten kills
STEPS = [0.25, 0.5, 1.0]
WRITER = """
import sys, time
from pathlib import Path
from eventlog.errors import DriftlineError
from registry.history.store import History
from registry.rollouts import Rollouts
rollouts = Rollouts(History(Path(sys.argv[1])))
print("ready", flush=True)
while True:
    for change in (rollouts.pause, rollouts.resume):
        try:
            change("tiny", "champion", actor="writer", why="a person changes their mind")
        except DriftlineError:
            pass
        time.sleep(0.005)
"""


class Answer(NamedTuple):
    """What a client received."""

    prediction_id: str
    version: str
    rollout: str
    arm: str


class Traffic(threading.Thread):
    """Ask one request after another, each with a key of its own; keep what was answered."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.stopping = threading.Event()
        self.answers: list[Answer] = []

    def await_answers(self, count: int) -> None:
        """Wait until so many more requests were answered: rollouts go on between kills."""
        goal, deadline = len(self.answers) + count, time.monotonic() + 300
        while len(self.answers) < goal:
            assert time.monotonic() < deadline, "the service answers nothing any more"
            time.sleep(0.02)

    def run(self) -> None:
        for n in range(10**9):
            if self.stopping.is_set():
                return
            price = DEAR if n % 3 == 0 else 0.5
            body = {
                "model": "tiny",
                "rows": [{"price": price, "colour": "red"}],
                "routing_key": f"user-{n}",
            }
            try:  # on a connection of its own: it may be that of a killed worker
                reply = httpx.post(f"{self._url}/predict", json=body, trust_env=False, timeout=30)
            except httpx.HTTPError:
                continue
            if reply.is_success:
                said = reply.headers
                self.answers.append(
                    Answer(
                        reply.json()["prediction_id"],
                        said["driftline-version"],
                        said.get("driftline-rollout", ""),
                        said.get("driftline-arm", ""),
                    )
                )


class Study:
    """A service with two workers, a monitor, and rollouts of a version that answers NaN."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.history: History = open_history(service.home)
        self._rollouts = Rollouts(self.history)
        self.monitor = self._start_monitor()
        self.killed: Counter[str] = Counter()

    def verdicts(self) -> int:
        return len(self.history.state("tiny").verdicts)

    def keep_rolling(self) -> None:
        """Start a rollout where none is under way, and resume one that a writer paused."""
        state = self.history.state("tiny")
        now = state.rollouts.get("champion")
        try:
            if now is None or not now.active:
                if state.digest_of("2") in state.barred:
                    unbar(self.history, "tiny", "2", actor="ann", why="once more")
                self._rollouts.start(
                    "tiny", "2", "champion", STEPS, bake_s=600, actor="ann", policy=VerdictPolicy()
                )
            elif now.phase == "paused":
                self._rollouts.resume("tiny", "champion", actor="ann", why="once more")
        except RegistryError:
            pass  # the monitor was first

    def kill(self, victim: str, draw: random.Random) -> None:
        self.killed[victim] += 1
        if victim == "monitor":
            kill_session(self.monitor)
            self.monitor = self._start_monitor()
        elif victim == "worker":
            draw.choice(serving_workers(self.service.supervisor)).kill()
        else:
            command = [sys.executable, "-c", WRITER, str(self.service.home.root / "registry.db")]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.1))  # the moment of the kill
            kill(writer)

    def _start_monitor(self) -> "subprocess.Popen[bytes]":
        log = (self.service.root / "monitor.log").open("ab")
        return Command(
            [sys.executable, "-m", "driftline", "monitor", "--port", "0"],
            env=self.service.environment, stderr=log, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Study]:
    settings = {"workers": "2", "poll_interval_s": "0.1"}
    with Service(tmp_path, free_port, **settings) as service:
        service.register()
        service.registry.promote("tiny", "1")
        register(service, invalid_for_dear_rows(), tmp_path / "retrained")
        study = Study(service)
        try:
            service.start()
            yield study
        finally:
            kill_session(study.monitor)


def test_kills_during_rollouts_leave_legal_shares_single_verdicts_and_every_reply(
    study: Study,
) -> None:
    draw, traffic = random.Random(17), Traffic(study.service.url)
    traffic.start()
    judged, began = 0, time.monotonic()
    study.keep_rolling()
    while study.killed.total() < KILLS:
        study.keep_rolling()
        traffic.await_answers(by_depth(5, 60))
        time.sleep(draw.uniform(0, 0.2))  # the moment of the kill
        victim = ("worker", "writer")[study.killed.total() % 2]
        if study.verdicts() > judged or study.killed.total() % 10 == MONITOR_AT:
            victim, judged = "monitor", study.verdicts()
        study.kill(victim, draw)
    deadline, before = time.monotonic() + 300, study.verdicts()
    while study.verdicts() == before:  # what was killed last has recovered
        study.keep_rolling()
        assert time.monotonic() < deadline, (study.service.root / "monitor.log").read_text()
        time.sleep(0.2)
    traffic.stopping.set()
    traffic.join()
    study.service.stop()
    rows = list(study.history.all_rows())
    assert list(chain_faults(rows)) == []
    rollouts = judge_history(rows)
    events = [one.event for one in study.service.events()]
    judge_answers(traffic.answers, [e for e in events if isinstance(e, PredictionEvent)], rollouts)
    print(
        f"\n{study.killed.total()} kills {dict(study.killed)} in {time.monotonic() - began:.0f} s: "
        f"{len(rollouts)} rollouts, {study.verdicts()} verdicts, {len(traffic.answers)} answers, "
        f"{len(rows)} rows of history"
    )


def judge_history(rows: list[HistoryRow]) -> set[str]:
    """Assert that shares only move as their rollout states; return the ids of rollouts."""
    step: dict[str, int] = {}
    shares: dict[str, list[float]] = {}
    ended: set[str] = set()
    final: Counter[str] = Counter()
    active = ""
    for row in rows:
        detail: dict[str, Any] = json.loads(row.detail or "{}")
        if row.kind == "rollout_step":
            name, action = detail["rollout"], detail["action"]
            assert name not in ended, f"revision {row.revision} changes a rollout that ended"
            if action == "start":
                assert not active, "two rollouts at once"
                active, step[name], shares[name] = name, 0, detail["steps"]
                assert shares[name] == STEPS
            elif action == "step":
                assert detail["step"] == step[name] + 1, f"revision {row.revision} skips a step"
                step[name] += 1
            elif action == "abort":
                ended.add(name)
                active = ""
            assert step[name] < len(shares[name])
        elif row.kind == "verdict":
            final[row.evidence] += detail["verdict"] == "roll back"
    assert all(count <= 1 for count in final.values()), final
    assert "promoted" not in {row.kind for row in rows if row.number == "2"}
    return set(step)


def judge_answers(answers: list[Answer], events: list[PredictionEvent], rollouts: set[str]) -> None:
    """Assert that the log holds every answer, with the arm that gave it."""
    logged = {one.prediction_id: one for one in events}
    assert len(logged) == len(events), "an answer is logged twice"
    for one in answers:
        event = logged.get(one.prediction_id)
        assert event is not None, f"{one} is not in the log"
        assert event.outcome == "ok"
        assert (event.version, event.rollout, event.arm) == one[1:]
        assert (event.version == "2") == (event.arm == "rollout"), event
        assert not event.rollout or event.rollout in rollouts
