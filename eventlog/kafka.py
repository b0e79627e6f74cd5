"""Kafka, as the event log uses it: the only place that knows the client library.

kafka-python 3 has habits that this file works around: a producer's constructor waits for a broker
unless the protocol version is given, and futures may never fail while there is no producer id. So
every batch has a deadline of our own, and a producer that missed one is thrown away.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
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
    SettingError,
    UnreadableEvent,
)
from eventlog.events import Event, PredictionEvent
from eventlog.log import Record

PROTOCOL_VERSION = (4, 0)  # spoken by every broker since Kafka 4.0
_LOOK_AGAIN = 5_000  # milliseconds between questions to the brokers about the topics
_DAY = 86_400_000  # milliseconds
_HEARD_WITHIN = 10.0  # seconds
_MARGIN = 64 << 10  # of a record batch, over its largest value
_LONGEST_REASON = 1_000  # characters
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_CONTENT = (
    *_TOO_LARGE,
    InvalidRecordError,
    InvalidTimestampError,
    UnsupportedForMessageFormatError,
)  # refusals that sending the same again cannot mend


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
    sasl_password_file: str = ""  # instead of the password itself
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
        """Topic of dead letters."""
        return f"{self.topic_prefix}.deadletters"

    @property
    def topics(self) -> list[str]:
        """Topics of everything that is forwarded."""
        return [self.predictions, self.feedback, self.dead_letters]

    @property
    def connection(self) -> dict[str, Any]:
        """The connection arguments of the client library."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self._password(),
        }

    def _password(self) -> str | None:
        if not self.sasl_password_file:
            return self.sasl_password
        try:
            return Path(self.sasl_password_file).read_text().strip()
        except OSError as error:
            raise SettingError(f"DRIFTLINE_KAFKA_SASL_PASSWORD_FILE: {error}") from None


class KafkaMessage(msgspec.Struct, frozen=True):
    """The content of one record of a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def message(record: Record, settings: KafkaSettings, *, digest: bool = False) -> KafkaMessage:
    """Return the Kafka record of a record of the log; a letter where the record is unreadable.

    A prediction over the limit goes without its payload; with `digest` any prediction does.

    Raises NotForwardable where no message within the limit can carry the event.
    """
    event = record.event
    if isinstance(event, UnreadableEvent):
        return letter(record, str(event), settings)
    try:
        return _of_event(event, record.value, settings, digest=digest)
    except NotForwardable:
        raise
    except Exception as error:  # whatever it is, later events must not wait for it
        raise NotForwardable(f"cannot be encoded: {type(error).__name__}: {error}") from error


def letter(record: Record, reason: str, settings: KafkaSettings) -> KafkaMessage:
    """Return the dead letter that stands for a record in Kafka, so that its number is no gap."""
    stated: dict[str, str | int] = {
        "source": record.source,
        "epoch": record.epoch,
        "sequence": record.sequence,
        "reason": reason[:_LONGEST_REASON],
    }
    event = record.event
    if not isinstance(event, UnreadableEvent) and 0 <= event.received < 2**63:
        stated["received"] = event.received
    body = msgspec.json.encode(stated)
    return KafkaMessage(settings.dead_letters, record.source.encode(), body, [])


def _of_event(event: Event, value: bytes, settings: KafkaSettings, *, digest: bool) -> KafkaMessage:
    topic = settings.feedback
    if isinstance(event, PredictionEvent):
        topic = settings.predictions
        if digest or len(value) > settings.largest_message:
            event = _without_payload(event, value)
            value = wire.encode(event)
    made = KafkaMessage(topic, wire.key(event), value, wire.headers(event))
    size = len(value) + len(made.key) + sum(len(name) + len(held) for name, held in made.headers)
    if len(value) > settings.largest_message or size > settings.largest_message + _MARGIN // 2:
        raise NotForwardable(
            f"takes {size} bytes without a payload; expected at most {settings.largest_message} "
            "(DRIFTLINE_KAFKA_LARGEST_MESSAGE)"
        )
    return made


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
    """A producer that can be abandoned.

    The library's `close` flushes first. When that times out, it raises while its thread still
    runs, and that thread would continue to send what the next producer sends again.
    """

    abandoned = False

    def flush(self, timeout: float | None = None) -> None:
        """Wait for everything that was sent, unless the producer is abandoned."""
        if not self.abandoned:
            super().flush(timeout)


def _begin(producer: _Producer, item: KafkaMessage) -> Any:
    """Return the client's future, or its refusal of a message that it will not send."""
    try:
        return producer.send(item.topic, item.value, item.key, item.headers)
    except _CONTENT as error:
        return error


def _failure(future: Any, deadline: float) -> KafkaError | None:
    """Return why a message is not acknowledged by the deadline; None where it is."""
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


class KafkaSink:
    """Sends batches of messages; a `Sink` of the forwarder."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Connect lazily, at the first send: an absent broker does not delay the start."""
        self._settings = settings
        self._producer: _Producer | None = None

    def send(self, batch: Sequence[KafkaMessage]) -> None:
        """Return once all in-sync replicas hold every message; raise Refused or NotAcknowledged."""
        try:
            self._send(batch)
        except Refused:
            self._abandon()
            raise
        except KafkaError as error:
            self._abandon()
            raise NotAcknowledged(f"{type(error).__name__}: {error}") from error

    def topics(self) -> Mapping[str, str]:
        """Return the topic ids from the client's metadata, seconds old at most; never waits."""
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
        """Close the connection; nothing is pending after a `send` that returned."""
        self._abandon()

    def _send(self, batch: Sequence[KafkaMessage]) -> None:
        if self._producer is None:
            self._producer = self._connect()
        failures = self._attempt(self._producer, batch)
        if any(isinstance(error, _CONTENT) for error in failures.values()):
            self._send_alone(batch, list(failures))
        else:
            _raise_first(failures)

    def _send_alone(self, batch: Sequence[KafkaMessage], suspects: Sequence[int]) -> None:
        """Send messages again, each in a batch of its own, since the broker refuses whole ones."""
        self._abandon()
        self._producer = self._connect(alone=True)
        found = self._attempt(self._producer, [batch[index] for index in suspects])
        failures = {suspects[place]: error for place, error in found.items()}
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
        """Send messages; why which of them, by index, are not acknowledged in time."""
        deadline = time.monotonic() + self._settings.acknowledge_within
        futures = [_begin(producer, item) for item in batch]
        # Splitting a batch that is too large fails the flush at once: the futures have the outcome.
        with contextlib.suppress(KafkaError):
            producer.flush(self._settings.acknowledge_within)
        outcomes = (_failure(future, deadline) for future in futures)
        return {index: error for index, error in enumerate(outcomes) if error is not None}

    def _connect(self, *, alone: bool = False) -> _Producer:
        """Return a producer; one that sends each message `alone` has no ids that a refusal ends."""
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
            metadata_max_age_ms=_LOOK_AGAIN,
            metrics_enabled=False,
        )

    def _abandon(self) -> None:
        if self._producer is not None:
            self._producer.abandoned = True
            self._producer.close(timeout=0)
            self._producer = None


class Topic(msgspec.Struct, frozen=True):
    """A topic as it should be."""

    name: str
    partitions: int
    replicas: int
    configs: dict[str, str]


class TopicChanges(msgspec.Struct, frozen=True):
    """What was done and found: names of new topics, and a line for each difference."""

    created: list[str]
    differences: list[str]


def desired_topics(settings: KafkaSettings, *, partitions: int, replicas: int) -> list[Topic]:
    """Predictions and feedback share a partition count, so that a prediction meets its labels.

    All replicas but one must have a record before it is acknowledged.
    """
    safe = {
        "min.insync.replicas": str(max(1, replicas - 1)),
        "max.message.bytes": str(settings.largest_message + _MARGIN),
    }
    return [
        Topic(settings.predictions, partitions, replicas, safe | _days(30)),
        Topic(settings.feedback, partitions, replicas, safe | _days(90)),
        Topic(settings.alarms, 1, replicas, safe | _days(365)),
        Topic(settings.dead_letters, 1, replicas, safe | _days(90)),
    ]


def create_topics(settings: KafkaSettings, *, partitions: int, replicas: int) -> TopicChanges:
    """Create the topics that are missing; never changes one that is there.

    Raises NotAcknowledged with what the cluster said.
    """
    topics = desired_topics(settings, partitions=partitions, replicas=replicas)
    try:
        admin = KafkaAdminClient(**settings.connection)
        try:
            created = [topic for topic in topics if _create(admin, topic)]
            found = [topic for topic in topics if topic not in created]
            differences = [line for topic in found for line in _compare(admin, topic)]
        finally:
            admin.close()
    except KafkaError as error:
        raise NotAcknowledged(f"topics: {type(error).__name__}: {error}") from error
    return TopicChanges([topic.name for topic in created], differences)


def _create(admin: KafkaAdminClient, topic: Topic) -> bool:
    """Whether the topic is new."""
    new = NewTopic(topic.name, topic.partitions, topic.replicas, topic_configs=topic.configs)
    try:
        admin.create_topics([new])
    except TopicAlreadyExistsError:
        return False
    return True


def _partitions(admin: KafkaAdminClient, topic: str) -> Sequence[Mapping[str, Any]]:
    """As the brokers describe them, who need a moment to hear of a topic that was just made."""
    deadline = time.monotonic() + _HEARD_WITHIN
    while True:
        (described,) = admin.describe_topics([topic])
        found: Sequence[Mapping[str, Any]] = described["partitions"]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _compare(admin: KafkaAdminClient, topic: Topic) -> list[str]:
    partitions = _partitions(admin, topic.name)
    compared: dict[str, tuple[Any, Any]] = {
        "partitions": (len(partitions), topic.partitions),
        "replicas": (min((len(_replicas(one)) for one in partitions), default=0), topic.replicas),
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
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic)]
    found = admin.describe_configs(asked, config_filter="all")["topic"][topic]
    return {name: entry["value"] for name, entry in found.items()}


def _days(number: int) -> dict[str, str]:
    return {"retention.ms": str(number * _DAY)}
