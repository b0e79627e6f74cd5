"""The root of Driftline's error tree, and the event log's own branch.

    DriftlineError
    ├── SettingError            a setting that cannot be used
    ├── AlreadyRunning          another process of this role holds the home
    ├── EventLogError
    │   ├── LogUnavailable      the log cannot take events now
    │   ├── UnreadableEvent     bytes that are no event of a known schema version
    │   └── NotAcknowledged     Kafka did not confirm what was sent
    ├── AccessError             access/errors.py
    ├── RegistryError           registry/errors.py
    ├── ServingError            service/errors.py
    └── MonitoringError         monitoring/errors.py

No class here knows a status code: each transport maps the tree to its own.
"""


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
    """Bytes that are no event of a known schema version."""


class NotAcknowledged(EventLogError):
    """Kafka did not confirm all of what was sent; any part of it may have arrived."""
