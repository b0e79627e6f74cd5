"""Webhooks posted in the formats of GitHub, Airflow, Alertmanager, Slack and others."""

import base64
from typing import Any

import msgspec
import pytest

from monitoring.results import RetrainRequest, Window
from monitoring.settings import MonitorSettings
from monitoring.webhooks.adapters import ADAPTERS
from monitoring.webhooks.body import envelope, trial
from monitoring.webhooks.delivery import Receiver

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
REQUEST = RetrainRequest(
    model="flights",
    version="3",
    digest="d",
    alarm_id="al_1",
    rule="drift",
    reason="7 of 20 columns drifted.",
    columns=[],
    window=Window(0, 1),
    positions={},
    rows_url="http://monitor/rows",
    register_hint="driftline register",
)
BODY = envelope("rr_1", 1_372_636_800_000_000, REQUEST)


async def _posted(
    letterbox: Any, body: bytes = BODY, **settings: str
) -> tuple[dict[str, str], Any]:
    receiver = Receiver.configured(
        MonitorSettings(webhook_url=letterbox.url, webhook_allowed_hosts="127.0.0.1", **settings)
    )
    assert receiver is not None
    answer = await receiver.post("rr_1", body, 1_372_636_800_000_000)
    assert receiver.received(answer)
    ((headers, sent),) = letterbox.received
    return headers, msgspec.json.decode(sent)


async def test_github_gets_a_repository_dispatch(letterbox: Any) -> None:
    headers, message = await _posted(letterbox, webhook_format="github", webhook_token="t0ken")
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["accept"] == "application/vnd.github+json"
    assert "webhook-signature" not in headers
    assert message["event_type"] == "driftline-retrain"
    assert len(message["client_payload"]) <= 10
    assert message["client_payload"]["request"]["rows_url"] == "http://monitor/rows"


async def test_airflow_conflict_counts_as_delivered(letterbox: Any) -> None:
    letterbox.status = 409
    _, message = await _posted(letterbox, webhook_format="airflow")
    assert message["dag_run_id"] == "rr_1"
    assert message["conf"]["data"]["model"] == "flights"


async def test_airflow_3_gets_no_logical_date(
    letterbox: Any,
) -> None:
    _, message = await _posted(letterbox, webhook_format="airflow3")
    assert message["logical_date"] is None
    assert message["dag_run_id"] == "rr_1"


async def test_prefect_gets_an_idempotency_key(letterbox: Any) -> None:
    letterbox.status = 200
    headers, message = await _posted(letterbox, webhook_format="prefect", webhook_token="t0ken")
    assert headers["authorization"] == "Bearer t0ken"
    # Prefect refuses fields that its model of a flow run does not have.
    assert set(message) == {"idempotency_key", "name", "parameters"}
    assert message["idempotency_key"] == message["parameters"]["webhook_id"] == "rr_1"
    assert message["parameters"]["data"]["model"] == "flights"


async def test_argo_gets_the_event_as_plain_json(letterbox: Any) -> None:
    headers, message = await _posted(letterbox, webhook_format="argo")
    assert headers["content-type"] == "application/json"
    assert message == msgspec.json.decode(BODY)


async def test_dagster_gets_a_materialization_with_the_request(letterbox: Any) -> None:
    headers, message = await _posted(letterbox, webhook_format="dagster")
    assert headers["content-type"] == "application/json"  # Dagster accepts nothing else
    assert set(message) <= {"data_version", "description", "metadata", "partition"}
    assert message["metadata"]["webhook_id"] == message["data_version"] == "rr_1"
    assert message["metadata"]["data"]["rows_url"] == "http://monitor/rows"


async def test_alertmanager_gets_an_alert_with_labels_to_route_by(letterbox: Any) -> None:
    _, (alert,) = await _posted(letterbox, webhook_format="alertmanager")
    assert alert["labels"]["model"] == "flights"
    assert alert["startsAt"] == "2013-07-01T00:00:00Z"
    assert "7 of 20 columns drifted" in alert["annotations"]["summary"]


async def test_slack_gets_a_sentence(letterbox: Any) -> None:
    headers, message = await _posted(letterbox, webhook_format="slack", webhook_secrets=SECRET)
    assert message["text"].startswith("Retraining requested for flights version 3:")
    assert headers["webhook-id"] == "rr_1"  # signed if a secret is set


async def test_own_format_sends_the_body_of_the_outbox(letterbox: Any) -> None:
    headers, message = await _posted(letterbox, webhook_secrets=SECRET)
    assert headers["content-type"] == "application/cloudevents+json"
    assert message == msgspec.json.decode(BODY)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_trial_requests_no_retraining_and_is_repeatable(name: str) -> None:
    adapter = ADAPTERS[name]
    message = adapter.message(trial("t_1", 0))
    assert message == adapter.message(trial("t_1", 0))
    assert b"retrain" not in message.body.lower()
