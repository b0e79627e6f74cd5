"""Kafka, as the event log uses it: the only place that knows the client library.

kafka-python 3 has habits that this file works around: a producer's constructor waits for a broker
unless it is told the protocol version, and futures may never fail while there is no producer id. So
every batch has a deadline of our own, and a producer that missed one is thrown away.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from eventlog import wire
from eventlog.errors import NotAcknowledged, UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.log import Record

PROTOCOL_VERSION = (4, 0)  # spoken by every broker since Kafka 4.0
_LOOK_AGAIN = 5_000  # milliseconds between questions to the brokers about the topics
_DAY = 86_400_000  # milliseconds


class KafkaSettings(msgspec.Struct, frozen=True):
    """DRIFTLINE_KAFKA_*: how to reach the cluster, and the names of the topics."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    compression: Literal["lz4", "zstd", "none"] = "lz4"
    acknowledge_within: float = 30.0  # seconds for one batch
    largest_message: int = 1_000_000  # bytes; a larger event goes without its payload
    topic_prefix: str = "driftline"

    @property
    def predictions(self) -> str:
        """Topic of prediction events."""
        return f"{self.topic_prefix}.predictions"

    @property
    def feedback(self) -> str:
        """Topic of feedback events."""
        return f"{self.topic_prefix}.feedback"

    @property
    def alarms(self) -> str:
        """Topic of alarms."""
        return f"{self.topic_prefix}.alarms"

    @property
    def dead_letters(self) -> str:
        """Topic of what could not be used."""
        return f"{self.topic_prefix}.deadletters"

    @property
    def topics(self) -> list[str]:
        """Topics of everything that is forwarded."""
        return [self.predictions, self.feedback, self.dead_letters]

    @property
    def connection(self) -> dict[str, Any]:
        """The client library's own words for where and how to connect."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


class Message(msgspec.Struct, frozen=True):
    """What goes into one record of a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def message(record: Record, settings: KafkaSettings) -> Message:
    """The Kafka record of a record of the log; what cannot be read is said in a dead letter."""
    event = record.event
    if isinstance(event, UnreadableEvent):
        letter = {
            "source": record.source,
            "epoch": record.epoch,
            "sequence": record.sequence,
            "reason": str(event),
        }
        body = msgspec.json.encode(letter)
        return Message(settings.dead_letters, record.source.encode(), body, [])
    value = record.value
    if isinstance(event, PredictionEvent):
        if len(value) > settings.largest_message:
            event = _without_payload(event, value)
            value = wire.encode(event)
        return Message(settings.predictions, wire.key(event), value, wire.headers(event))
    return Message(settings.feedback, wire.key(event), value, wire.headers(event))


def _without_payload(event: PredictionEvent, value: bytes) -> PredictionEvent:
    return msgspec.structs.replace(
        event,
        inputs={},
        outputs={},
        payload="digest",
        payload_digest=hashlib.sha256(value).hexdigest(),
        payload_bytes=len(value),
    )


class _Producer(KafkaProducer):  # type: ignore[misc] # the library ships no types
    """A producer that can be thrown away.

    The library's `close` flushes first and, when that times out, raises with its thread still at
    work: it would go on sending what we are about to send again.
    """

    abandoned = False

    def flush(self, timeout: float | None = None) -> None:
        """Wait for everything that was sent, unless nobody waits for it any more."""
        if not self.abandoned:
            super().flush(timeout)


class KafkaSink:
    """Sends batches of messages; a `Sink` of the forwarder."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Connects at the first send, so that an absent broker delays nobody's start."""
        self._settings = settings
        self._producer: _Producer | None = None

    def send(self, batch: Sequence[Message]) -> None:
        """Return once all in-sync replicas hold every message, or raise NotAcknowledged."""
        try:
            self._send(batch)
        except KafkaError as error:
            self._abandon()
            raise NotAcknowledged(f"{type(error).__name__}: {error}") from error

    def topics(self) -> Mapping[str, str]:
        """The ids of the topics, as the brokers said some seconds ago at most; never waits."""
        if self._producer is None:
            self._producer = self._connect()
        cluster = self._producer._metadata  # noqa: SLF001 - the public ways say nothing of ids
        found = {}
        for topic in self._settings.topics:
            cluster.add_topic(topic)
            if topic_id := cluster.topic_id(topic):
                found[topic] = str(topic_id)
        return found

    def close(self) -> None:
        """Let go of the connection; nothing is pending after a `send` that returned."""
        self._abandon()

    def _send(self, batch: Sequence[Message]) -> None:
        if self._producer is None:
            self._producer = self._connect()
        futures = [
            self._producer.send(item.topic, item.value, item.key, item.headers) for item in batch
        ]
        self._producer.flush(self._settings.acknowledge_within)
        for future in futures:
            future.get(timeout=0)

    def _connect(self) -> _Producer:
        settings = self._settings
        return _Producer(
            **settings.connection,
            api_version=PROTOCOL_VERSION,
            enable_idempotence=True,
            compression_type=None if settings.compression == "none" else settings.compression,
            batch_size=256 << 10,
            linger_ms=5,
            max_request_size=settings.largest_message + (64 << 10),
            max_block_ms=int(settings.acknowledge_within * 1000),
            delivery_timeout_ms=int(settings.acknowledge_within * 1000),
            request_timeout_ms=int(settings.acknowledge_within * 1000) - 1000,
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            metadata_max_age_ms=_LOOK_AGAIN,
            metrics_enabled=False,
        )

    def _abandon(self) -> None:
        if self._producer is not None:
            self._producer.abandoned = True
            self._producer.close(timeout=0)
            self._producer = None


def create_topics(settings: KafkaSettings, *, partitions: int, replicas: int) -> list[str]:
    """Create the topics that are not there yet; their names.

    Predictions and feedback share the partition count, so that a prediction and its labels meet.
    """
    durable = {"min.insync.replicas": str(max(1, replicas - 1))}
    wanted = [
        _topic(settings.predictions, partitions, replicas, {**durable, **_days(30)}),
        _topic(settings.feedback, partitions, replicas, {**durable, **_days(90)}),
        _topic(settings.alarms, 1, replicas, {**durable, **_days(365)}),
        _topic(settings.dead_letters, 1, replicas, {**durable, **_days(90)}),
    ]
    admin = KafkaAdminClient(**settings.connection)
    created = []
    try:
        for topic in wanted:
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics([topic])
                created.append(topic.name)
    finally:
        admin.close()
    return created


def _topic(name: str, partitions: int, replicas: int, configs: dict[str, str]) -> NewTopic:
    return NewTopic(name, partitions, replicas, topic_configs=configs)


def _days(number: int) -> dict[str, str]:
    return {"retention.ms": str(number * _DAY)}
