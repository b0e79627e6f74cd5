"""An alarm resolves when its version loses its traffic to another version."""

from pathlib import Path

from msgspec.structs import replace

from monitoring.results import Alarm
from monitoring.storage.store import Store
from registry.manifest import Version
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor

FIRST_DRIFTED_HOUR = 3  # of the fake scorer


def _find(_model: str, number: str) -> Version:
    return replace(VERSION, number=number)


def _alarms(folder: Path, traffic: dict[int, str]) -> dict[str, Alarm]:
    """Return each version's newest drift alarm; `traffic` maps hours to the serving versions."""
    log = Log()
    for hour, versions in traffic.items():
        for row in range(24):
            at = T0 + hour * HOUR + row * HOUR // 24
            version = versions[row % len(versions)]
            log.predict(at, f"{hour}-{row}", version=version)
    monitor = Monitor(folder / "monitor.db", log.records, find=_find)
    monitor.drain()
    monitor.database.close()
    found = Store(folder / "monitor.db").alarms()
    return {alarm.version: alarm for alarm in reversed(found) if alarm.rule == "drift"}


def test_alarm_resolves_when_another_version_takes_over_the_traffic(tmp_path: Path) -> None:
    alarms = _alarms(
        tmp_path, {hour: "1" if hour < FIRST_DRIFTED_HOUR + 3 else "2" for hour in range(12)}
    )
    assert [alarms[version].state for version in "12"] == ["resolved", "firing"]
    (step,) = alarms["1"].steps
    assert (step.deed, step.actor) == ("resolved", "monitor")
    assert step.reason == "the version has no traffic any more; version 2 answers"
    assert step.at == T0 + 8 * HOUR  # the first window after a whole one without the version


def test_alarms_of_versions_that_share_traffic_stay_open(tmp_path: Path) -> None:
    alarms = _alarms(tmp_path, dict.fromkeys(range(12), "12"))
    assert [alarms[version].state for version in "12"] == ["firing", "firing"]


def test_alarm_stays_open_while_no_version_has_traffic(tmp_path: Path) -> None:
    alarms = _alarms(tmp_path, dict.fromkeys(range(FIRST_DRIFTED_HOUR + 3), "1"))
    assert alarms["1"].state == "firing"


def test_version_with_traffic_again_is_judged_by_its_new_windows(tmp_path: Path) -> None:
    hours = ["1"] * 6 + ["2"] * 4 + ["1"] * 6
    alarms = _alarms(tmp_path, dict(enumerate(hours)))
    assert alarms["1"].state == "firing"
    assert alarms["1"].since.start >= T0 + 10 * HOUR
