"""Statements on webhooks and disabled receivers."""

from sqlalchemy import BigInteger, Text, bindparam, delete, func, literal_column, select, update

from monitoring.storage.schema import disabled_receivers, outbox
from monitoring.storage.statements import RowChange, RowInsert, values_of

_PENDING = literal_column("'pending'", Text)
_DEAD = literal_column("'dead'", Text)
_ONE = literal_column("1", BigInteger)

DELIVERIES = select(outbox).order_by(outbox.c.created.desc())
DUE = (
    select(outbox)
    .where(outbox.c.state == _PENDING, outbox.c.next_attempt <= bindparam("now"))
    .order_by(outbox.c.created)
)
PENDING = select(outbox.c.webhook_id, outbox.c.body).where(outbox.c.state == _PENDING)
ADD = RowInsert(outbox, keep=True)
DELIVERED = RowChange(
    values_of(outbox, "webhook_id"),
    lambda params: (
        update(outbox)
        .values(
            state=literal_column("'delivered'"),
            attempts=outbox.c.attempts + _ONE,
            last_error=literal_column("''"),
        )
        .where(outbox.c.webhook_id == params["webhook_id"])
    ),
)
FAILED = RowChange(
    values_of(outbox, "state", "last_error", "next_attempt", "webhook_id"),
    lambda params: (
        update(outbox)
        .values(
            state=params["state"],
            attempts=outbox.c.attempts + _ONE,
            last_error=params["last_error"],
            next_attempt=params["next_attempt"],
        )
        .where(outbox.c.webhook_id == params["webhook_id"], outbox.c.state == _PENDING)
    ),
)
COUNT_DEAD = (
    select(func.count())
    .select_from(outbox)
    .where(outbox.c.webhook_id == bindparam("webhook_id"), outbox.c.state == _DEAD)
)
REVIVE = RowChange(
    values_of(outbox, "next_attempt", "webhook_id"),
    lambda params: (
        update(outbox)
        .values(state=_PENDING, attempts=literal_column("0"), next_attempt=params["next_attempt"])
        .where(outbox.c.webhook_id == params["webhook_id"], outbox.c.state == _DEAD)
    ),
)
SUPERSEDE = RowChange(
    values_of(outbox, "webhook_id"),
    lambda params: (
        update(outbox)
        .values(state=literal_column("'superseded'"))
        .where(outbox.c.webhook_id == params["webhook_id"], outbox.c.state == _PENDING)
    ),
)
DELETE_BEFORE = delete(outbox).where(
    outbox.c.state != _PENDING, outbox.c.created < bindparam("until")
)

DISABLED = select(disabled_receivers.c.body).order_by(disabled_receivers.c.receiver)
DISABLE = RowInsert(disabled_receivers, keep=True)
ENABLE = RowChange(
    values_of(disabled_receivers, "receiver"),
    lambda params: delete(disabled_receivers).where(
        disabled_receivers.c.receiver == params["receiver"]
    ),
)
