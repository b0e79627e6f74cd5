"""`driftline ledger` with several monitors, each with a part of the partitions."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.ledger import ledger
from eventlog.answer_counts import CountingWriter
from eventlog.division import partition_of
from eventlog.heartbeats import Heartbeats
from eventlog.log import Position, Record
from eventlog.retention import write_positions
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from eventlog.shards import shard_of
from eventlog.stamps import Stamps
from tests.logged_labels import append_label
from tests.monitoring.log_in_memory import T0
from tests.monitoring.partitions.group_monitor import (
    MODELS,
    PARTITIONS,
    GroupMonitor,
    assign,
    drain,
    partitioned,
)
from tests.postgres_server import PostgresServer

SHARDS = [shard_of(model) for model in MODELS]
EVENTS = 60


@pytest.fixture
def where(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the monitors' database, which the environment names."""
    url = postgres.schema()
    monkeypatch.setenv("DRIFTLINE_MONITOR_DATABASE", url)
    monkeypatch.setenv("DRIFTLINE_MONITOR_SOURCE", "kafka")
    return url


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What the segments of one worker hold: labels of six shards, and a heartbeat of each."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    home = Home(tmp_path)
    writer = CountingWriter.claim(home.log, "host")
    for n in range(EVENTS):
        append_label(writer, **Stamps(writer).take(SHARDS[n % len(SHARDS)])._asdict())
    Heartbeats(writer, lambda: T0).tick()
    write_positions(home.cursors, {"host-0": Position(writer.epoch, writer.next_sequence)})
    writer.close()
    return list(SegmentReader(home.log, {}).poll(1_000))


def _monitor(where: str, records: Sequence[Record]) -> None:
    """Have three monitors ingest the records; their partitions move, and one of them dies."""
    log, chance = partitioned(records), random.Random(1)
    monitors = [GroupMonitor(where, log, chance) for _ in range(3)]
    for _ in range(4):
        assign(monitors)
        for monitor in monitors:
            monitor.group.step(5)
        monitors.append(monitors.pop(0))
    monitors.pop().dies(after=20)
    assign(monitors)
    drain(monitors)


@pytest.mark.parametrize("arguments", [[], ["--verify"]])
def test_the_ledger_of_several_monitors_is_balanced(
    where: str, records: list[Record], arguments: list[str]
) -> None:
    _monitor(where, records)
    result = CliRunner().invoke(ledger, arguments)
    source, *lines = result.output.splitlines()[1:]
    assert source.split() == ["host-0", "60", "60", "60", "0", "60"]
    assert (lines, result.exit_code) == ([], 0)


@pytest.mark.parametrize("arguments", [[], ["--verify"]])
def test_seven_records_deleted_from_the_topics_are_seven_of_their_shards(
    where: str, records: list[Record], arguments: list[str]
) -> None:
    deleted = [12, 18, 24, 30, 36, 19, 25]  # of two shards
    shards = SHARDS[0], SHARDS[1]
    assert len({partition_of(shard, PARTITIONS) for shard in shards}) == len(shards)
    _monitor(where, [record for record in records if record.sequence not in deleted])
    result = CliRunner().invoke(ledger, arguments)
    assert "host-0: 7 in the log but not monitored" in result.output
    named = sorted([f"5 of shard {shards[0]}", f"2 of shard {shards[1]}"], key=lambda s: s[-3:])
    assert f"host-0: 7 lost: {', '.join(named)}" in result.output
    assert result.exit_code == 1
