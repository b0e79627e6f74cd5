"""A scheduled retraining request survives a killed monitor process without duplication."""

import os
import subprocess
import sys
import time
from pathlib import Path

from monitoring.alarms.retrain_schedule import scheduled_id
from monitoring.storage.store import Store
from registry.history.store import History
from registry.schedules import Schedules
from telemetry.clock import now_us
from tests.crash import kill_session
from tests.preloaded import Command

HOUR = 3_600_000_000


def monitor(home: Path) -> subprocess.Popen[bytes]:
    return Command(
        [sys.executable, "-m", "driftline", "monitor", "--until-idle", "--port", "0"],
        env={**os.environ, "DRIFTLINE_HOME": str(home), "DRIFTLINE_MONITOR_DATABASE": ""},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_killed_monitor_neither_duplicates_nor_loses_a_request(tmp_path: Path) -> None:
    history = History(tmp_path / "registry.db")
    history.register("flights", "1", time=1, actor="ann", digest="d1")
    began = now_us() - 30 * HOUR
    Schedules(history, lambda: began * 1_000).set(
        "flights", "0 3 * * *", "Europe/Berlin", "latest", actor="ann"
    )
    first = monitor(tmp_path)
    try:
        while first.poll() is None and not decided(tmp_path):
            time.sleep(0.02)
    finally:
        kill_session(first)
    second = monitor(tmp_path)
    try:
        assert second.wait(120) == 0
    finally:
        kill_session(second)
    store = Store(tmp_path / "monitor.db")
    (delivery,) = store.deliveries()
    (decision,) = store.schedules()["flights"].decisions
    store.close()
    assert delivery.webhook_id == decision.request == scheduled_id("flights", decision.due)
    assert began < decision.due <= decision.decided


def decided(home: Path) -> bool:
    """Return whether the monitor has committed a decision."""
    if not (home / "monitor.db").exists():
        return False
    store = Store(home / "monitor.db")
    try:
        return bool(store.schedules())
    finally:
        store.close()
