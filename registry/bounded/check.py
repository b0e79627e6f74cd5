"""Check the files of a registration in a bounded process, from the caller's side."""

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

# -P: a registry/ in the current folder must not shadow our package.
COMMAND = (sys.executable, "-P", "-m", "registry.bounded.server")
_LACKS_MEMORY = re.compile(r"bad_alloc|malloc of size|[Uu]nable to allocate|allocate memory")
_KEYS = ("DRIFTLINE_", "AWS_", "AZURE_", "GOOGLE_", "PG")  # variables that a check must not have


class _Server:
    """The server of this process; it starts with the first check and ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def run(self, job: CheckJob) -> int | None:
        """Return the wait status of a check, None if it took too long."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BaseException as error:  # Ctrl-C too: the check under way ends with its server
                self._end(process)
                if isinstance(error, OSError):
                    raise RegistryError("the process of checks has ended") from None
                raise
            if not line:
                self._end(process)
                raise RegistryError("the process of checks has ended")
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
                    name: value for name, value in os.environ.items() if not name.startswith(_KEYS)
                },
            )
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        process.kill()
        process.wait()


check_server = _Server()


def read_reference(reference: Path | bytes) -> bytes:
    """Return the bytes of a reference; raises InvalidReference for a file that cannot be read."""
    if isinstance(reference, bytes):
        return reference
    try:
        return reference.read_bytes()
    except OSError as error:
        raise InvalidReference(f"cannot read {reference}: {error.strerror}") from None


def check_in_process(  # noqa: PLR0913  # what is checked, and how
    folder: Path,
    onnx: bytes,
    fields: Mapping[str, Any],
    reference: bytes | None = None,
    *,
    target: str = "",
    infer_only: bool = False,
) -> None:
    """Check files in a bounded process, which writes the version's files to a folder.

    The folder is empty, or holds the data of the model.
    `fields` are a manifest's, as its author states them. Raises a RegistryError that names the
    fault: of the files, or that they take too much.
    """
    to_manifest(fields)  # refuses what it must before it is sent
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
        raise InvalidManifest(f"the manifest holds a value that no manifest has: {error}") from None


def _require_passed(folder: Path, status: int | None, bounds: Bounds) -> None:
    stage = _read(folder / STAGE).decode() or "starting"
    kind = InvalidReference if "reference" in stage else InvalidModel
    if status is None:
        raise kind(
            f"{stage} took longer than {bounds.seconds:.0f} s, and was stopped; "
            "DRIFTLINE_REGISTER_SECONDS allows more"
        )
    outcome = _outcome(folder)
    lacking = (
        f"{stage} needs more than {bounds.memory / 2**30:.1f} GiB; DRIFTLINE_REGISTER_MEMORY "
        "allows more"
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
