"""The prediction of a shadow for one request."""

from typing import NamedTuple

from eventlog.events import PredictionEvent, Tensor


class Answer(NamedTuple):
    """A version's prediction for one request."""

    event: PredictionEvent  # logged event of the request
    outputs: dict[str, Tensor]  # outputs for the rows on which the model did not fail
    failed: int  # number of rows on which the model failed
    agreed: int  # number of rows with the same class as in the logged answer
    run_us: int  # duration of the run, in microseconds
