"""One trace from the client's span through service, log and Kafka to the scored window."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer

from driftline.client import AsyncClient, Client, ClientError
from eventlog.events import PredictionEvent
from eventlog.kafka import KafkaSettings
from tests.preloaded import Command, run
from tests.service.conftest import Service
from tests.telemetry.otlp_receiver import Received, receiving

WATCHED = {"window": {"length": 60, "grace": 0}}
START = 1_700_000_000_000_000
ROW = {"price": 5.0, "colour": "green"}


@pytest.fixture
def received() -> Iterator[tuple[str, Received]]:
    with receiving() as both:
        yield both


@pytest.fixture
def service(
    received: tuple[str, Received],
    topics: KafkaSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> Iterator[Service]:
    with Service(tmp_path, free_port) as service:
        service.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received[0],
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "DRIFTLINE_LOGGING_FORMAT": "json",
            "DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": topics.bootstrap_servers,
            "DRIFTLINE_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
        }
        service.start_champion(monitoring=WATCHED)
        yield service


def _until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _hex(number: int, digits: int) -> bytes:
    return bytes.fromhex(f"{number:0{digits}x}")


def _shop() -> tuple[Tracer, InMemorySpanExporter]:
    """The tracer of an application that calls, and where its spans end up."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("shop"), exporter


def test_one_trace_leads_from_the_client_to_the_window(
    service: Service, received: tuple[str, Received], free_port: Callable[[], int]
) -> None:
    _, spans = received
    tracer, asked = _shop()
    with (
        tracer.start_as_current_span("order") as order,
        Client(service.url, tracer=tracer) as client,
    ):
        answer = client.predict("tiny", [ROW], event_time=START)
    (call,) = asked.get_finished_spans()[:-1]
    assert call.parent == order.get_span_context()
    assert call.attributes == {
        "driftline.model": "tiny",
        "driftline.version": "1",
        "driftline.prediction.id": answer.prediction_id,
    }
    about = call.get_span_context()
    _until(lambda: spans.named("infer"))
    infer = spans.one("infer")
    assert infer.trace_id == _hex(about.trace_id, 32)
    assert infer.parent_span_id == _hex(about.span_id, 16)
    inner = [spans.one(name) for name in ("queue", "run", "log append")]
    assert {span.parent_span_id for span in inner} == {infer.span_id}
    times = [infer.start_time_unix_nano]
    times += [
        time for span in inner for time in (span.start_time_unix_nano, span.end_time_unix_nano)
    ]
    assert sorted(times) == times
    assert inner[-1].end_time_unix_nano == infer.end_time_unix_nano
    (event,) = [record.event for record in service.events()]
    assert isinstance(event, PredictionEvent)
    named = f"00-{infer.trace_id.hex()}-{infer.span_id.hex()}-"
    assert event.traceparent.startswith(named)
    recorded = {one.key: one.value for one in infer.attributes}
    assert recorded["driftline.prediction.id"].string_value == event.prediction_id
    assert not any("5.0" in str(one) or "green" in str(one) for one in infer.attributes)

    driftline = [sys.executable, "-m", "driftline"]
    log = (service.root / "forward.log").open("wb")
    forwarder = Command([*driftline, "forward"], env=service.environment, stdout=log, stderr=log)
    _until(lambda: spans.named("send"))
    forwarder.terminate()
    assert forwarder.wait(60) == 0
    ((process, sent),) = spans.named("send")
    assert process == "driftline-forwarder"
    assert (sent.trace_id, sent.parent_span_id) == (infer.trace_id, infer.span_id)

    environment = service.environment | {"DRIFTLINE_MONITOR_SOURCE": "kafka"}
    page = str(free_port())  # nobody asks it
    watch = [*driftline, "monitor", "--port", page, "--until-idle", "--close"]
    done = run(watch, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    ((process, window),) = spans.named("score window")
    assert process == "driftline-monitor"
    (link,) = window.links
    assert (link.trace_id, link.span_id) == (infer.trace_id, infer.span_id)


def test_a_refused_request_is_a_failed_span_and_an_unsampled_one_is_none(
    service: Service, received: tuple[str, Received]
) -> None:
    _, spans = received
    unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    reply = service.http.post(
        "/v2/models/tiny/infer", content=b"{", headers={"traceparent": unrecorded}
    )
    assert reply.status_code == 400
    assert reply.headers["traceparent"] == unrecorded
    tracer, asked = _shop()
    with Client(service.url, tracer=tracer) as client, pytest.raises(ClientError):
        client.predict("tiny", [{"price": "no number"}])
    (call,) = asked.get_finished_spans()
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes == {"driftline.model": "tiny", "error.type": "400"}
    assert call.events == ()
    _until(lambda: spans.named("infer"))
    span = spans.one("infer")
    recorded = {one.key: one.value.string_value for one in span.attributes}
    assert recorded["driftline.outcome"] == recorded["error.type"] == "invalid"
    assert "no number" not in str(span)
    lines = service.said().splitlines()
    assert lines
    assert {"time", "level", "message"} <= set.intersection(*(set(json.loads(x)) for x in lines))


async def test_concurrent_calls_have_sibling_spans(service: Service) -> None:
    tracer, asked = _shop()
    with tracer.start_as_current_span("order") as order:
        async with AsyncClient(service.url, tracer=tracer) as client:
            answers = await asyncio.gather(*(client.predict("tiny", [ROW]) for _ in range(3)))
            await client.feedback(answers[0], 1)
    *calls, last, _ = asked.get_finished_spans()
    assert {call.name for call in calls} == {"predict"}
    assert last.name == "feedback"
    assert [call.parent for call in (*calls, last)] == [order.get_span_context()] * 4
    recorded = {call.attributes["driftline.prediction.id"] for call in calls}
    assert recorded == {answer.prediction_id for answer in answers}
