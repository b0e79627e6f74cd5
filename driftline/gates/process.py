"""Start the process that runs gates, limit its time, and collect the outcomes.

A gate that hangs, crashes or is killed has failed; the remaining gates run in a new process. The
process and its children are killed when this process ends.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from driftline.gates.context import GateJob, GateMessage
from eventlog.parent_death import child_environment
from registry.gates.outcomes import GateOutcome
from registry.gates.specification import Gate, kind_of

# -P, because a folder registry/ in the current folder must not shadow Driftline's package.
COMMAND = (sys.executable, "-P", "-m", "driftline.gates")
_START_S = 180.0  # seconds for the imports of a new process
_CHUNK = 1 << 16


class _Stopped(Exception):
    """The process returned no outcome; the message states the reason."""


def run_gates(
    job: GateJob,
    gates: Mapping[str, Gate],
    progress: Callable[[str, str], None],
    command: tuple[str, ...] = COMMAND,
) -> Iterator[GateOutcome]:
    """Yield the outcome of each gate in order; `progress` is called with gate name and text."""
    waiting = list(gates)
    while waiting:
        waiting_gates = {name: job.gates[name] for name in waiting}
        with _Process(
            command, replace(job, gates=waiting_gates), Path(job.folder) / "gate.log"
        ) as process:
            while waiting:
                name = waiting.pop(0)
                gate = gates[name]
                began = time.monotonic()
                try:
                    outcome = process.outcome(gate.seconds, lambda text: progress(name, text))  # noqa: B023
                except _Stopped as stopped:
                    outcome = GateOutcome(name, kind_of(gate), "failed", str(stopped))
                seconds = round(time.monotonic() - began, 3)
                yield replace(outcome, name=name, blocking=gate.blocking, seconds=seconds)
                if process.stopped:
                    break


class _Process:
    def __init__(self, command: tuple[str, ...], job: GateJob, log: Path) -> None:
        self._log = log
        self._buffer = b""
        self._started = False
        self.stopped = False
        with log.open("wb") as file:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of Driftline
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**child_environment(), "DO_NOT_TRACK": "1"},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(msgspec.json.encode(job))

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def outcome(self, seconds: float, progress: Callable[[str], None]) -> GateOutcome:
        """Return the next outcome; raises _Stopped after `seconds`, or if the process exits."""
        if not self._started:
            self._next(time.monotonic() + _START_S, _START_S)
            self._started = True
        deadline = time.monotonic() + seconds
        while True:
            message = self._next(deadline, seconds)
            if message.outcome is not None:
                return message.outcome
            progress(message.progress)

    def _next(self, deadline: float, seconds: float) -> GateMessage:
        while b"\n" not in self._buffer:
            self._read(deadline, seconds)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=GateMessage)
        except msgspec.DecodeError as error:
            raise self._stop(f"its process wrote an invalid message: {error}") from None

    def _read(self, deadline: float, seconds: float) -> None:
        stream = self._process.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise self._stop(f"it did not finish within {seconds:g} seconds")
        chunk = os.read(stream.fileno(), _CHUNK)
        if not chunk:
            status = self._process.wait()
            raise self._stop(f"its process {_exit_text(status)}{self._last_line()}")
        self._buffer += chunk

    def _stop(self, reason: str) -> _Stopped:
        self._kill()
        self.stopped = True
        return _Stopped(reason)

    def _kill(self) -> None:
        """Kill the process group of the process, which includes its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""


def _exit_text(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"
