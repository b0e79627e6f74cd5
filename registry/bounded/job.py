"""The messages between a registration, the server of checks, and a check."""

import errno
from pathlib import Path
from typing import Any

import msgspec

ONNX, REFERENCE, REQUEST = "given.onnx", "given.reference", "request.msgpack"
OUTCOME, STAGE = "outcome.json", "stage"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # exit statuses of a check whose disk is full
NO_MEMORY = errno.ENOMEM  # exit status of a check without memory to write its outcome


class CheckJob(msgspec.Struct, frozen=True):
    """One check, for the server."""

    folder: str  # with the given files; the results go there
    memory: int  # bytes of data; 0: no limit
    seconds: float


class CheckStatus(msgspec.Struct, frozen=True):
    """The exit of a check's process."""

    status: int | None  # exit status as os.waitpid returns it; None: timed out


class CheckRequest(msgspec.Struct, frozen=True):
    """A request to check the files in a folder."""

    fields: dict[str, Any] = {}  # fields of the manifest
    has_reference: bool = False
    target: str = ""
    infer_only: bool = False  # stop before trial runs and the reference's answers


class CheckOutcome(msgspec.Struct, frozen=True):
    """The reason why a check refused the files; empty if it did not."""

    kind: str = ""  # name of a class of registry.errors
    text: str = ""


def note_stage(folder: Path, stage: str) -> None:
    """Record the current step of the check, in case the process dies in it."""
    (folder / STAGE).write_text(stage)
