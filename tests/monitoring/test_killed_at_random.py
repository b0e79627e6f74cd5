"""`kill -9` at random moments: four times, or fifty in `make nightly`."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitoring.storage.database import DatabaseAddress
from tests.crash import kill
from tests.depth import NIGHTLY, by_depth
from tests.monitoring.log_in_memory import Monitor, eight_hours, everything

KILLS = by_depth(4, 50)
ROOT = Path(__file__).parents[2]


def _start(where: DatabaseAddress, seed: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.monitoring.watching_eight_hours", str(where), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


@pytest.mark.parametrize("where", ["sqlite", "postgres"] if NIGHTLY else ["sqlite"], indirect=True)
def test_monitor_killed_at_random_moments_stores_the_same(
    where: DatabaseAddress, tmp_path: Path
) -> None:
    calm = tmp_path / "calm.db"
    Monitor(calm, eight_hours().records).drain()
    chance, kills = random.Random(11), 0
    for seed in range(KILLS):
        process = _start(where, seed)
        time.sleep(
            chance.random() * 2 / KILLS
        )  # synchronizes nothing: picks a random moment to kill
        kill(process)
        kills += process.returncode == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.close()
    last = _start(where, KILLS)
    with last:
        assert last.wait(timeout=120) == 0
    assert kills  # the machine's speed decides how many kills hit a running monitor
    assert everything(where) == everything(calm)
