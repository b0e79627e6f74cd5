"""A model's traffic is counted once, even if its partition changes monitors within an hour."""

import random
from collections import Counter

import pytest

from eventlog.log import Record
from eventlog.shards import shard_of
from monitoring.storage.store import Store
from registry.manifest import Version
from registry.policies import DatedPolicy
from tests.monitoring.log_in_memory import HOUR, T0, Log, like
from tests.monitoring.partitions.group_monitor import (
    MODELS,
    GroupMonitor,
    Models,
    assign,
    contents,
    drain,
    partitioned,
)
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.untraced

MINIMUM = like(alarms={"min_traffic": 5})
HOURLY = 8  # requests of each model in each busy hour
BUSY, QUIET = 4, 3  # hours
MINUTE = 60_000_000


class Minimum(Models):
    """A policy history with the same minimum traffic for every model."""

    def policies(self, _version: Version) -> list[DatedPolicy]:
        return [DatedPolicy(MINIMUM, 0)]


def _traffic() -> list[Record]:
    """Return busy hours of every model, followed by heartbeats only."""
    log, numbers = Log(), Counter[str]()

    def numbered(model: str) -> dict[str, object]:
        shard = shard_of(model)
        numbers[shard] += 1
        return {"shard": shard, "number": numbers[shard] - 1}

    for n in range(BUSY * HOURLY):
        at = T0 + n * HOUR // HOURLY
        for model in MODELS:
            stamp = numbered(model)
            log.predict(at, f"{model}-{n}", model=model, received=at + 1_000_000, **stamp)
    for minute in range(0, QUIET * 60, 5):
        at = T0 + BUSY * HOUR + minute * MINUTE
        for model in MODELS:
            log.beat(at, **numbered(model))
    return log.records


def test_open_hour_is_transferred_without_loss_or_duplication(
    postgres: PostgresServer,
) -> None:
    chance, where, alone_in = random.Random(4), postgres.schema(), postgres.schema()
    records = _traffic()
    alone = GroupMonitor(alone_in, partitioned(records), chance, Minimum())
    assign([alone])
    drain([alone], 1000)
    log = partitioned(records)
    monitors = [GroupMonitor(where, log, chance, Minimum()) for _ in range(3)]
    store, within = Store(where), 0
    for _ in range(40):
        within += store.totals().get("monitored_events", 0) < BUSY * HOURLY * len(MODELS)
        assign(monitors)
        for monitor in monitors:
            monitor.group.step(6)
        if chance.random() < 0.2:
            monitors.pop().dies(after=chance.randrange(40))
            monitors.append(GroupMonitor(where, log, chance, Minimum()))
        monitors.append(monitors.pop(0))
    assert within > BUSY  # transfers within an hour
    assign(monitors)
    drain(monitors)
    assert contents(where) == contents(alone_in)
    alarms = [alarm for alarm in store.alarms() if alarm.rule == "traffic"]
    assert {alarm.model for alarm in alarms} == {*MODELS}
    assert {(alarm.state, alarm.since.start) for alarm in alarms} == {("firing", T0 + BUSY * HOUR)}
    for model in MODELS:
        hours = store.traffic(model).requests
        assert hours[: BUSY - 1] == [HOURLY] * (BUSY - 1)  # from the first complete hour on
        assert set(hours[BUSY - 1 :]) == {0}
