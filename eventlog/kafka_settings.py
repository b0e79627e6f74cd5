"""Settings of the connection to Kafka; this module does not import the Kafka client."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from eventlog.errors import SettingError
from eventlog.settings import PositiveFloat, PositiveInt

KAFKA_PREFIX = "DRIFTLINE_KAFKA_"


class KafkaSettings(msgspec.Struct, frozen=True):
    """Configure the connection to the cluster and the topic names (DRIFTLINE_KAFKA_*)."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    sasl_password_file: str = ""  # file with the password, as an alternative to sasl_password
    compression: Literal["lz4", "zstd", "none"] = "lz4"
    acknowledge_within: PositiveFloat = 30.0  # seconds within which a batch must be acknowledged
    largest_message: PositiveInt = 1_000_000  # bytes; larger events are sent without payload
    topic_prefix: str = "driftline"

    @property
    def predictions(self) -> str:
        """Return the topic of prediction events."""
        return f"{self.topic_prefix}.predictions"

    @property
    def feedback(self) -> str:
        """Return the topic of feedback events."""
        return f"{self.topic_prefix}.feedback"

    @property
    def heartbeats(self) -> str:
        """Return the topic of heartbeats."""
        return f"{self.topic_prefix}.heartbeats"

    @property
    def alarms(self) -> str:
        """Return the topic of alarms."""
        return f"{self.topic_prefix}.alarms"

    @property
    def dead_letters(self) -> str:
        """Return the topic of dead letters."""
        return f"{self.topic_prefix}.deadletters"

    @property
    def topics(self) -> list[str]:
        """Return the topics that the forwarder writes to."""
        return self.keyed_topics

    @property
    def keyed_topics(self) -> list[str]:
        """Return the topics keyed by shard; a shard has the same partition number in all topics."""
        return [self.predictions, self.feedback, self.heartbeats, self.dead_letters]

    @property
    def connection(self) -> dict[str, Any]:
        """Return the connection arguments of kafka-python."""
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
