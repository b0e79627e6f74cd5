"""Define the root of Driftline's error tree and the errors of the event log.

    DriftlineError
    ├── SettingError            invalid setting
    ├── AlreadyRunning          another process of this role uses the same home
    ├── EventLogError
    │   ├── LogUnavailable      the log cannot be written or read now
    │   ├── UnreadableEvent     bytes that are not an event of a known schema version
    │   ├── NotForwardable      an event that does not fit into a Kafka message
    │   ├── Refused             Kafka refused messages for their content
    │   └── NotAcknowledged     Kafka did not acknowledge all messages
    ├── AccessError             access/errors.py
    ├── RegistryError           registry/errors.py
    ├── ServingError            service/errors.py
    └── MonitoringError         monitoring/errors.py

The classes have no status codes: HTTP and gRPC each map them to their own codes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class DriftlineError(Exception):
    """Base of all expected errors; the message states the fault and what was expected."""


class SettingError(DriftlineError):
    """A setting is invalid."""


class AlreadyRunning(DriftlineError):
    """Another process of this role already uses the same home."""


class EventLogError(DriftlineError):
    """Base of the event log's errors."""


class LogUnavailable(EventLogError):
    """The log cannot be written or read now; a failed append stored none of its events."""


class UnreadableEvent(EventLogError):
    """A record is not an event of a known schema version, or is a dead letter in Kafka."""

    def __init__(
        self, reason: str, received: int | None = None, shard: str = "", number: int = 0
    ) -> None:
        """`received` is in microseconds; `number` is the event's number in its shard, if known."""
        super().__init__(reason)
        self.received = received
        self.shard = shard
        self.number = number


class NotForwardable(EventLogError):
    """An event does not fit into a Kafka message."""


class Refusal(NamedTuple):
    """The reason why Kafka refused one message."""

    reason: str
    too_large: bool


class Refused(EventLogError):
    """Kafka refused messages of a batch for their content, so a retry cannot succeed.

    `refusals` maps the index of each refused message to the reason; it is never empty. Messages
    whose indices are in `unacknowledged` failed for other reasons and must be sent again. Kafka
    acknowledged the remaining messages.
    """

    def __init__(self, refusals: Mapping[int, Refusal], unacknowledged: Sequence[int] = ()) -> None:
        super().__init__("; ".join(sorted({refusal.reason for refusal in refusals.values()})))
        self.refusals = refusals
        self.unacknowledged = unacknowledged


class NotAcknowledged(EventLogError):
    """Kafka did not acknowledge all messages of a batch, but may have stored them."""
