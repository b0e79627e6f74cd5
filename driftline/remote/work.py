"""Registrations, gate runs and pages of schedules as JSON between client, server and job."""

import msgspec

from registry.history.rows import HistoryRow


class RegisterWork(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Register files that were uploaded."""

    # Names of files -> SHA-256 of their uploads: one model file, or one with its external data.
    files: dict[str, str]
    manifest: dict[str, object] = {}  # fields as their author states them
    reference: str = ""  # SHA-256 of an upload
    target: str = ""
    answers: str = ""  # id of the retraining request that the version answers
    promote: bool = True  # the first version of a new model, if the key may promote


class GateWork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run the gates of a version."""

    number: str
    why: str = ""


class RemoteJob(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's work that a process of its own does."""

    model: str
    actor: str
    may_promote: bool = False
    folder: str = ""  # with the uploaded files, named by their digests
    register: RegisterWork | None = None
    gate: GateWork | None = None


class JobResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of a job."""

    kind: str = ""  # name of the error's class; "" if there is none
    error: str = ""
    number: str = ""  # number of the version
    digest: str = ""
    verdict: str = ""  # verdict of the gate run
    report: str = ""  # digest of its report
    passed: bool = True
    fault: str = ""  # traceback of an unexpected error, for the server's log alone


class JobView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a job that its caller gets."""

    id: str
    ended: bool = False
    lines: list[str] = []  # output lines after those that the caller has
    result: JobResult | None = None


class SchedulePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page of schedules; an empty `next` marks the last one."""

    rows: list[HistoryRow]  # one row for each model, in the order of the models
    next: str = ""  # `after` of the next page
