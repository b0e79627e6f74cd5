"""Webhooks that ask for approvals, due as long as their requests wait.

The registry has the requests, so the outbox is a view of them. What was sent is a file beside it,
replaced as a whole. A monitor on another machine has a file of its own and sends the same id.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from eventlog.durable_files import make_folder, replace_file
from monitoring.presenter.links import approval_path
from monitoring.results import Delivery, DisabledReceiver
from monitoring.webhooks.body import ApprovalRequest, approval_envelope
from registry.errors import RegistryError
from registry.pending_approvals import PendingApproval


class ApprovalSource(Protocol):
    """Where requests for approval are read."""

    def read(self) -> Sequence[PendingApproval]:
        """Return those that wait; raises RegistryError."""
        ...


class _Attempts(msgspec.Struct, frozen=True):
    attempts: int = 0
    next_attempt: int = 0
    ended: bool = False  # received, or given up


class _Contents(msgspec.Struct, frozen=True):
    sent: dict[str, _Attempts] = {}
    disabled: list[DisabledReceiver] = []


class ApprovalOutbox:
    """The webhooks of one machine; belongs to one thread."""

    def __init__(self, file: Path, requests: ApprovalSource, page: str) -> None:
        """`page` is the address of the status page."""
        self._file = file
        self._requests = requests
        self._page = page
        self._contents: _Contents | None = None

    def due(self, now: int) -> list[Delivery]:
        """Return what is to be sent now: each waiting request that was not received yet."""
        try:
            waiting = {_id(one): one for one in self._requests.read()}
        except RegistryError:
            return []
        found = self._read()
        sent = {name: known for name, known in found.sent.items() if name in waiting}
        if sent != found.sent:
            self._write(replace(found, sent=sent))
        return [
            self._delivery(name, one, sent.get(name, _Attempts()))
            for name, one in waiting.items()
            if not (known := sent.get(name, _Attempts())).ended and known.next_attempt <= now
        ]

    def delivered(self, webhook_id: str) -> None:
        """Note that the receiver has it."""
        self._note(webhook_id, lambda known: replace(known, ended=True))

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:  # noqa: ARG002
        """Record a failed attempt and the time of the next; None: no further attempt."""
        self._note(
            webhook_id,
            lambda known: _Attempts(known.attempts + 1, next_attempt or 0, next_attempt is None),
        )

    def disable(self, disabled: DisabledReceiver) -> None:
        """Send nothing to a receiver, until its file is removed."""
        found = self._read()
        self._write(replace(found, disabled=[*found.disabled, disabled]))

    def disabled(self) -> list[DisabledReceiver]:
        """Return the disabled receivers."""
        return self._read().disabled

    def _delivery(self, name: str, one: PendingApproval, known: _Attempts) -> Delivery:
        page = f"{self._page}{approval_path(one.model, one.number, one.alias)}"
        body = approval_envelope(name, one.requested, ApprovalRequest(approval=one, page=page))
        return Delivery(
            webhook_id=name,
            body=body,
            created=one.requested,
            attempts=known.attempts,
            next_attempt=known.next_attempt,
        )

    def _note(self, name: str, change: Callable[[_Attempts], _Attempts]) -> None:
        found = self._read()
        sent = {**found.sent, name: change(found.sent.get(name, _Attempts()))}
        self._write(replace(found, sent=sent))

    def _read(self) -> _Contents:
        if self._contents is None:
            try:
                self._contents = msgspec.json.decode(self._file.read_bytes(), type=_Contents)
            except (FileNotFoundError, msgspec.DecodeError):
                self._contents = _Contents()  # at worst, a request is sent once more
        return self._contents

    def _write(self, contents: _Contents) -> None:
        make_folder(self._file.parent)
        replace_file(self._file, msgspec.json.encode(contents))
        self._contents = contents


def _id(one: PendingApproval) -> str:
    cause = [one.model, one.alias, one.digest, one.report, one.requested]
    return f"approval_{sha256(msgspec.json.encode(cause)).hexdigest()[:32]}"
