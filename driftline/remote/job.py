"""`python -m driftline.remote.job FOLDER`: one registration or gate run for a registry server.

The process reads the job as JSON from standard input, prints lines for the caller, and writes its
result to a file in the folder.
"""

import os
import sys
import tempfile
import traceback
from pathlib import Path

import msgspec

from driftline.local_actor import Actor
from driftline.remote.work import GateWork, JobResult, RegisterWork, RemoteJob
from eventlog.errors import DriftlineError
from eventlog.parent_death import end_with_parent
from eventlog.settings import Home

RESULT = "result.json"


def main() -> None:
    """Run the job and write its result."""
    end_with_parent()
    folder = Path(sys.argv[1])
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=RemoteJob)
    try:
        result = _run(job, folder)
    except DriftlineError as error:
        result = JobResult(kind=type(error).__name__, error=str(error), passed=False)
    except Exception:  # noqa: BLE001  # the caller must not see a traceback
        message = "the job failed; see the server's log"
        fault = traceback.format_exc()
        result = JobResult(kind="Fault", error=message, passed=False, fault=fault)
    sys.stdout.flush()
    (folder / RESULT).write_bytes(msgspec.json.encode(result))


def _run(job: RemoteJob, folder: Path) -> JobResult:
    if job.register is not None:
        return _register(job, job.register, folder)
    assert job.gate is not None
    return _gate(job, job.gate)


def _register(job: RemoteJob, work: RegisterWork, folder: Path) -> JobResult:
    from driftline.printed_registration import register_and_print  # noqa: PLC0415 - takes seconds to import

    uploads = Path(job.folder)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for name, digest in work.files.items():
            (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(uploads / digest, Path(place) / name)
        files = list(work.files)
        version = register_and_print(
            Home.from_environment(),
            job.model,
            Path(place) / files[0] if len(files) == 1 else Path(place),
            manifest=work.manifest,
            reference=uploads / work.reference if work.reference else None,
            target=work.target,
            actor=Actor(job.actor, may_promote=job.may_promote),
            promote=work.promote,
            answers=work.answers,
        )
    return JobResult(number=version.number, digest=version.digest)


def _gate(job: RemoteJob, work: GateWork) -> JobResult:
    from driftline.gates.printed_run import run_and_print  # noqa: PLC0415 - takes seconds to import
    from registry.settings import open_history  # noqa: PLC0415

    home = Home.from_environment()
    number = open_history(home).aliases(job.model).get(work.number, work.number)
    run = run_and_print(home, job.model, number, work.why, job.actor, here=False)
    return JobResult(
        number=number,
        digest=run.report.digest,
        verdict=run.report.verdict,
        report=run.digest,
        passed=run.report.verdict == "passed" and not run.stale,
    )


if __name__ == "__main__":
    main()
