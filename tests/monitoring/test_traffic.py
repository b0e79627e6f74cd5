"""A model's traffic is judged hourly, including hours without any record."""

from pathlib import Path

import msgspec
from msgspec.structs import replace

from monitoring.results import Alarm
from monitoring.storage.store import Store
from monitoring.windows.policy_source import RegistryPolicies
from registry.manifest import Version
from tests.monitoring.log_in_memory import HOUR, MANIFEST, T0, VERSION, History, Log, Monitor, like

MINIMUM = like(alarms={"min_traffic": 5})


def _find(_model: str, number: str) -> Version:
    return replace(VERSION, number=number)


class Fixed(History):
    def policies(self, version: Version) -> list[object]:  # type: ignore[override]
        return super().policies(replace(version, manifest=replace(MANIFEST, monitoring=MINIMUM)))


def _log(traffic: list[tuple[str, int]], *, beats: int = 0) -> Log:
    """Return a log of so many requests an hour by version, then hours with only heartbeats."""
    log = Log()
    for hour, (versions, requests) in enumerate(traffic):
        for n in range(requests):
            at = T0 + hour * HOUR + n * HOUR // requests
            version = versions[n % len(versions)]
            log.predict(at, f"{hour}-{n}", version=version, received=at + 1_000_000)
    for minute in range(beats * 60):
        log.beat(T0 + len(traffic) * HOUR + minute * 60_000_000)
    return log


def _monitored(where: Path, log: Log, limit: int = 1000, *, restart: bool = False) -> Store:
    monitor = Monitor(where, log.records, find=_find, policies=RegistryPolicies(Fixed()))
    if restart:
        monitor.consumer.step(len(log.records) // 2)
        monitor.database.close()
        monitor = Monitor(where, log.records, find=_find, policies=RegistryPolicies(Fixed()))
    monitor.drain(limit)
    monitor.database.close()
    return Store(where)


def _alarms(store: Store) -> list[Alarm]:
    return [alarm for alarm in store.alarms() if alarm.rule == "traffic"]


def test_heartbeats_without_requests_show_that_traffic_has_stopped(tmp_path: Path) -> None:
    log = _log([("1", 8)] * 4, beats=5)
    store = _monitored(tmp_path / "monitor.db", log)
    (alarm,) = _alarms(store)
    assert (alarm.state, alarm.since.start) == ("firing", T0 + 4 * HOUR)
    assert alarm.sentence.startswith("No requests since ")
    assert "(minimum 5)" in alarm.sentence
    (delivery,) = store.deliveries()
    body = msgspec.json.decode(delivery.body)
    assert body["type"] == "driftline.alarm.fired.v1"
    assert body["data"]["alarm"]["alarm_id"] == alarm.alarm_id
    again = _monitored(tmp_path / "again.db", log, limit=40, restart=True)
    assert _alarms(again) == [alarm]
    assert again.traffic("tiny") == store.traffic("tiny")


def test_traffic_alarm_resolves_when_requests_resume(tmp_path: Path) -> None:
    log = _log([*[("1", 8)] * 3, *[("1", 1)] * 4, *[("1", 8)] * 5])
    (alarm,) = _alarms(_monitored(tmp_path / "monitor.db", log))
    assert (alarm.state, alarm.since.start) == ("resolved", T0 + 3 * HOUR)


def test_rollout_does_not_change_the_traffic_of_its_model(tmp_path: Path) -> None:
    """Traffic is counted over all versions of a model."""
    steps = [*[("1", 8)] * 4, *[("12", 8)] * 3, *[("2", 8)] * 5]
    store = _monitored(tmp_path / "monitor.db", _log(steps))
    assert _alarms(store) == []
    assert store.traffic("tiny").version == "2"


def test_traffic_alarm_moves_to_the_version_with_most_requests(tmp_path: Path) -> None:
    steps = [*[("1", 8)] * 3, *[("1", 2)] * 4, *[("2", 2)] * 5]
    newest, before = _alarms(_monitored(tmp_path / "monitor.db", _log(steps)))
    assert (newest.version, newest.state) == ("2", "firing")
    assert (before.version, before.state) == ("1", "resolved")
    assert before.steps[-1].reason == "version 2 answers most requests now"


def test_traffic_is_not_judged_before_three_weeks_without_a_minimum(tmp_path: Path) -> None:
    log = _log([("1", 8)] * 4, beats=5)
    monitor = Monitor(tmp_path / "monitor.db", log.records, find=_find)
    monitor.drain()
    monitor.database.close()
    store = Store(tmp_path / "monitor.db")
    assert _alarms(store) == []
    newest = store.traffic("tiny").newest
    assert newest is not None
    assert (newest.state, newest.requests) == ("learning", 0)
