"""Make the sentence of a retraining request, for chats and Alertmanager."""

from monitoring.results import RetrainRequest


def request_sentence(request: RetrainRequest | None) -> str:
    """Return the sentence of a request; None is a trial webhook."""
    if request is None:
        return "Trial webhook of Driftline. No action is needed."
    name = f"{request.model} version {request.version}"
    return f"Retraining requested for {name}: {request.reason} Rows: {request.rows_url}"
