"""The messages between a registration, the check server, and a check."""

import errno
from pathlib import Path
from typing import Any

import msgspec

ONNX, REFERENCE, REQUEST = "given.onnx", "given.reference", "request.msgpack"
OUTCOME, STAGE = "outcome.json", "stage"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # exit statuses of a check on a full disk
NO_MEMORY = errno.ENOMEM  # exit status of a check that has no memory to write its outcome


class CheckJob(msgspec.Struct, frozen=True):
    """One check, as sent to the server."""

    folder: str  # contains the files to check; the check writes its results there
    memory: int  # limit in bytes; 0 for no limit
    seconds: float


class CheckStatus(msgspec.Struct, frozen=True):
    """The exit of a check's process."""

    status: int | None  # status from os.waitpid; None if the check took too long


class CheckRequest(msgspec.Struct, frozen=True):
    """A request to check the files in a folder."""

    fields: dict[str, Any] = {}  # fields of the manifest
    has_reference: bool = False
    target: str = ""
    infer_only: bool = False  # skip the trial runs and the predictions for the reference


class CheckOutcome(msgspec.Struct, frozen=True):
    """The reason why a check refused the files; empty if it accepted them."""

    kind: str = ""  # name of a class in registry.errors
    text: str = ""


def note_stage(folder: Path, stage: str) -> None:
    """Record the current step of the check, for the error message if the process is killed."""
    (folder / STAGE).write_text(stage)
