"""The straight line of one request: resolve, decode, validate, admit, batch, run, log, answer."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from eventlog.errors import DriftlineError, LogUnavailable
from eventlog.events import Outcome
from registry.manifest import Manifest
from service.batching.batcher import Job
from service.call import Answer, Call
from service.errors import InvalidRequest, RunFailed, message_of
from service.event_time import read_event_time
from service.models import Models
from service.openinference.messages import InferRequest
from service.prediction_log import PredictionLog, outcome_of
from service.telemetry.metrics import count_request

_logger = logging.getLogger(__name__)


class Pipeline:
    """Every transport's requests come through here, and leave with one event in the log each."""

    def __init__(
        self,
        models: Models,
        log: PredictionLog,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._models = models
        self._log = log
        self._clock = clock

    async def infer(self, call: Call, decode: Callable[[Manifest], InferRequest]) -> Answer:
        """Answer a call; `decode` reads its body once the version is known.

        Raises a DriftlineError, which is then in the log; LogUnavailable when it could not be.
        """
        try:
            answer = await self._answer(call, decode)
        except DriftlineError as error:
            self.refuse(call, error)
            raise
        except Exception as error:
            _logger.exception("a request failed")
            failure = RunFailed("the request failed; the server's log says why")
            self.refuse(call, failure)
            raise failure from error
        except asyncio.CancelledError:
            with suppress(LogUnavailable):  # nobody is left to hear of it
                self._unanswered(call, "cancelled", "the caller left before the answer")
            raise
        count_request(call.version, call.protocol, "ok", self._clock() - call.started)
        return answer

    def abandon(self, call: Call) -> None:
        """Log and count a call whose caller left before it was read."""
        with suppress(LogUnavailable):
            self._unanswered(call, "cancelled", "the caller left before the request was read")

    def refuse(self, call: Call, error: DriftlineError) -> None:
        """Log and count a call that ends with an error; raises LogUnavailable."""
        self._unanswered(call, outcome_of(error), message_of(error))

    async def _answer(self, call: Call, decode: Callable[[Manifest], InferRequest]) -> Answer:
        served, call.alias = self._models.resolve(call.model, call.asked)
        call.version, call.revision = served.version, self._models.revision
        request = call.request = decode(served.version.manifest)
        _read_parameters(call, request)
        served.check.check_outputs(request.outputs)
        inputs = call.inputs = served.check.read(request.inputs)
        job: Job[Call, Answer] = Job(
            call, inputs.arrays, rows=inputs.rows, size=inputs.size, deadline=call.deadline
        )
        return await served.batcher.submit(job)

    def _unanswered(self, call: Call, outcome: Outcome, reason: str) -> None:
        count_request(call.version, call.protocol, outcome, self._clock() - call.started)
        self._log.unanswered(call, outcome, reason)


def _read_parameters(call: Call, request: InferRequest) -> None:
    """Take in what a client may state about its request: event time and deadline."""
    event_time = request.parameters.get("event_time")
    if event_time is not None:
        call.event_time = read_event_time(event_time)
    timeout = request.parameters.get("timeout")
    if timeout is not None:
        if type(timeout) is not int or not 0 < timeout < 2**63:
            raise InvalidRequest("parameter timeout: expected a positive number of microseconds")
        call.deadline = min(call.deadline, call.started + timeout / 1e6)
