"""Monitors on one PostgreSQL database share partitions and equal a single monitor.

The long versions, with 500 models and with every fault, are in `chaos/test_rebalances.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.kafka import KafkaSettings
from tests.integration.chaos.monitors import Monitors, check, tables
from tests.integration.chaos.story import Story, send
from tests.postgres_server import PostgresServer

STORY = Story(models=9, busy=1, hours=4, hourly=240)  # in all three partitions
OpenMonitors = Callable[[str], Monitors]


@pytest.fixture
def open_monitors(
    tmp_path: Path, topics: KafkaSettings, postgres: PostgresServer
) -> Iterator[OpenMonitors]:
    """A function that names monitors of a database of their own; they end with the test."""
    opened: list[Monitors] = []

    def open_group(group: str) -> Monitors:
        opened.append(Monitors(tmp_path / "home", topics, group, postgres.schema()))
        return opened[-1]

    yield open_group
    for monitors in opened:
        monitors.stop()


def test_three_monitors_with_a_kill_and_a_late_start_equal_one_monitor(
    open_monitors: OpenMonitors, topics: KafkaSettings, tmp_path: Path
) -> None:
    STORY.register(tmp_path / "home", tmp_path / "files")
    send(STORY.events(), topics)
    single, shared = open_monitors("single"), open_monitors("shared")
    for monitors, number in ((single, 1), (shared, 2)):
        for _ in range(number):
            monitors.join("--until-idle", "--close")
    shared.await_holders(2)
    shared.await_events(400)
    shared.kill()
    shared.join("--until-idle", "--close")
    shared.await_end()
    single.await_end()
    expected = tables(single.where)
    assert len(expected["results"]) > 20
    check(STORY, expected, shared.where)
