"""The path of a request: resolve, decode, validate, queue, run, log, reply."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from eventlog.errors import DriftlineError, LogUnavailable
from eventlog.events import Outcome
from registry.manifest import Manifest, Version
from service.arms import choose_arm
from service.batching.job import Job
from service.call import Call, InferenceResponse
from service.errors import InvalidRequest, NotReady, OutOfMemory, Overloaded, RunFailed, message_of
from service.models.loaded_models import LoadedModels
from service.models.routing import Canary, LoadedVersion, UnavailableVersion
from service.prediction_log import PredictionLog, Reply, outcome_of
from service.protocol.messages import InferRequest
from service.protocol.prediction_ids import prediction_id_of
from service.protocol.validation import Inputs
from service.telemetry.metrics import count_fallback, count_request
from telemetry.logs import about

Decode = Callable[[Manifest], InferRequest]
# Returns only the parameters of a body that was not or could not be decoded; raises DriftlineError.
ReadParameters = Callable[[], Mapping[str, object]]
_CANCELLED = "the caller cancelled before the response"
_CANCELLED_IN_QUEUE = "the caller cancelled while the request was queued; it did not run"

_logger = logging.getLogger(__name__)


class Pipeline:
    """The path of all requests, by REST or gRPC; each request gets one event in the log."""

    def __init__(
        self,
        models: LoadedModels,
        log: PredictionLog,
        clock: Callable[[], float] = time.perf_counter,
        count_failure: Callable[[Version, float], None] = lambda _version, _seconds: None,
        may_try: Callable[[Call], bool] = lambda _: False,
    ) -> None:
        """`clock` is the clock of `Call.started`, in seconds.

        `count_failure` is called with version and duration of every failed request. `may_try`
        returns whether a call may use a candidate.
        """
        self._models = models
        self._log = log
        self._clock = clock
        self._count_failure = count_failure
        self._may_try = may_try
        self._rejected: list[tuple[Call, Overloaded, Reply]] = []

    @property
    def ready(self) -> bool:
        """Whether every model is ready and the log has space."""
        return self._models.ready and not self._log.full

    async def infer(
        self, call: Call, decode: Decode, read_parameters: ReadParameters | None = None
    ) -> InferenceResponse:
        """Return the response to a call; cancellation cancels the call.

        Raises a DriftlineError, which is in the log, or LogUnavailable.
        """
        future: asyncio.Future[InferenceResponse] = asyncio.get_running_loop().create_future()

        def reply(outcome: InferenceResponse | DriftlineError) -> None:
            if future.done():  # the task is being cancelled, but has not called `cancel` yet
                return
            if isinstance(outcome, InferenceResponse):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        self.submit(call, decode, reply, read_parameters)
        try:
            return await future
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    def submit(
        self,
        call: Call,
        decode: Decode,
        reply: Reply,
        read_parameters: ReadParameters | None = None,
    ) -> None:
        """Answer a call through `reply`; `decode` reads its body once the version is known.

        `reply` is called once with the response or the error, possibly before this method returns.
        The response or error is in the log by then, unless the error is LogUnavailable. For a
        request that is refused, `read_parameters` supplies the event time and the load test flag.
        """

        def finish(outcome: InferenceResponse | DriftlineError) -> None:
            # The call and its job refer to each other. If garbage collection had to free them, a
            # request of a small model would take a fifth longer.
            call.dequeue = None
            if isinstance(outcome, InferenceResponse):
                count_request(call.version, call.protocol, "ok", self._clock() - call.started)
                if call.trace is not None:
                    call.trace.answered(call, outcome)
                reply(outcome)
            else:
                reply(self.refuse(call, outcome))

        if self._log.waits_for_disk:
            reply = self._log.reply_when_durable(call, reply)
        try:
            served, job = self._queue(call, decode, finish)
        except DriftlineError as error:
            if read_parameters is not None:
                _set_event_time(call, read_parameters)
            if isinstance(error, Overloaded):
                self._reject_later(call, error, reply)
            else:
                finish(error)
        except Exception as error:
            _logger.exception("a request failed")
            finish(_unexpected(error))
        else:
            call.dequeue = partial(served.queue.cancel, job)

    def cancel(self, call: Call) -> None:
        """Cancel a call; log and count it. Its reply is not called."""
        call.cancelled = True
        was_queued = call.dequeue is not None and call.dequeue()
        call.dequeue = None  # because the call and its job refer to each other
        if call.logged:  # the response is in the log, although the client did not read it
            if call.trace is not None:
                call.trace.unanswered(call, "cancelled")
            return
        with suppress(LogUnavailable):  # there is no client to whom the error can be reported
            reason = _CANCELLED_IN_QUEUE if was_queued else _CANCELLED
            self._log_unanswered(call, "cancelled", reason)

    def refuse(self, call: Call, error: DriftlineError) -> DriftlineError:
        """Log and count a failed call; return the error to report, which can be LogUnavailable."""
        if isinstance(error, LogUnavailable):  # logging this error would fail too
            self._count_unanswered(call, "failed")
            return error
        outcome = outcome_of(error)
        try:
            self._log_unanswered(call, outcome, message_of(error))
        except LogUnavailable as unavailable:
            return unavailable
        if outcome == "failed":
            _log_failure(call, error)
        return error

    def _reject_later(self, call: Call, error: Overloaded, reply: Reply) -> None:
        """Refuse a call at the end of this event-loop iteration.

        All refusals of an iteration share one append to the log, so that a flood of requests does
        not slow down admitted requests.
        """
        self._rejected.append((call, error, reply))
        if len(self._rejected) == 1:
            asyncio.get_running_loop().call_soon(self._reply_rejected)

    def _reply_rejected(self) -> None:
        refused, self._rejected = self._rejected, []
        refused = [rejection for rejection in refused if not rejection[0].cancelled]
        unavailable: LogUnavailable | None = None
        try:
            self._log.append_failures([(call, "refused", str(error)) for call, error, _ in refused])
        except LogUnavailable as failure:
            unavailable = failure
        for call, error, reply in refused:
            self._count_unanswered(call, "failed" if unavailable else "refused")
            reply(unavailable or error)

    def _queue(
        self, call: Call, decode: Decode, finish: Reply
    ) -> tuple[LoadedVersion, Job[Call, InferenceResponse]]:
        """Queue the call for the version that answers it; raises DriftlineError."""
        self._log.check_space()
        served, route = self._models.find(call.model, call.selector)
        if route.candidate and not self._may_try(call):
            raise NotReady(
                f"model {call.model!r}: {route.candidate}; only keys with the scope try can use it"
            )
        call.alias = route.alias
        call.version, call.revision = served.version, self._models.revision
        if route.canary is None:
            served.queue.check_capacity()
        request = call.request = decode(served.version.manifest)
        if request.parameters:
            _read_parameters(call, request)
        inputs = call.inputs = _read_inputs(served, request)
        if call.account is not None:
            call.account.add_rows(inputs.rows)
        if route.canary is not None:
            self._log.set_prediction_id(call)
            call.arm = choose_arm(
                call, request, inputs, served.version.manifest, route.canary.rollout
            )
            canary = route.canary
            if call.arm.name == "rollout" and (job := self._queue_canary(canary, call, finish)):
                assert isinstance(canary.version, LoadedVersion)
                return canary.version, job
        return served, _submit(served, call, inputs, finish)

    def _queue_canary(
        self, canary: Canary, call: Call, finish: Reply
    ) -> Job[Call, InferenceResponse] | None:
        """Queue the call for the rollout's version; return None if this is not possible now."""
        served, before = canary.version, call.version
        assert call.request is not None
        assert before is not None
        if isinstance(served, UnavailableVersion):
            count_fallback(before, "not ready")
            return None
        call.version, inputs = served.version, call.inputs
        try:
            call.inputs = _read_inputs(served, call.request)
            return _submit(served, call, call.inputs, finish)
        except Overloaded:
            call.version, call.inputs = before, inputs
            count_fallback(before, "queue full")
            return None

    def _log_unanswered(self, call: Call, outcome: Outcome, reason: str) -> None:
        try:
            self._log.append_failures([(call, outcome, reason)])
        finally:
            self._count_unanswered(call, outcome)

    def _count_unanswered(self, call: Call, outcome: Outcome) -> None:
        seconds = self._clock() - call.started
        count_request(call.version, call.protocol, outcome, seconds)
        if call.version is not None:
            self._count_failure(call.version, seconds)
        if call.trace is not None:
            call.trace.unanswered(call, outcome)


def _read_inputs(served: LoadedVersion, request: InferRequest) -> Inputs:
    """Return the inputs as the version's arrays; raises InvalidRequest."""
    served.check.check_outputs(request.outputs)
    return served.check.read(request.inputs)


def _submit(
    served: LoadedVersion, call: Call, inputs: Inputs, finish: Reply
) -> Job[Call, InferenceResponse]:
    """Queue a call for a version; raises Overloaded."""
    job: Job[Call, InferenceResponse] = Job(
        call,
        inputs.arrays,
        rows=inputs.rows,
        size=inputs.size,
        deadline=call.deadline,
        reply=finish,
        priority=call.priority,
        group=inputs.group,
    )
    if call.trace is not None:
        call.trace.queued()
    served.queue.submit(job)
    return job


def _unexpected(error: Exception) -> RunFailed:
    if isinstance(error, MemoryError):
        return OutOfMemory("the request needs more memory than the worker's limit allows")
    return RunFailed("the request failed; see the server's log")


def _log_failure(call: Call, error: DriftlineError) -> None:
    """Log a failed request with the ids of its event and trace."""
    names = about(
        call.traceparent,
        prediction_id=call.prediction_id,
        model=call.model,
        version=call.version.number if call.version else "",
    )
    _logger.error("%s failed: %s", call.prediction_id, message_of(error), extra=names)


def _set_event_time(call: Call, read_parameters: ReadParameters) -> None:
    """Set the event time and the load test flag of a refused request, as its caller states them.

    Otherwise its event would count in the monitor's current window.
    """
    with suppress(DriftlineError):
        parameters = read_parameters()
        call.load_test = call.load_test or parameters.get("load_test") is True
        if call.event_time is None and parameters.get("event_time") is not None:
            call.set_event_time(parameters["event_time"])


def _read_parameters(call: Call, request: InferRequest) -> None:
    """Apply the request's parameters: request id, event time, load test, timeout and priority."""
    load_test = request.parameters.get("load_test")
    if load_test is not None:
        if type(load_test) is not bool:
            raise InvalidRequest("parameter load_test: expected true or false")
        call.load_test = load_test
    request_id = request.parameters.get("request_id")
    if request_id is not None:
        if type(request_id) is not str:
            raise InvalidRequest("parameter request_id: expected text")
        call.prediction_id = prediction_id_of(call.model, request_id)
    event_time = request.parameters.get("event_time")
    if event_time is not None:
        call.set_event_time(event_time)
    timeout = request.parameters.get("timeout")
    if timeout is not None:
        if type(timeout) is not int or not 0 < timeout < 2**63:
            raise InvalidRequest("parameter timeout: expected a positive number of microseconds")
        call.deadline = min(call.deadline, call.started + timeout / 1e6)
    priority = request.parameters.get("priority")
    if priority is not None:
        if type(priority) is not int or not 0 <= priority < 2**63:
            raise InvalidRequest(
                "parameter priority: expected 0 for none, or a level from 1 (the highest)"
            )
        call.priority = priority
