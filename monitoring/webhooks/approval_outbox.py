"""Outbox of webhooks that ask for approvals, due as long as their requests are pending.

The outbox is computed from the registry's pending requests. A file lists the webhooks that were
sent; every change replaces the whole file. A monitor on another machine has a separate file and
sends webhooks with the same ids.
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
    """Interface for reading requests for approval."""

    def read(self) -> Sequence[PendingApproval]:
        """Return the pending requests.

        Raises:
            RegistryError: the registry cannot be read.
        """
        ...


class _Attempts(msgspec.Struct, frozen=True):
    attempts: int = 0  # number of failed attempts
    next_attempt: int = 0  # time in microseconds since the Unix epoch
    ended: bool = False  # whether the webhook was received or given up


class _Contents(msgspec.Struct, frozen=True):
    sent: dict[str, _Attempts] = {}  # webhook id -> attempts
    disabled: list[DisabledReceiver] = []


class ApprovalOutbox:
    """The approval webhooks of one machine; not thread-safe."""

    def __init__(self, file: Path, requests: ApprovalSource, page: str) -> None:
        """`file` lists the sent webhooks; `page` is the address of the status page."""
        self._file = file
        self._requests = requests
        self._page = page
        self._contents: _Contents | None = None

    def due(self, now: int) -> list[Delivery]:
        """Return the webhooks to send now: pending requests that are not delivered yet."""
        try:
            pending = {_id(approval): approval for approval in self._requests.read()}
        except RegistryError:
            return []
        outbox = self._read()
        sent = {name: attempts for name, attempts in outbox.sent.items() if name in pending}
        if sent != outbox.sent:
            self._write(replace(outbox, sent=sent))
        return [
            self._delivery(name, approval, sent.get(name, _Attempts()))
            for name, approval in pending.items()
            if not (state := sent.get(name, _Attempts())).ended and state.next_attempt <= now
        ]

    def delivered(self, webhook_id: str) -> None:
        """Record that the receiver accepted a webhook."""
        self._update(webhook_id, lambda attempts: replace(attempts, ended=True))

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:  # noqa: ARG002
        """Record a failed attempt; `next_attempt` is None if no further attempt is made."""
        self._update(
            webhook_id,
            lambda attempts: _Attempts(
                attempts.attempts + 1, next_attempt or 0, next_attempt is None
            ),
        )

    def disable(self, disabled: DisabledReceiver) -> None:
        """Disable a receiver until the outbox's file is removed."""
        outbox = self._read()
        self._write(replace(outbox, disabled=[*outbox.disabled, disabled]))

    def disabled(self) -> list[DisabledReceiver]:
        """Return the disabled receivers."""
        return self._read().disabled

    def _delivery(self, name: str, approval: PendingApproval, attempts: _Attempts) -> Delivery:
        page = f"{self._page}{approval_path(approval.model, approval.number, approval.alias)}"
        body = approval_envelope(
            name, approval.requested, ApprovalRequest(approval=approval, page=page)
        )
        return Delivery(
            webhook_id=name,
            body=body,
            created=approval.requested,
            attempts=attempts.attempts,
            next_attempt=attempts.next_attempt,
        )

    def _update(self, name: str, change: Callable[[_Attempts], _Attempts]) -> None:
        outbox = self._read()
        sent = {**outbox.sent, name: change(outbox.sent.get(name, _Attempts()))}
        self._write(replace(outbox, sent=sent))

    def _read(self) -> _Contents:
        if self._contents is None:
            try:
                self._contents = msgspec.json.decode(self._file.read_bytes(), type=_Contents)
            except (FileNotFoundError, msgspec.DecodeError):
                self._contents = _Contents()  # pending webhooks may be sent a second time
        return self._contents

    def _write(self, contents: _Contents) -> None:
        make_folder(self._file.parent)
        replace_file(self._file, msgspec.json.encode(contents))
        self._contents = contents


def _id(approval: PendingApproval) -> str:
    cause = [approval.model, approval.alias, approval.digest, approval.report, approval.requested]
    return f"approval_{sha256(msgspec.json.encode(cause)).hexdigest()[:32]}"
