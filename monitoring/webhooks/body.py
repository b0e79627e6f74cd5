"""Build and read the body of a webhook: a CloudEvents 1.0 envelope.

The body is built once, stored in the outbox and signed unchanged, so every retry is identical.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from monitoring.results import Alarm, RetrainRequest
from registry.pending_approvals import PendingApproval

SOURCE = "/driftline/monitoring"
RETRAIN_REQUESTED = "driftline.retrain.requested.v1"
APPROVAL_REQUESTED = "driftline.approval.requested.v1"
ALARM_FIRED = "driftline.alarm.fired.v1"
TRIAL = "driftline.webhook.trial.v1"

_encode = msgspec.json.Encoder(order="deterministic").encode


class Envelope(msgspec.Struct, frozen=True):
    """CloudEvents 1.0, structured mode."""

    specversion: str
    id: str  # webhook id, the same for every retry, so that the receiver can ignore repetitions
    source: str
    type: str
    time: str  # RFC 3339
    datacontenttype: str
    data: msgspec.Raw


def envelope(webhook_id: str, created: int, request: RetrainRequest) -> bytes:
    """Build the body of a retraining request; `created` is in microseconds since the Unix epoch."""
    return _wrap(webhook_id, created, RETRAIN_REQUESTED, request)


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A pending request for approval, and the address of its page."""

    approval: PendingApproval
    page: str


def approval_envelope(webhook_id: str, created: int, request: ApprovalRequest) -> bytes:
    """Build the body that asks for approval; `created` is in microseconds since the Unix epoch."""
    return _wrap(webhook_id, created, APPROVAL_REQUESTED, request)


class AlarmNotice(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that requests no retraining, and the address of its page."""

    alarm: Alarm
    page: str


def alarm_envelope(webhook_id: str, created: int, notice: AlarmNotice) -> bytes:
    """Build the body that reports an alarm; `created` is in microseconds since the Unix epoch."""
    return _wrap(webhook_id, created, ALARM_FIRED, notice)


WebhookData = RetrainRequest | ApprovalRequest | AlarmNotice | None  # None for a trial


def trial(webhook_id: str, created: int) -> bytes:
    """Build the body of a trial webhook, which checks the address and the secret."""
    return _wrap(webhook_id, created, TRIAL, {"message": "A trial. No action is needed."})


def read_retrain_request(body: bytes) -> RetrainRequest | None:
    """Return the retraining request in a body; None if the body has another type or is damaged."""
    try:
        opened = msgspec.json.decode(body, type=Envelope)
        if opened.type != RETRAIN_REQUESTED:
            return None
        return msgspec.json.decode(opened.data, type=RetrainRequest)
    except msgspec.DecodeError:
        return None


def read_request(body: bytes) -> WebhookData:
    """Return the request or notice in a body; None for a trial or a damaged body."""
    try:
        opened = msgspec.json.decode(body, type=Envelope)
        if opened.type == ALARM_FIRED:
            return msgspec.json.decode(opened.data, type=AlarmNotice)
        if opened.type == APPROVAL_REQUESTED:
            return msgspec.json.decode(opened.data, type=ApprovalRequest)
    except msgspec.DecodeError:
        return None
    return read_retrain_request(body)


def _wrap(webhook_id: str, created: int, kind: str, data: Any) -> bytes:
    return _encode(
        Envelope(
            specversion="1.0",
            id=webhook_id,
            source=SOURCE,
            type=kind,
            time=datetime.fromtimestamp(created / 1e6, UTC).isoformat().replace("+00:00", "Z"),
            datacontenttype="application/json",
            data=msgspec.Raw(_encode(data)),
        )
    )
