"""The same webhook in the words of GitHub, Airflow, Alertmanager and Slack, really posted."""

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
    headers, said = await _posted(letterbox, webhook_format="github", webhook_token="t0ken")
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["accept"] == "application/vnd.github+json"
    assert "webhook-signature" not in headers
    assert said["event_type"] == "driftline-retrain"
    assert len(said["client_payload"]) <= 10
    assert said["client_payload"]["request"]["rows_url"] == "http://monitor/rows"


async def test_airflow_runs_one_dag_run_however_often_it_is_reported(letterbox: Any) -> None:
    letterbox.status = 409
    _, said = await _posted(letterbox, webhook_format="airflow")
    assert said["dag_run_id"] == "rr_1"
    assert said["conf"]["data"]["model"] == "flights"


async def test_airflow_of_the_third_generation_hears_that_there_is_no_logical_date(
    letterbox: Any,
) -> None:
    _, said = await _posted(letterbox, webhook_format="airflow3")
    assert said["logical_date"] is None
    assert said["dag_run_id"] == "rr_1"


async def test_prefect_returns_the_run_of_a_key_that_it_knows(letterbox: Any) -> None:
    letterbox.status = 200
    headers, said = await _posted(letterbox, webhook_format="prefect", webhook_token="t0ken")
    assert headers["authorization"] == "Bearer t0ken"
    # Prefect refuses fields that its model of a flow run does not have.
    assert set(said) == {"idempotency_key", "name", "parameters"}
    assert said["idempotency_key"] == said["parameters"]["webhook_id"] == "rr_1"
    assert said["parameters"]["data"]["model"] == "flights"


async def test_argo_gets_the_event_as_plain_json(letterbox: Any) -> None:
    headers, said = await _posted(letterbox, webhook_format="argo")
    assert headers["content-type"] == "application/json"
    assert said == msgspec.json.decode(BODY)


async def test_dagster_records_a_materialization_that_a_sensor_sees(letterbox: Any) -> None:
    headers, said = await _posted(letterbox, webhook_format="dagster")
    assert headers["content-type"] == "application/json"  # nothing else is taken
    assert set(said) <= {"data_version", "description", "metadata", "partition"}
    assert said["metadata"]["webhook_id"] == said["data_version"] == "rr_1"
    assert said["metadata"]["data"]["rows_url"] == "http://monitor/rows"


async def test_alertmanager_gets_an_alert_with_labels_to_route_by(letterbox: Any) -> None:
    _, (alert,) = await _posted(letterbox, webhook_format="alertmanager")
    assert alert["labels"]["model"] == "flights"
    assert alert["startsAt"] == "2013-07-01T00:00:00Z"
    assert "7 of 20 columns drifted" in alert["annotations"]["summary"]


async def test_a_chat_gets_a_sentence(letterbox: Any) -> None:
    headers, said = await _posted(letterbox, webhook_format="slack", webhook_secrets=SECRET)
    assert said["text"].startswith("Retraining requested for flights version 3:")
    assert headers["webhook-id"] == "rr_1"  # signed where a secret is set


async def test_our_own_form_stays_as_it_lies_in_the_outbox(letterbox: Any) -> None:
    headers, said = await _posted(letterbox, webhook_secrets=SECRET)
    assert headers["content-type"] == "application/cloudevents+json"
    assert said == msgspec.json.decode(BODY)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_trial_asks_nobody_for_anything_and_a_retry_says_the_same(name: str) -> None:
    adapter = ADAPTERS[name]
    said = adapter.message(trial("t_1", 0))
    assert said == adapter.message(trial("t_1", 0))
    assert b"retrain" not in said.body.lower()
