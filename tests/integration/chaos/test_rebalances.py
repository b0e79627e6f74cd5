"""Monitors that share partitions store the results of a single monitor, whatever happens.

`make chaos` runs this; `tests/integration/test_monitors_share_kafka.py` is the short version.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.kafka import KafkaSettings, create_topics
from tests.integration.chaos.monitors import Monitors, check, tables
from tests.integration.chaos.story import Story, send
from tests.integration.conftest import Broker
from tests.postgres_server import PostgresServer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(7200)]
PARTITIONS = 12
FAULTS: list[list[str]] = [  # those of a line strike at once
    ["join"],
    ["kill"],
    ["exclude"],
    ["leave", "join"],
    ["kill", "kill"],
    ["restart broker", "kill"],
    ["exclude", "leave"],
    ["dispossess", "kill"],
]


class Study:
    """A broker, a home, and the monitors of two databases: the shared one and the expected one."""

    def __init__(self, story: Story, broker: Broker, root: Path, postgres: PostgresServer) -> None:
        """Register the models and send the events."""
        self.story = story
        self._broker = broker
        broker.start()
        topics = KafkaSettings(bootstrap_servers=broker.bootstrap, acknowledge_within=60)
        create_topics(topics, partitions=PARTITIONS, replicas=1)
        story.register(root / "home", root / "files")
        self._events = len(story.events())
        send(story.events(), topics)
        self.single, self.shared = (
            Monitors(root / "home", topics, group, postgres.schema())
            for group in ("single", "shared")
        )

    def restart_broker(self) -> None:
        """Kill the broker and start it on its data."""
        self._broker.kill()
        self._broker.start()

    def await_share(self, share: float) -> None:
        """Wait until this share of the events is ingested."""
        self.shared.await_events(int(share * self._events))

    def compare(self) -> None:
        """Have the rest ingested by three monitors, and everything by one; compare."""
        while self.shared.running:
            self.shared.leave()
        self.single.join("--until-idle", "--close")
        self.shared.finish(3)
        self.single.await_end()
        check(self.story, tables(self.single.where), self.shared.where)

    def stop(self) -> None:
        self.single.stop()
        self.shared.stop()


OpenStudy = Callable[[Story], Study]


@pytest.fixture
def open_study(broker: Broker, tmp_path: Path, postgres: PostgresServer) -> Iterator[OpenStudy]:
    """A function that begins a study; its monitors end with the test."""
    opened: list[Study] = []

    def begin(story: Story) -> Study:
        opened.append(Study(story, broker, tmp_path, postgres))
        return opened[-1]

    yield begin
    for study in opened:
        study.stop()


def test_500_models_a_kill_a_join_and_a_restart_of_the_broker(open_study: OpenStudy) -> None:
    study = open_study(Story(models=500, busy=8, hours=4, hourly=1_000))
    shared = study.shared
    began = time.monotonic()
    for _ in range(3):
        shared.join()
    shared.await_holders(3)
    study.await_share(0.2)
    shared.kill()
    study.await_share(0.4)
    study.restart_broker()
    study.await_share(0.5)
    shared.join()
    shared.await_holders(3)
    study.compare()
    print(
        f"\n{PARTITIONS} partitions, {study.story.models} models, "
        f"{len(study.story.events()):,} events: a kill, a restart of the broker and a join, "
        f"0 differences from a single monitor, {time.monotonic() - began:.0f} s"
    )


def test_monitors_that_join_leave_die_and_freeze(open_study: OpenStudy) -> None:
    study = open_study(Story(models=24, busy=1, hours=4, hourly=1_500))
    shared = study.shared
    for _ in range(2):
        shared.join()
    shared.await_holders(2)
    for number, faults in enumerate(FAULTS, 1):
        study.await_share(0.8 * number / len(FAULTS))
        before, began = shared.ingested(), time.monotonic()
        _strike(study, faults)
        while len(shared.running) < 3:
            shared.join()
        shared.await_holders(2)
        seconds = time.monotonic() - began
        print(f"\n{' and '.join(faults)}: after {before:,} events, {seconds:.0f} s", end="")
    study.compare()
    print(f"\n{len(FAULTS)} rebalances: 0 differences from a single monitor")


def _strike(study: Study, faults: list[str]) -> None:
    """Have faults strike at once; a frozen monitor stays so until the others have struck."""
    fault, *others = faults
    shared = study.shared
    if fault == "exclude":
        with shared.excluded():
            _strike_next(study, others)
    elif fault == "dispossess":
        with shared.dispossessed():
            _strike_next(study, others)
    else:
        {
            "join": shared.join,
            "kill": shared.kill,
            "leave": shared.leave,
            "restart broker": study.restart_broker,
        }[fault]()
        _strike_next(study, others)


def _strike_next(study: Study, others: list[str]) -> None:
    if others:
        _strike(study, others)
