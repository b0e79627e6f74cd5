"""Replacement of undelivered retraining requests by a later request of the same version."""

from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.webhooks.body import read_retrain_request


def supersede_requests(journal: Journal, key: Key) -> None:
    """Mark a version's pending retraining requests as superseded; call it within a transaction."""
    for older, encoded in journal.pending_deliveries().items():
        before = read_retrain_request(encoded)
        if before is not None and (before.model, before.version) == key:
            journal.supersede(older)
