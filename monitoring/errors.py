"""What can go wrong in monitoring.

DriftlineError
└── MonitoringError
    ├── DeliveryFailed      a webhook that could not be handed over
    └── PageUnavailable     the status page cannot be served
"""

from eventlog.errors import DriftlineError


class MonitoringError(DriftlineError):
    """Something about monitoring."""


class DeliveryFailed(MonitoringError):
    """A webhook's receiver could not be reached, or may not be; the message says which."""


class PageUnavailable(MonitoringError):
    """The status page cannot be served; the message says on which address and why."""
