"""A record whose values another monitor has decoded, laid out and encoded already."""

from collections.abc import Sequence

from eventlog.log import Record
from monitoring.storage.row_layout import PredictedRow


class PreparedRecord(Record, frozen=True):
    """A prediction with its rows as they will be stored."""

    answers: Sequence[PredictedRow] = ()
