"""Generate load with wrk, which uses far less CPU than the servers under test."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import msgspec

from benchmarks.compare.load import ClosedLoopResults
from benchmarks.compare.requests import Question

PROGRAM = shutil.which("wrk")
_SCRIPT = Path(__file__).with_name("post.lua")


class _WrkReport(msgspec.Struct):
    requests: int
    failed: int
    broken: int
    duration_us: int
    p50_us: float
    p99_us: float


def generate(
    port: int, question: Question, connections: int, seconds: int, folder: Path
) -> ClosedLoopResults:
    """Send requests to `port` for `seconds`; a file in `folder` passes the body to wrk."""
    assert PROGRAM is not None
    body = folder / "body"
    body.write_bytes(question.body)
    headers = [
        part for name, value in question.headers.items() for part in ("-H", f"{name}: {value}")
    ]
    limits = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s"]
    url = f"http://127.0.0.1:{port}{question.path}"
    before = _children_cpu()
    done = subprocess.run(  # noqa: S603 - wrk, at our own server
        [PROGRAM, *limits, "-s", str(_SCRIPT), *headers, url],
        env={**os.environ, "COMPARE_BODY": str(body)},
        capture_output=True,
        check=True,
    )
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=_WrkReport)
    return ClosedLoopResults(
        answered=report.requests - report.failed,
        failed=report.failed + report.broken,
        seconds=report.duration_us / 1e6,
        p50_ms=report.p50_us / 1e3,
        p99_ms=report.p99_us / 1e3,
        generator_cpu_s=_children_cpu() - before,
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
