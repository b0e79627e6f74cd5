"""The prediction of a shadow for one request."""

from typing import NamedTuple

from eventlog.events import PredictionEvent, Tensor


class Answer(NamedTuple):
    """A version's prediction for one request."""

    event: PredictionEvent  # event of the request
    outputs: dict[str, Tensor]  # outputs of its rows without a failure
    failed: int  # rows that the model fails on
    agreed: int  # rows with the class that was answered
    run_us: int
