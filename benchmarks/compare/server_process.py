"""Start a server, wait until it responds, measure its CPU, and stop it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.compare.contenders import Contender, environ
from benchmarks.compare.models import Subject
from benchmarks.compare.requests import Question
from eventlog.settings import Home

_START = 90.0  # seconds until a server must respond
_STOP = 15.0  # seconds from SIGTERM to SIGKILL


class Server:
    """Port, request and processes of a running server."""

    def __init__(self, port: int, question: Question, process: psutil.Process) -> None:
        self.port = port
        self.question = question
        self._process = process

    def cpu(self) -> float:
        """Return the CPU seconds of the server and its child processes so far."""
        family = [self._process, *self._process.children(recursive=True)]
        return float(sum(sum(process.cpu_times()[:2]) for process in family))


@contextmanager
def running(contender: Contender, subject: Subject, folder: Path) -> Iterator[Server]:
    """Run the contender with the subject on a free port until the block ends.

    Empties `folder` first. Raises RuntimeError with the server's output if it does not respond.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = _free_port()
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - the contenders of this comparison
            contender.command(port, subject, folder),
            env=environ(contender, subject),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        question = contender.question(subject)
        _await_answer(process, port, question, contender.name, output)
        yield Server(port, question, psutil.Process(process.pid))
    finally:
        _end(process)
        shutil.rmtree(Home.from_environment().log, ignore_errors=True)


def _await_answer(
    process: subprocess.Popen[bytes], port: int, question: Question, name: str, output: Path
) -> None:
    deadline = time.monotonic() + _START
    while True:
        try:
            question.ask(port)
        except ConnectionError as error:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            log = output.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{name} does not respond: {error}; its output:\n{log}") from None
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, then SIGKILL to the remaining processes of the server's session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
