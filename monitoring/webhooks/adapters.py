"""Translate webhooks for pipelines, Alertmanager and chats. Pure.

The outbox stores each webhook as a CloudEvents envelope. An adapter translates the envelope for
receivers that expect another format. The message depends only on the envelope, so retries are
identical.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from monitoring.presenter.request_sentence import (
    approval_sentence,
    notice_sentence,
    request_sentence,
)
from monitoring.webhooks.body import (
    AlarmNotice,
    ApprovalRequest,
    Envelope,
    WebhookData,
    read_request,
)

_encode = msgspec.json.Encoder(order="deterministic").encode


class Message(msgspec.Struct, frozen=True):
    """An HTTP message to post to a receiver."""

    body: bytes
    headers: Mapping[str, str]


class Adapter(msgspec.Struct, frozen=True):
    """The format of one kind of receiver."""

    translate: Callable[[Envelope, WebhookData], Any]  # (envelope, its data) -> body as JSON
    content_type: str = "application/json"
    accept: str = "*/*"
    known: frozenset[int] = frozenset()  # statuses of a webhook that was received before

    def message(self, body: bytes) -> Message:
        """Return the message for the receiver; `body` is a body of the outbox."""
        envelope = msgspec.json.decode(body, type=Envelope)
        translated = self.translate(envelope, read_request(body))
        body = translated if isinstance(translated, bytes) else _encode(translated)
        return Message(body, {"content-type": self.content_type, "accept": self.accept})

    def received(self, status: int) -> bool:
        """Return whether the receiver has the webhook, according to its reply's status."""
        return 200 <= status < 300 or status in self.known


def _event_type(request: WebhookData) -> str:
    if isinstance(request, ApprovalRequest):
        return "driftline-approval"
    if isinstance(request, AlarmNotice):
        return "driftline-alarm"
    return "driftline-retrain" if request else "driftline-trial"


def _sentence(request: WebhookData) -> str:
    if isinstance(request, ApprovalRequest):
        return approval_sentence(request.approval, request.page)
    if isinstance(request, AlarmNotice):
        return notice_sentence(request.alarm, request.page)
    return request_sentence(request)


def _github(envelope: Envelope, request: WebhookData) -> Any:
    """Return the body for /repos/{owner}/{repo}/dispatches."""
    return {
        "event_type": _event_type(request),
        "client_payload": {"webhook_id": envelope.id, "request": envelope.data},
    }


def _airflow(envelope: Envelope, _: WebhookData) -> dict[str, Any]:
    """Return the body for /api/v1/dags/{dag}/dagRuns; Airflow replies 409 to a repeated run id."""
    return {"dag_run_id": envelope.id, "conf": {"webhook_id": envelope.id, "data": envelope.data}}


def _airflow3(envelope: Envelope, request: WebhookData) -> Any:
    """Return the body for /api/v2/dags/{dag}/dagRuns, which requires a `logical_date`."""
    return _airflow(envelope, request) | {"logical_date": None}


def _argo(envelope: Envelope, _: WebhookData) -> Any:
    """Return the body for Argo's /api/v1/events/{namespace}/{discriminator}."""
    return envelope


def _prefect(envelope: Envelope, request: WebhookData) -> dict[str, Any]:
    """Return the body for /deployments/{id}/create_flow_run; a repeated key starts no new run."""
    parameters = _airflow(envelope, request)["conf"]
    return {"idempotency_key": envelope.id, "name": envelope.id, "parameters": parameters}


def _dagster(envelope: Envelope, request: WebhookData) -> dict[str, Any]:
    """Return the body for /report_asset_materialization/{asset_key}; asset sensors start runs."""
    metadata = _airflow(envelope, request)["conf"]
    return {"data_version": envelope.id, "description": _sentence(request), "metadata": metadata}


def _alertmanager(envelope: Envelope, request: WebhookData) -> Any:
    """Return the body for /api/v2/alerts."""
    labels = {"alertname": "DriftlineTrial"}
    if isinstance(request, ApprovalRequest):
        approval = request.approval
        labels = {
            "alertname": "DriftlineApprovalRequested",
            "model": approval.model,
            "version": approval.number,
            "alias": approval.alias,
        }
    elif isinstance(request, AlarmNotice):
        alarm = request.alarm
        labels = {
            "alertname": "DriftlineAlarm",
            "model": alarm.model,
            "version": alarm.version,
            "rule": alarm.rule,
            "alarm_id": alarm.alarm_id,
        }
    elif request is not None:
        labels = {
            "alertname": "DriftlineRetrain",
            "model": request.model,
            "version": request.version,
            "rule": request.rule,
            **({"alarm_id": request.alarm_id} if request.alarm_id else {}),
        }
    annotations = {"summary": _sentence(request), "webhook_id": envelope.id}
    return [{"labels": labels, "annotations": annotations, "startsAt": envelope.time}]


def _slack(_: Envelope, request: WebhookData) -> Any:
    """Return the body for an incoming webhook of Slack or Mattermost."""
    return {"text": _sentence(request)}


def _cloudevents(envelope: Envelope, _: WebhookData) -> Any:
    return _encode(envelope)


ADAPTERS = {
    "cloudevents": Adapter(_cloudevents, "application/cloudevents+json"),
    "github": Adapter(_github, accept="application/vnd.github+json"),
    "airflow": Adapter(_airflow, known=frozenset({409})),
    "airflow3": Adapter(_airflow3, known=frozenset({409})),
    "argo": Adapter(_argo),
    "prefect": Adapter(_prefect),
    "dagster": Adapter(_dagster),
    "alertmanager": Adapter(_alertmanager),
    "slack": Adapter(_slack),
}
