"""Check the files of a registration in a process with limits; the caller's side."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from registry import errors
from registry.bounded.bounds import Bounds, bounds_of
from registry.bounded.job import (
    FULL,
    NO_MEMORY,
    ONNX,
    OUTCOME,
    REFERENCE,
    REQUEST,
    STAGE,
    CheckJob,
    CheckOutcome,
    CheckRequest,
    CheckStatus,
)
from registry.errors import (
    InvalidManifest,
    InvalidModel,
    InvalidReference,
    RegistryError,
    RegistryUnavailable,
)
from registry.manifest_file import to_manifest
from registry.stored_files import data_size

# -P prevents a folder registry/ in the current folder from shadowing this package.
COMMAND = (sys.executable, "-P", "-m", "registry.bounded.server")
_LACKS_MEMORY = re.compile(r"bad_alloc|malloc of size|[Uu]nable to allocate|allocate memory")
_SECRETS = ("DRIFTLINE_", "AWS_", "AZURE_", "GOOGLE_", "PG")  # variables withheld from checks


class _Server:
    """The check server of this process; starts with the first check, stops with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def run(self, job: CheckJob) -> int | None:
        """Run a check; return its wait status, or None if it took too long."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BaseException as error:  # on Ctrl-C, the running check must stop too
                self._end(process)
                if isinstance(error, OSError):
                    raise RegistryError("the process that checks files has ended") from None
                raise
            if not line:
                self._end(process)
                raise RegistryError("the process that checks files has ended")
        return msgspec.json.decode(line, type=CheckStatus).status

    def _started(self) -> subprocess.Popen[bytes]:
        running = self._process is not None and self._process.poll() is None
        if self._process is None or not running or self._pid != os.getpid():
            self._pid = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(_SECRETS)
                },
            )
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        process.kill()
        process.wait()


check_server = _Server()


def read_reference(reference: Path | bytes) -> bytes:
    """Return the bytes of a reference; raises InvalidReference if the file cannot be read."""
    if isinstance(reference, bytes):
        return reference
    try:
        return reference.read_bytes()
    except OSError as error:
        raise InvalidReference(f"cannot read {reference}: {error.strerror}") from None


def check_in_process(  # noqa: PLR0913  # files and options of a check
    folder: Path,
    onnx: bytes,
    fields: Mapping[str, Any],
    reference: bytes | None = None,
    *,
    target: str = "",
    infer_only: bool = False,
) -> None:
    """Check files in a process with limits; the process writes the version's files to `folder`.

    The folder is empty or contains the model's external data. `fields` are the manifest's fields as
    its author states them. Raises a RegistryError if the files have a fault or exceed the limits.
    """
    to_manifest(fields)  # refuse an invalid manifest before the process starts
    bounds = bounds_of(len(onnx) + len(reference or b"") + data_size(folder))
    request = CheckRequest(dict(fields), reference is not None, target, infer_only)
    try:
        (folder / ONNX).write_bytes(onnx)
        if reference is not None:
            (folder / REFERENCE).write_bytes(reference)
        (folder / REQUEST).write_bytes(_encoded(request))
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from None
    status = check_server.run(CheckJob(str(folder), bounds.memory, bounds.seconds))
    _require_passed(folder, status, bounds)


def _unwritable(folder: Path, reason: str) -> RegistryUnavailable:
    return RegistryUnavailable(f"{folder.parent} cannot be written: {reason}")


def _encoded(request: CheckRequest) -> bytes:
    try:
        return msgspec.msgpack.encode(request)
    except TypeError as error:
        raise InvalidManifest(f"the manifest contains an unsupported value: {error}") from None


def _require_passed(folder: Path, status: int | None, bounds: Bounds) -> None:
    stage = _read(folder / STAGE).decode() or "starting"
    kind = InvalidReference if "reference" in stage else InvalidModel
    if status is None:
        raise kind(
            f"{stage} took longer than {bounds.seconds:.0f} s and was stopped; "
            "DRIFTLINE_REGISTER_SECONDS sets the limit"
        )
    outcome = _outcome(folder)
    lacking = (
        f"{stage} needs more than {bounds.memory / 2**30:.1f} GiB; DRIFTLINE_REGISTER_MEMORY "
        "sets the limit"
    )
    if outcome is None:
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) in FULL:
            raise _unwritable(folder, os.strerror(os.WEXITSTATUS(status)))
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == NO_MEMORY:
            raise kind(lacking)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) not in {signal.SIGABRT, signal.SIGKILL}:
            name = signal.strsignal(os.WTERMSIG(status))
            raise kind(f"{stage} ended the process that checks it: {name}")
        if os.WIFEXITED(status):
            raise kind(f"{stage} ended the process that checks it: status {os.WEXITSTATUS(status)}")
        raise kind(f"{stage} ended the process that checks it; perhaps {lacking}")
    if outcome.kind == "MemoryError" or (bounds.memory and _LACKS_MEMORY.search(outcome.text)):
        raise kind(lacking)
    if outcome.kind:
        error_class = getattr(errors, outcome.kind, RegistryError)
        raise error_class(outcome.text)


def _outcome(folder: Path) -> CheckOutcome | None:
    try:
        return msgspec.json.decode(_read(folder / OUTCOME), type=CheckOutcome)
    except msgspec.DecodeError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
