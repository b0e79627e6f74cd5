"""Send messages to Kafka and manage its topics.

Two workarounds for kafka-python 3. The producer gets a protocol version, because its constructor
would otherwise wait for a broker. Each batch has a deadline, because futures may never fail as long
as the producer has no producer id. After a missed deadline, the producer is replaced.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    UnsupportedForMessageFormatError,
)

from eventlog import wire
from eventlog.errors import (
    NotAcknowledged,
    NotForwardable,
    Refusal,
    Refused,
    UnreadableEvent,
)
from eventlog.events import Event, HeartbeatEvent, PredictionEvent
from eventlog.kafka_settings import KafkaSettings
from eventlog.log import Record

PROTOCOL_VERSION = (4, 0)  # supported by every broker since Kafka 4.0
_METADATA_AGE_MS = 5_000  # milliseconds between updates of the topic metadata
_DAY = 86_400_000  # milliseconds
_DESCRIBE_WITHIN = 10.0  # seconds within which brokers must know a new topic
_MARGIN = 64 << 10  # bytes of a record batch in addition to its largest value
_LONGEST_REASON = 1_000  # characters
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_CONTENT = (
    *_TOO_LARGE,
    InvalidRecordError,
    InvalidTimestampError,
    UnsupportedForMessageFormatError,
)  # refusals that a retry cannot resolve


class KafkaMessage(msgspec.Struct, frozen=True):
    """The content of one Kafka record."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Return the size of key, value and headers in bytes."""
        header_size = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.value) + len(self.key) + header_size


def message(record: Record, settings: KafkaSettings, *, digest: bool = False) -> KafkaMessage:
    """Convert a record of the log to a Kafka message; an unreadable record becomes a dead letter.

    A prediction's payload is omitted if `digest`, or if the event exceeds `largest_message`.
    Raises NotForwardable if the event is still too large.
    """
    event = record.event
    if isinstance(event, UnreadableEvent):
        return letter(record, str(event), settings)
    try:
        return _of_event(event, record, settings, digest=digest)
    except NotForwardable:
        raise
    except Exception as error:  # a fault of one event must not block later events
        raise NotForwardable(f"cannot be encoded: {type(error).__name__}: {error}") from error


def partition_fault(counts: Mapping[str, int]) -> str:
    """Return why the topics keyed by shard cannot be written, or "" if they can.

    `counts` maps each topic to its number of partitions, or to 0 if the topic does not exist.
    """
    missing = [topic for topic, count in counts.items() if not count]
    if missing:
        return f"topic {', '.join(missing)}: does not exist; run `driftline topics create`"
    if len(set(counts.values())) > 1:
        counts_text = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
        return (
            f"partitions: {counts_text}; expected the same number for all, because predictions and "
            "labels of a model are joined by partition number: add partitions to the smaller topics"
        )
    return ""


def letter(record: Record, reason: str, settings: KafkaSettings) -> KafkaMessage:
    """Return the dead letter that replaces a record in Kafka, so that sequences stay gap-free."""
    fields: dict[str, str | int] = {
        "source": record.source,
        "epoch": record.epoch,
        "sequence": record.sequence,
        "reason": reason[:_LONGEST_REASON],
    }
    event = record.event
    if not isinstance(event, UnreadableEvent):
        if 0 <= event.received < 2**63:
            fields["received"] = event.received
        if event.shard:
            fields |= {"shard": event.shard, "number": event.number}
    body = msgspec.json.encode(fields)
    key = event.shard or record.source
    return KafkaMessage(settings.dead_letters, key.encode(), body, [])


def _of_event(
    event: Event, record: Record, settings: KafkaSettings, *, digest: bool
) -> KafkaMessage:
    topic = settings.heartbeats if isinstance(event, HeartbeatEvent) else settings.feedback
    value, raw = record.value, record.raw
    if isinstance(event, PredictionEvent):
        topic = settings.predictions
        if digest or len(value) + len(raw) > settings.largest_message:
            event = _without_payload(event, value, raw)
            value, raw = wire.encode(event), b""
    headers = wire.headers(event)
    if raw:
        headers.append((wire.RAW, raw))
    kafka_message = KafkaMessage(topic, wire.key(event), value, headers)
    too_large = kafka_message.size > settings.largest_message + _MARGIN // 2
    if len(value) + len(raw) > settings.largest_message or too_large:
        raise NotForwardable(
            f"has {kafka_message.size} bytes without its payload; expected at most "
            f"{settings.largest_message} (DRIFTLINE_KAFKA_LARGEST_MESSAGE)"
        )
    return kafka_message


def _without_payload(event: PredictionEvent, value: bytes, raw: bytes) -> PredictionEvent:
    digest = hashlib.sha256(value)
    digest.update(raw)
    return msgspec.structs.replace(
        event,
        inputs={},
        outputs={},
        payload="digest",
        payload_digest=digest.hexdigest(),
        payload_bytes=len(value) + len(raw),
    )


class _Producer(KafkaProducer):  # type: ignore[misc] # the library ships no types
    """A producer whose `close` can skip the flush.

    The library's `close` flushes first. If the flush times out, `close` raises and its thread keeps
    running, so it would send messages that the next producer sends too.
    """

    abandoned = False

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all messages are sent, unless the producer is abandoned."""
        if not self.abandoned:
            super().flush(timeout)


def _begin(producer: _Producer, item: KafkaMessage) -> Any:
    """Start to send a message; return its future, or the error if the client refuses it."""
    try:
        return producer.send(item.topic, item.value, item.key, item.headers)
    except _CONTENT as error:
        return error


def _failure(future: Any, deadline: float) -> KafkaError | None:
    """Wait until the deadline for an acknowledgement; return the error, or None on success."""
    if isinstance(future, KafkaError):
        return future
    try:
        future.get(timeout=max(0.0, deadline - time.monotonic()))
    except KafkaError as error:
        return error
    return None


def _raise_first(failures: Mapping[int, KafkaError]) -> None:
    for error in failures.values():
        raise error


def _partition_counts(producer: _Producer, topics: Sequence[str]) -> dict[str, int]:
    """Return the number of partitions of each topic, 0 for a missing topic; raises KafkaError."""
    counts: dict[str, int] = {}
    for topic in topics:
        try:
            counts[topic] = len(producer.partitions_for(topic))
        except KafkaTimeoutError:
            if not counts:  # the broker does not reply, or has none of the topics
                raise
            counts[topic] = 0
    return counts


class KafkaSink:
    """Send batches of messages; implements the forwarder's `Sink`."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Store the settings; the first call connects, so a missing broker delays no start."""
        self._settings = settings
        self._producer: _Producer | None = None

    def send(self, batch: Sequence[KafkaMessage]) -> None:
        """Return once all in-sync replicas have every message; raise Refused or NotAcknowledged."""
        try:
            self._send(batch)
        except Refused:
            self._abandon()
            raise
        except KafkaError as error:
            self._abandon()
            raise NotAcknowledged(f"{type(error).__name__}: {error}") from error

    def topics(self) -> Mapping[str, str]:
        """Return topic ids from the client's metadata, which is seconds old; never blocks."""
        if self._producer is None:
            self._producer = self._connect()
        cluster = self._producer._metadata  # noqa: SLF001 - no public method returns ids
        topic_ids = {}
        for topic in self._settings.topics:
            cluster.add_topic(topic)
            if topic_id := cluster.topic_id(topic):
                topic_ids[topic] = str(topic_id)
        return topic_ids

    def close(self) -> None:
        """Close the connection. No message is pending, since `send` waits for all of them."""
        self._abandon()

    def _send(self, batch: Sequence[KafkaMessage]) -> None:
        if self._producer is None:
            self._producer = self._connect()
        self._check_partitions(self._producer)
        failures = self._attempt(self._producer, batch)
        if any(isinstance(error, _CONTENT) for error in failures.values()):
            self._send_alone(batch, list(failures))
        else:
            _raise_first(failures)

    def _check_partitions(self, producer: _Producer) -> None:
        """Raise NotAcknowledged if a topic keyed by shard is missing or partition counts differ.

        The client's metadata is at most seconds old. Only missing metadata is awaited.
        """
        counts = _partition_counts(producer, self._settings.keyed_topics)
        if fault := partition_fault(counts):
            self._abandon()
            raise NotAcknowledged(fault)

    def _send_alone(self, batch: Sequence[KafkaMessage], suspects: Sequence[int]) -> None:
        """Resend each message in a separate batch, because the broker refuses whole batches."""
        self._abandon()
        self._producer = self._connect(alone=True)
        failed_alone = self._attempt(self._producer, [batch[index] for index in suspects])
        failures = {suspects[place]: error for place, error in failed_alone.items()}
        refusals = {
            index: Refusal(
                f"refused by Kafka: topic {batch[index].topic}: {type(error).__name__}: {error}",
                isinstance(error, _TOO_LARGE),
            )
            for index, error in failures.items()
            if isinstance(error, _CONTENT)
        }
        self._abandon()
        if refusals:
            raise Refused(refusals, sorted(failures.keys() - refusals.keys()))
        _raise_first(failures)

    def _attempt(self, producer: _Producer, batch: Sequence[KafkaMessage]) -> dict[int, KafkaError]:
        """Send messages; return the errors of unacknowledged messages by index."""
        deadline = time.monotonic() + self._settings.acknowledge_within
        futures = [_begin(producer, item) for item in batch]
        # If the client splits a batch that is too large, `flush` fails, but the futures stay valid.
        with contextlib.suppress(KafkaError):
            producer.flush(self._settings.acknowledge_within)
        outcomes = (_failure(future, deadline) for future in futures)
        return {index: error for index, error in enumerate(outcomes) if error is not None}

    def _connect(self, *, alone: bool = False) -> _Producer:
        """Return a producer; if `alone`, it sends one message per batch and is not idempotent.

        A refused batch would invalidate the producer id of an idempotent producer.
        """
        settings = self._settings
        return _Producer(
            **settings.connection,
            api_version=PROTOCOL_VERSION,
            acks="all",
            enable_idempotence=not alone,
            compression_type=None if settings.compression == "none" else settings.compression,
            batch_size=0 if alone else 256 << 10,
            linger_ms=0 if alone else 5,
            max_in_flight_requests_per_connection=1 if alone else 5,
            max_request_size=settings.largest_message + _MARGIN,
            max_block_ms=int(settings.acknowledge_within * 1000),
            delivery_timeout_ms=int(settings.acknowledge_within * 1000),
            request_timeout_ms=int(settings.acknowledge_within * 900),
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            metadata_max_age_ms=_METADATA_AGE_MS,
            metrics_enabled=False,
        )

    def _abandon(self) -> None:
        if self._producer is not None:
            self._producer.abandoned = True
            self._producer.close(timeout=0)
            self._producer = None


class Topic(msgspec.Struct, frozen=True):
    """The desired state of a topic."""

    name: str
    partitions: int
    replicas: int
    configs: dict[str, str]


class TopicChanges(msgspec.Struct, frozen=True):
    """The names of created topics, and one line per difference of an existing topic."""

    created: list[str]
    differences: list[str]


def desired_topics(settings: KafkaSettings, *, partitions: int, replicas: int) -> list[Topic]:
    """Return the desired state of every topic.

    Topics keyed by shard have equal partition counts, so that one reader gets all events of a
    model. A record is acknowledged once all replicas except one have it.
    """
    safe = {
        "min.insync.replicas": str(max(1, replicas - 1)),
        "max.message.bytes": str(settings.largest_message + _MARGIN),
    }
    return [
        Topic(settings.predictions, partitions, replicas, safe | _days(30)),
        Topic(settings.feedback, partitions, replicas, safe | _days(90)),
        Topic(settings.heartbeats, partitions, replicas, safe | _days(30)),
        Topic(settings.alarms, 1, replicas, safe | _days(365)),
        Topic(settings.dead_letters, partitions, replicas, safe | _days(90)),
    ]


def create_topics(settings: KafkaSettings, *, partitions: int, replicas: int) -> TopicChanges:
    """Create missing topics, and compare existing topics without changing them.

    Raises NotAcknowledged with the cluster's error.
    """
    topics = desired_topics(settings, partitions=partitions, replicas=replicas)
    try:
        admin = KafkaAdminClient(**settings.connection)
        try:
            created = [topic for topic in topics if _create(admin, topic)]
            existing = [topic for topic in topics if topic not in created]
            differences = [line for topic in existing for line in _compare(admin, topic)]
        finally:
            admin.close()
    except KafkaError as error:
        raise NotAcknowledged(f"topics: {type(error).__name__}: {error}") from error
    return TopicChanges([topic.name for topic in created], differences)


def _create(admin: KafkaAdminClient, topic: Topic) -> bool:
    """Create the topic; return False if it exists."""
    new = NewTopic(topic.name, topic.partitions, topic.replicas, topic_configs=topic.configs)
    try:
        admin.create_topics([new])
    except TopicAlreadyExistsError:
        return False
    return True


def _partitions(admin: KafkaAdminClient, topic: str) -> Sequence[Mapping[str, Any]]:
    """Return the partitions of a topic; retry, because brokers know new topics with a delay."""
    deadline = time.monotonic() + _DESCRIBE_WITHIN
    while True:
        (described,) = admin.describe_topics([topic])
        partitions: Sequence[Mapping[str, Any]] = described["partitions"]
        if partitions or time.monotonic() > deadline:
            return partitions
        time.sleep(0.05)


def _compare(admin: KafkaAdminClient, topic: Topic) -> list[str]:
    partitions = _partitions(admin, topic.name)
    compared: dict[str, tuple[Any, Any]] = {
        "partitions": (len(partitions), topic.partitions),
        "replicas": (
            min((len(_replicas(partition)) for partition in partitions), default=0),
            topic.replicas,
        ),
    }
    configs = _configs(admin, topic.name)
    compared |= {name: (configs.get(name), value) for name, value in topic.configs.items()}
    return [
        f"{topic.name}: {name} is {is_}, expected {should}"
        for name, (is_, should) in compared.items()
        if is_ != should
    ]


def _replicas(partition: Mapping[str, Any]) -> Sequence[int]:
    nodes: Sequence[int] = partition["replica_nodes"]
    return nodes


def _configs(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic)]
    entries = admin.describe_configs(resources, config_filter="all")["topic"][topic]
    return {name: entry["value"] for name, entry in entries.items()}


def _days(number: int) -> dict[str, str]:
    return {"retention.ms": str(number * _DAY)}
