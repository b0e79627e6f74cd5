"""The outbox of several monitors; one monitor at a time sends due webhooks."""

from monitoring.results import Delivery, DisabledReceiver
from monitoring.storage.store import Store


class SoleOutbox:
    """A `Store` as an outbox; implements `monitoring.webhooks.delivery.Outbox`.

    What is due is returned to the monitor whose connection holds the lock. If it ends or loses the
    connection, another one continues; an attempt under way may then be made twice.
    """

    def __init__(self, store: Store, duty: str) -> None:
        """`duty` names the lock: one for each receiver."""
        self._store = store
        self._duty = duty

    def due(self, now: int) -> list[Delivery]:
        """Read the webhooks whose next attempt is due; none while another monitor sends."""
        return self._store.due(now) if self._store.has_duty(self._duty) else []

    def disabled(self) -> list[DisabledReceiver]:
        """Read the receivers that are sent nothing."""
        return self._store.disabled()

    def disable(self, disabled: DisabledReceiver) -> None:
        """Send nothing to a receiver."""
        self._store.disable(disabled)

    def delivered(self, webhook_id: str) -> None:
        """Mark a webhook as delivered."""
        self._store.delivered(webhook_id)

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        """Record a failed attempt and the time of the next one (None: never)."""
        self._store.failed(webhook_id, error, next_attempt)
