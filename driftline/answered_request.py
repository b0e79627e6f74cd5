"""Check that a registration answers an existing retraining request."""

import importlib.util
from contextlib import closing
from pathlib import Path

from eventlog.settings import Home
from registry.errors import UnknownRequest
from registry.names import require_request_id


def require_request(home: Home, model: str, request: str) -> None:
    """Raise UnknownRequest if this machine's monitor did not make the retraining request.

    Without a monitor database, for example on a machine that only trains, every valid id is
    accepted. Raises InvalidName for an invalid id.
    """
    require_request_id(request)
    if not request or importlib.util.find_spec("monitoring") is None:
        return
    from monitoring.errors import DatabaseUnavailable  # noqa: PLC0415
    from monitoring.settings import database_address  # noqa: PLC0415 - imports SQLAlchemy
    from monitoring.storage.store import Store  # noqa: PLC0415
    from monitoring.webhooks.body import read_retrain_request  # noqa: PLC0415

    address = database_address(home)
    if isinstance(address, Path) and not address.exists():
        return
    try:
        with closing(Store(address)) as store:
            delivery = next(
                (delivery for delivery in store.deliveries() if delivery.webhook_id == request),
                None,
            )
    except DatabaseUnavailable:
        return
    retrain_request = read_retrain_request(delivery.body) if delivery is not None else None
    if retrain_request is None or retrain_request.model != model:
        about = (
            f"; it is about model {retrain_request.model!r}" if retrain_request is not None else ""
        )
        raise UnknownRequest(
            f"no retraining request {request!r} of model {model!r}{about}; "
            "driftline webhooks list shows all requests"
        )
