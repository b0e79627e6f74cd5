"""Statements on the hourly requests of models."""

from sqlalchemy import bindparam, select

from monitoring.storage.schema import traffic
from monitoring.storage.statements import RowInsert

ALL = select(traffic.c.model, traffic.c.open, traffic.c.judged).order_by(traffic.c.model)
JUDGED = select(traffic.c.model, traffic.c.judged).order_by(traffic.c.model)
OF_MODEL = select(traffic.c.judged).where(traffic.c.model == bindparam("model"))
SAVE = RowInsert(traffic, replace=["open", "judged"])
SAVE_OPEN = RowInsert(traffic, "model", "open", replace=["open"])
