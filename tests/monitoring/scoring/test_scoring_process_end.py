"""The scoring process with stand-ins that crash, hang or end: order, retries and end."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from monitoring.results import Window
from monitoring.samples import Sample
from monitoring.score_jobs import ScoreJob, ScoreReply
from monitoring.scoring.process import JobLimits
from monitoring.scoring.scorer_pool import ScorerPool

ECHO = """
import os
import subprocess
import sys
import time
from pathlib import Path
from monitoring.score_jobs import ScoreJob, ScoreReply, read, write

lives = Path(sys.argv[1])
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
while (job := read(sys.stdin.buffer, ScoreJob)) is not None:
    if job.key.startswith("deadly") or (job.key == "once" and lives.read_text() == "x"):
        sys.exit(4)
    if job.key == "picture" and job.files:
        sys.exit(6)
    if job.key == "torn":
        sys.stdout.buffer.write(b"\\0\\0\\1\\0{")
        sys.stdout.buffer.flush()
        sys.exit(5)
    if job.key == "garbage":
        sys.stdout.buffer.write(b"\\0\\0\\0\\2{]")
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read()
    if job.key == "hungry":
        held = b"x" * (400 << 20)
        sys.stdin.buffer.read()
    if job.key == "crowded":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        busy = f"import os\\nwhile os.getppid() == {os.getpid()}: pass"
        rivals = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(5)]
        end = time.process_time() + 0.8
        while time.process_time() < end:
            pass
        for rival in rivals:
            rival.kill()
            rival.wait()
    if job.key == "endless":
        Path(sys.argv[1] + ".begun").touch()
        sys.stdin.buffer.read()
    write(sys.stdout.buffer, ScoreReply(key=job.key, scores=[]))
"""


@pytest.fixture
def lives(tmp_path: Path) -> Path:
    """One letter for each life of the process."""
    return tmp_path / "lives"


@pytest.fixture
def process(lives: Path) -> Iterator[ScorerPool]:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)], pauses=(0,))
    yield process
    process.close()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _submit(process: ScorerPool, key: str, model: str = "tiny") -> None:
    files = [Sample("image", 1, 0, "file", b"deadly")]
    columns = {"x": [float(n) for n in range(1000)]}
    fields = {"model": model, "version": "1", "columns": columns, "drift": True, "files": files}
    process.submit(ScoreJob(key=key, window=Window(0, 1), **fields))


def _answers(process: ScorerPool, *keys: str) -> list[ScoreReply]:
    for key in keys:
        _submit(process, key)
    return _replies(process, len(keys))


def _replies(process: ScorerPool, count: int) -> list[ScoreReply]:
    replies: list[ScoreReply] = []

    def all_there() -> bool:
        replies.extend(process.replies())
        return len(replies) >= count

    _until(all_there)
    return replies


def test_no_process_is_started_before_the_first_job(lives: Path) -> None:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)])
    process.close()
    assert not lives.exists()
    assert process.replies() == []


def test_many_jobs_are_answered_in_order_by_one_process(process: ScorerPool, lives: Path) -> None:
    keys = [f"job {n}" for n in range(50)]
    assert [reply.key for reply in _answers(process, *keys)] == keys
    assert process.waiting == 0
    assert lives.read_text() == "x"


def test_an_image_that_crashes_the_process_loses_only_its_picture(process: ScorerPool) -> None:
    (reply,) = _answers(process, "picture")
    assert (reply.key, reply.error, reply.poison) == ("picture", "", False)


def test_a_job_that_crashes_the_process_once_is_scored_by_the_next_process(
    process: ScorerPool, lives: Path
) -> None:
    replies = _answers(process, "before", "once", "after")
    assert [(reply.key, reply.error) for reply in replies] == [
        ("before", ""),
        ("once", ""),
        ("after", ""),
    ]
    assert lives.read_text() == "xx"


@pytest.mark.parametrize(("key", "status"), [("deadly", 4), ("torn", 5), ("garbage", -9)])
def test_a_job_that_always_crashes_loses_only_its_own_scores(
    process: ScorerPool, lives: Path, key: str, status: int
) -> None:
    before, lost, after = _answers(process, "before", key, "after")
    assert (before.error, after.error) == ("", "")
    assert lost.key == key
    assert lost.error == (
        f"could not be scored: the scoring process ended with status {status}, in the last of 2 "
        "tries"
    )
    assert lost.poison
    assert lives.read_text() == "xxx"


def _running_children() -> Iterator[list[str]]:
    """Yield the commands of this process's children, zombies of other tests left out."""
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            yield child.cmdline()


def test_closing_ends_the_process_in_the_middle_of_a_job(lives: Path) -> None:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)])
    _answers(process, "first")
    fields = {"model": "tiny", "version": "1", "columns": {}, "drift": True}
    process.submit(ScoreJob(key="endless", window=Window(0, 1), **fields))
    _until(Path(f"{lives}.begun").exists)
    process.close()
    assert process.replies() == []
    assert process.waiting == 1
    assert not [command for command in _running_children() if str(lives) in command]
    assert lives.read_text() == "x", "a process that was closed is not started again"


def test_a_hanging_job_is_stopped_and_reported_with_the_timeout(lives: Path) -> None:
    command = [sys.executable, "-c", ECHO, str(lives)]
    process = ScorerPool(command, limits=JobLimits(seconds=5), pauses=(0,))
    hung, after = _answers(process, "endless", "after")
    process.close()
    assert hung.error == (
        "could not be scored: the scoring process did not reply within 5 seconds, in the last of 2 "
        "tries"
    )
    assert (hung.poison, after.error) == (True, "")


def test_waits_for_a_busy_processor_do_not_count_against_a_job(lives: Path) -> None:
    command = [sys.executable, "-c", ECHO, str(lives)]
    process = ScorerPool(command, limits=JobLimits(seconds=3), pauses=(0,))
    _, crowded = _answers(process, "first", "crowded")
    process.close()
    assert (crowded.error, lives.read_text()) == ("", "x")


def test_a_job_that_needs_too_much_memory_is_ended_and_answered_with_the_limit(
    lives: Path,
) -> None:
    limits = JobLimits(memory=200 << 20)
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)], limits=limits, pauses=(0,) * 4)
    ended, after = _answers(process, "hungry", "after")
    process.close()
    assert ended.error == (
        "could not be scored: the scoring process needed more than 200 MiB of memory, in the last "
        "of 2 tries"
    )
    assert (ended.poison, after.error) == (True, "")


def test_a_hanging_job_does_not_delay_other_models(lives: Path) -> None:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)], scorers=2)
    for key in ("endless", "behind it"):
        _submit(process, key, "hanging")
    _until(Path(f"{lives}.begun").exists)
    for number in range(3):
        _submit(process, str(number), "other")
    assert [reply.key for reply in _replies(process, 3)] == ["0", "1", "2"]
    assert process.waiting == 2
    process.close()


def test_other_models_are_scored_between_the_attempts_of_a_job(lives: Path) -> None:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)], pauses=(0, 0))
    for key, model in (("deadly", "a"), ("1", "b"), ("2", "b")):
        _submit(process, key, model)
    assert [reply.key for reply in _replies(process, 3)] == ["1", "deadly", "2"]
    process.close()


def test_a_second_process_starts_only_for_a_second_model(lives: Path) -> None:
    process = ScorerPool([sys.executable, "-c", ECHO, str(lives)], scorers=4)
    keys = [str(number) for number in range(20)]
    assert [reply.key for reply in _answers(process, *keys)] == keys
    assert lives.read_text() == "x"
    process.close()


BUSY = """
import signal, sys, time
from eventlog.parent_death import end_with_parent
end_with_parent(signal.SIGKILL)
sys.stdin.buffer.read(1)
print("busy", file=sys.stderr, flush=True)
time.sleep(600)
"""
MONITOR = """
import sys, time
from monitoring.results import Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.scorer_pool import ScorerPool
process = ScorerPool([sys.executable, "-c", sys.argv[1]])
job = ScoreJob(
    key="", model="m", version="1", window=Window(0, 1), columns={}, drift=False
)
process.submit(job)
time.sleep(600)
"""


def test_the_scoring_process_ends_with_a_killed_monitor() -> None:
    command = [sys.executable, "-c", MONITOR, BUSY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as monitor:
        assert monitor.stderr is not None
        assert monitor.stderr.readline() == "busy\n"
        monitor.kill()
        assert monitor.stderr.read() == ""  # up to the end: nobody holds the pipe any more
