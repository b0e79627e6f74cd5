"""Errors of monitoring.

DriftlineError
└── MonitoringError
    ├── DatabaseUnavailable the database of the monitor or the registry cannot be used now
    │   └── PartitionsChanged  the stored state is divided into another number of partitions
    ├── NewerDatabase       a newer release has changed the schema of the monitor's database
    ├── OlderMonitor        a running monitor uses the schema that a migration would change
    ├── MissingBaseline     the file of a baseline is missing or damaged
    ├── ScoringUnavailable  no scoring process can start; the command stops
    ├── DeliveryFailed      a webhook was not delivered
    └── PageUnavailable     the status page cannot be served
"""

from eventlog.errors import DriftlineError


class MonitoringError(DriftlineError):
    """Base class of the errors of monitoring."""


class DatabaseUnavailable(MonitoringError):
    """The database of the monitor or the registry cannot be used now.

    An open transaction is rolled back. If the connection is lost during a commit, it is unknown
    whether the transaction was committed.
    """


class PartitionsChanged(DatabaseUnavailable):
    """The stored state has another number of partitions, and cannot be transferred now."""


class NewerDatabase(MonitoringError):
    """A newer release has changed the monitor's database; the message says what to do."""


class OlderMonitor(MonitoringError):
    """A migration would change the schema under a running monitor; the message says what to do."""


class MissingBaseline(MonitoringError):
    """The file of a baseline is missing or damaged; the message names the file."""


class ScoringUnavailable(MonitoringError):
    """No scoring process can start, because packages are missing or its folder is unusable."""


class DeliveryFailed(MonitoringError):
    """A webhook's receiver is unreachable or forbidden; the message states the reason."""


class PageUnavailable(MonitoringError):
    """The status page cannot be served; the message states the address and the reason."""
