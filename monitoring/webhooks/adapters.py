"""Translate webhooks for GitHub, Airflow, Alertmanager and chats. Pure.

The outbox holds one body, a CloudEvents envelope; an adapter translates it for a receiver that
expects another format. The message depends on the envelope alone, so retries are identical.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from monitoring.presenter.request_sentence import approval_sentence, request_sentence
from monitoring.results import RetrainRequest
from monitoring.webhooks.body import ApprovalRequest, Envelope, read_request

Asked = RetrainRequest | ApprovalRequest | None  # None for a trial
_encode = msgspec.json.Encoder(order="deterministic").encode


class Message(msgspec.Struct, frozen=True):
    """What is posted."""

    body: bytes
    headers: Mapping[str, str]


class Adapter(msgspec.Struct, frozen=True):
    """The format of one kind of receiver."""

    translate: Callable[[Envelope, Asked], Any]  # None for a trial
    content_type: str = "application/json"
    accept: str = "*/*"
    known: frozenset[int] = frozenset()  # statuses that mean: received before

    def message(self, body: bytes) -> Message:
        """The receiver's own form of a body of the outbox."""
        envelope = msgspec.json.decode(body, type=Envelope)
        translated = self.translate(envelope, read_request(body))
        body = translated if isinstance(translated, bytes) else _encode(translated)
        return Message(body, {"content-type": self.content_type, "accept": self.accept})

    def received(self, status: int) -> bool:
        """Whether this status means that the receiver has the webhook."""
        return 200 <= status < 300 or status in self.known


def _event_type(request: Asked) -> str:
    if isinstance(request, ApprovalRequest):
        return "driftline-approval"
    return "driftline-retrain" if request else "driftline-trial"


def _sentence(request: Asked) -> str:
    if isinstance(request, ApprovalRequest):
        return approval_sentence(request.approval, request.page)
    return request_sentence(request)


def _github(envelope: Envelope, request: Asked) -> Any:
    """For POST /repos/{owner}/{repo}/dispatches."""
    return {
        "event_type": _event_type(request),
        "client_payload": {"webhook_id": envelope.id, "request": envelope.data},
    }


def _airflow(envelope: Envelope, _: Asked) -> dict[str, Any]:
    """For POST /api/v1/dags/{dag}/dagRuns; its run id makes a repetition a conflict."""
    return {"dag_run_id": envelope.id, "conf": {"webhook_id": envelope.id, "data": envelope.data}}


def _airflow3(envelope: Envelope, request: Asked) -> Any:
    """For POST /api/v2/dags/{dag}/dagRuns, which requires a `logical_date`; null: none."""
    return _airflow(envelope, request) | {"logical_date": None}


def _alertmanager(envelope: Envelope, request: Asked) -> Any:
    """For POST /api/v2/alerts."""
    labels = {"alertname": "DriftlineTrial"}
    if isinstance(request, ApprovalRequest):
        asked = request.approval
        labels = {
            "alertname": "DriftlineApprovalRequested",
            "model": asked.model,
            "version": asked.number,
            "alias": asked.alias,
        }
    elif request is not None:
        labels = {
            "alertname": "DriftlineRetrain",
            "model": request.model,
            "version": request.version,
            "rule": request.rule,
            "alarm_id": request.alarm_id,
        }
    annotations = {"summary": _sentence(request), "webhook_id": envelope.id}
    return [{"labels": labels, "annotations": annotations, "startsAt": envelope.time}]


def _slack(_: Envelope, request: Asked) -> Any:
    """For an incoming webhook of Slack or Mattermost."""
    return {"text": _sentence(request)}


def _as_it_is(envelope: Envelope, _: Asked) -> Any:
    return _encode(envelope)


ADAPTERS = {
    "cloudevents": Adapter(_as_it_is, "application/cloudevents+json"),
    "github": Adapter(_github, accept="application/vnd.github+json"),
    "airflow": Adapter(_airflow, known=frozenset({409})),
    "airflow3": Adapter(_airflow3, known=frozenset({409})),
    "alertmanager": Adapter(_alertmanager),
    "slack": Adapter(_slack),
}
