"""The root of Driftline's error tree, and the event log's own branch.

    DriftlineError
    ├── SettingError            a setting that cannot be used
    ├── AlreadyRunning          another process of this role holds the home
    ├── EventLogError
    │   ├── LogUnavailable      the log cannot take events now
    │   ├── UnreadableEvent     bytes that are no event of a known schema version
    │   ├── NotForwardable      an event that no message can carry
    │   ├── Refused             Kafka refused messages for their content
    │   └── NotAcknowledged     Kafka did not confirm what was sent
    ├── AccessError             access/errors.py
    ├── RegistryError           registry/errors.py
    ├── ServingError            service/errors.py
    └── MonitoringError         monitoring/errors.py

No class here knows a status code: each transport maps the tree to its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class DriftlineError(Exception):
    """An error whose message says what was wrong and what was expected."""


class SettingError(DriftlineError):
    """A setting that cannot be used."""


class AlreadyRunning(DriftlineError):
    """Another process of this role is at work on the same home."""


class EventLogError(DriftlineError):
    """Something about the event log."""


class LogUnavailable(EventLogError):
    """The log cannot take events now; nothing of the refused append was kept."""


class UnreadableEvent(EventLogError):
    """Bytes that are no event of a known schema version, or an event that was not forwarded."""

    def __init__(self, reason: str, received: int | None = None) -> None:
        """`received` is the event's, in microseconds, where it is known all the same."""
        super().__init__(reason)
        self.received = received


class NotForwardable(EventLogError):
    """An event that no message can carry."""


class Refusal(NamedTuple):
    """Why Kafka refused one message."""

    reason: str
    too_large: bool


class Refused(EventLogError):
    """Kafka refused messages of a batch for their content; sending them again cannot help.

    `refusals` says by index which and why; there is at least one. Those at the indices
    `unacknowledged` failed beside them for other reasons and have to be sent again. All others are
    acknowledged.
    """

    def __init__(self, refusals: Mapping[int, Refusal], unacknowledged: Sequence[int] = ()) -> None:
        super().__init__("; ".join(sorted({refusal.reason for refusal in refusals.values()})))
        self.refusals = refusals
        self.unacknowledged = unacknowledged


class NotAcknowledged(EventLogError):
    """Kafka did not confirm all of what was sent; any part of it may have arrived."""
