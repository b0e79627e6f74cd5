"""The JSON messages between client, registry server and job process."""

import msgspec

from registry.history.rows import HistoryRow


class RegisterWork(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The registration of uploaded files."""

    # SHA-256 of each uploaded file by name: the model file and any external data.
    files: dict[str, str]
    manifest: dict[str, object] = {}  # stated manifest fields, before inference
    reference: str = ""  # SHA-256 of the uploaded reference, "" without a reference
    target: str = ""
    answers: str = ""  # id of the retraining request that the version answers
    promote: bool = True  # whether to promote a model's first version, if the key allows it


class GateWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of a version's gates."""

    number: str
    why: str = ""


class RemoteJob(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a job process, with its caller."""

    model: str
    actor: str
    may_promote: bool = False
    folder: str = ""  # folder of the uploaded files, which are named by their digests
    register: RegisterWork | None = None
    gate: GateWork | None = None


class JobResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a job."""

    kind: str = ""  # name of the error's class, "" without an error
    error: str = ""
    number: str = ""  # number of the version
    digest: str = ""
    verdict: str = ""  # verdict of the gate run
    report: str = ""  # digest of the gate report
    passed: bool = True
    fault: str = ""  # traceback of an unexpected error, only for the server's log


class JobView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a job, as returned to its caller."""

    id: str
    ended: bool = False
    lines: list[str] = []  # output lines that the caller does not have yet
    result: JobResult | None = None


class SchedulePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page of schedules."""

    rows: list[HistoryRow]  # one row per model, sorted by model
    next: str = ""  # query parameter `after` of the next page, "" on the last page
