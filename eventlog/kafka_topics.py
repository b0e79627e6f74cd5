"""Query Kafka's topics without changing them."""

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from eventlog.errors import NotAcknowledged
from eventlog.kafka_settings import KafkaSettings


def partition_counts(settings: KafkaSettings, *, timeout_s: float) -> dict[str, int]:
    """Return the number of partitions of each topic, or 0 if the topic does not exist.

    Raises NotAcknowledged with the cluster's error.
    """
    try:
        admin = KafkaAdminClient(
            **settings.connection, bootstrap_timeout_ms=round(timeout_s * 1_000)
        )
        try:
            existing = {*admin.list_topics()}
            present = [topic for topic in settings.topics if topic in existing]
            descriptions = admin.describe_topics(present) if present else []
        finally:
            admin.close()
    except KafkaError as error:
        raise NotAcknowledged(f"topics: {type(error).__name__}: {error}") from error
    counts = {
        description.get("name") or description["topic"]: len(description["partitions"])
        for description in descriptions
    }
    return {topic: counts.get(topic, 0) for topic in settings.topics}
