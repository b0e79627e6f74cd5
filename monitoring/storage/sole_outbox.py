"""An outbox that several monitors share; one monitor at a time sends due webhooks."""

from monitoring.results import Delivery, DisabledReceiver
from monitoring.storage.store import Store


class SoleOutbox:
    """A `Store` as an outbox; implements `monitoring.webhooks.delivery.Outbox`.

    Only the monitor whose connection holds the lock reads due webhooks. If this monitor stops or
    loses its connection, another monitor takes the lock and may repeat an unfinished attempt.
    """

    def __init__(self, store: Store, duty: str) -> None:
        """Use the lock named `duty`; each receiver has its own lock."""
        self._store = store
        self._duty = duty

    def due(self, now: int) -> list[Delivery]:
        """Read the webhooks whose next attempt is due; none while another monitor sends."""
        return self._store.due(now) if self._store.has_duty(self._duty) else []

    def disabled(self) -> list[DisabledReceiver]:
        """Read the disabled receivers."""
        return self._store.disabled()

    def disable(self, disabled: DisabledReceiver) -> None:
        """Disable a receiver: no webhook is sent to it."""
        self._store.disable(disabled)

    def delivered(self, webhook_id: str) -> None:
        """Mark a webhook as delivered."""
        self._store.delivered(webhook_id)

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        """Record a failed attempt and the next attempt's time; None if there is no next attempt."""
        self._store.failed(webhook_id, error, next_attempt)
