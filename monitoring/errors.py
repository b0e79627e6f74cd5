"""Errors of monitoring.

DriftlineError
└── MonitoringError
    ├── DatabaseUnavailable the monitor's database, or the registry's, is lost or out of reach
    │   └── PartitionsChanged  its state is that of another number of partitions
    ├── NewerDatabase       a newer release has changed the schema of the monitor's database
    ├── OlderMonitor        a running monitor uses the schema that a migration would change
    ├── MissingBaseline     the file of a learned baseline is missing or damaged
    ├── ScoringUnavailable  no scoring process can start; the command ends
    ├── DeliveryFailed      a webhook that could not be handed over
    └── PageUnavailable     the status page cannot be served
"""

from eventlog.errors import DriftlineError


class MonitoringError(DriftlineError):
    """Something about monitoring."""


class DatabaseUnavailable(MonitoringError):
    """The monitor's database, or the registry's, cannot be used now.

    Of a transaction under way nothing is kept, unless it was lost in the very moment of its commit.
    """


class PartitionsChanged(DatabaseUnavailable):
    """The state has another number of partitions, and cannot be transferred now."""


class NewerDatabase(MonitoringError):
    """A newer release has changed the schema of the monitor's database; the message states how."""


class OlderMonitor(MonitoringError):
    """A migration would change the schema under a running monitor; the message says what to do."""


class MissingBaseline(MonitoringError):
    """The file of a learned baseline is missing or damaged; the message says which."""


class ScoringUnavailable(MonitoringError):
    """No scoring process can start: its packages or its home do not work."""


class DeliveryFailed(MonitoringError):
    """A webhook's receiver could not be reached, or may not be; the message says which."""


class PageUnavailable(MonitoringError):
    """The status page cannot be served; the message says on which address and why."""
