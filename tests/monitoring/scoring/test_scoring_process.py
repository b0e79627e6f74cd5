"""The scoring process answers jobs in order and survives kills."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from monitoring.errors import ScoringUnavailable
from monitoring.results import Window
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.process import CANNOT_CONTINUE, CANNOT_START, scoring_command
from monitoring.scoring.reference import Baseline
from monitoring.scoring.scorer_pool import ScorerPool


@pytest.fixture(scope="module")
def process(root: Path, baseline: Baseline) -> Iterator[ScorerPool]:
    process = ScorerPool(scoring_command(root / "reports"))
    yield process
    process.close()


def _job(key: str, frame: pd.DataFrame, **changes: Any) -> ScoreJob:
    columns = {str(name): frame[name].tolist() for name in frame}
    fields = {"model": "tiny", "version": "1", "columns": columns, "drift": True}
    return ScoreJob(key=key, window=Window(0, 1), **(fields | changes))


def _replies(process: ScorerPool, count: int) -> list[ScoreReply]:
    replies: list[ScoreReply] = []
    deadline = time.monotonic() + 300
    while len(replies) < count:
        assert time.monotonic() < deadline
        replies += process.replies()
        time.sleep(0.02)
    return replies


def _child() -> psutil.Process:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for child in psutil.Process(os.getpid()).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # of another test, and ended
                if "monitoring.scoring" in child.cmdline():  # tests/preloaded.py names its loop
                    return child
        time.sleep(0.02)
    raise AssertionError("there is no scoring process")


def test_jobs_are_answered_in_order_with_a_report_and_survive_a_kill(
    process: ScorerPool, root: Path, window: Callable[..., pd.DataFrame]
) -> None:
    process.submit(_job("first", window(), report="tiny-1.html"))
    process.submit(_job("second", window(), drift=False))
    process.submit(_job("third", window(), model="nobody"))
    os.kill(_child().pid, signal.SIGKILL)
    replies = _replies(process, 3)
    first, second = (reply for reply in replies if reply.key != "third")
    (third,) = (reply for reply in replies if reply.key == "third")  # of another model
    assert [first.key, second.key] == ["first", "second"]
    assert process.waiting == 0
    assert {score.name for score in first.scores} >= {"drift", "drifted_share", "missing_share"}
    assert first.report == "tiny-1.html"
    assert "<html" in (root / "reports" / "tiny-1.html").read_text()[:2000].lower()
    assert not any(score.column for score in second.scores)
    assert "no model 'nobody'" in third.error
    process.submit(_job("again", window()))
    (again,) = _replies(process, 1)
    assert again.scores == first.scores, "the same rows have the same scores"


@pytest.mark.parametrize(("status", "tries"), [(3, 2), (CANNOT_CONTINUE, 3)])
def test_a_job_that_ends_the_process_in_every_try_is_answered_with_the_error(
    tmp_path: Path, status: int, tries: int
) -> None:
    lives = tmp_path / "lives"
    dies = (
        f"import sys; open({str(lives)!r}, 'a').write('x'); "
        f"sys.stdin.buffer.read(4); sys.exit({status})"
    )
    process = ScorerPool([sys.executable, "-c", dies], pauses=(0, 0.01))
    try:
        process.submit(_job("poison", pd.DataFrame({"price": [1.0]})))
        (reply,) = _replies(process, 1)
    finally:
        process.close()
    assert (reply.key, reply.scores) == ("poison", [])
    assert reply.error == (
        f"could not be scored: the scoring process ended with status {status}, in the last of "
        f"{tries} tries"
    )
    assert reply.poison
    assert lives.read_text() == "x" * tries


def test_a_process_that_cannot_start_ends_the_pool_without_losing_a_job(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    dies = f"open({str(lives)!r}, 'a').write('x'); raise SystemExit({CANNOT_START})"
    process = ScorerPool([sys.executable, "-c", dies], pauses=(0, 0))
    try:
        process.submit(_job("first", pd.DataFrame({"price": [1.0]})))
        with pytest.raises(
            ScoringUnavailable,
            match="cannot start, 3 tries in a row: it ended with status 78; the log lines above",
        ):
            _replies(process, 1)
    finally:
        process.close()
    assert lives.read_text() == "xxx"
    assert process.waiting == 1


def test_the_exit_status_tells_that_a_scoring_process_cannot_start(tmp_path: Path) -> None:
    ended = subprocess.run(
        scoring_command(tmp_path),
        env={**os.environ, "DRIFTLINE_MONITOR_REFERENCE_VALUES": "many"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == CANNOT_START
    (line,) = ended.stderr.splitlines()
    assert "DRIFTLINE_MONITOR_REFERENCE_VALUES: 'many': expected a whole number" in line
