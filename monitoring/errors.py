"""What can go wrong in monitoring.

DriftlineError
└── MonitoringError
    ├── DatabaseUnavailable the monitor's database, or the registry's, is lost or out of reach
    ├── NewerDatabase       a newer release has changed the schema of the monitor's database
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


class NewerDatabase(MonitoringError):
    """A newer release has changed the schema of the monitor's database; the message says how."""


class MissingBaseline(MonitoringError):
    """The file of a learned baseline is missing or damaged; the message says which."""


class ScoringUnavailable(MonitoringError):
    """No scoring process can start: its packages or its home do not work."""


class DeliveryFailed(MonitoringError):
    """A webhook's receiver could not be reached, or may not be; the message says which."""


class PageUnavailable(MonitoringError):
    """The status page cannot be served; the message says on which address and why."""
