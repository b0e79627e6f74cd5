"""Make the sentences of requests for retraining and approval, for chats and Alertmanager."""

from monitoring.results import RetrainRequest
from registry.pending_approvals import PendingApproval


def request_sentence(request: RetrainRequest | None) -> str:
    """Return the sentence of a request; None is a trial webhook."""
    if request is None:
        return "Trial webhook of Driftline. No action is needed."
    name = f"{request.model} version {request.version}"
    return f"Retraining requested for {name}: {request.reason} Rows: {request.rows_url}"


def approval_sentence(asked: PendingApproval, page: str) -> str:
    """Return the sentence of a request for approval."""
    gates = f" Gates: {asked.verdict}." if asked.verdict else ""
    roles = f" of {' or '.join(asked.roles)}" if asked.roles else ""
    return (
        f"Approval{roles} requested for {asked.model} version {asked.number} as {asked.alias}, by "
        f"{asked.requested_by or 'unknown'}: {asked.why}.{gates} {page}"
    )
