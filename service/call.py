"""A request while the service processes it, and its response."""

import typing
from collections.abc import Callable

import msgspec

from eventlog.events import Outcome, Protocol, Tensor
from registry.manifest import Version
from registry.outputs import PROBABILITIES, derived_outputs
from service.auth.key_limits import Account
from service.batching.job import RunResult
from service.errors import InvalidRequest
from service.protocol.classification import best_classes
from service.protocol.event_time import ahead_of_reception, read_event_time
from service.protocol.messages import InferRequest
from service.protocol.tensors import to_tensor
from service.protocol.validation import Inputs

UNLIMITED = 1 << 62  # value of `event_time_ahead` that allows every event time


class CallTrace(typing.Protocol):
    """The interface that records a request's progress; see service.telemetry.tracing."""

    def queued(self) -> None:
        """Record that the request is queued."""
        ...

    def answered(self, call: "Call", answer: "InferenceResponse") -> None:
        """Record that the response is in the log."""
        ...

    def unanswered(self, call: "Call", outcome: Outcome) -> None:
        """Record that the request failed or was cancelled."""
        ...


class Arm(msgspec.Struct, frozen=True):
    """The side of a rollout that answers a request, and the hash that decided this."""

    rollout: str  # id of the rollout
    name: typing.Literal["", "before", "rollout"]
    key: str  # hash of the routing key


NO_ARM = Arm("", "", "")  # for events of requests without a rollout


class Call(msgspec.Struct, kw_only=True):
    """A request; the pipeline sets the fields that follow from its body.

    `received` is in microseconds since the epoch; `started` and `deadline` are times by
    time.perf_counter.
    """

    protocol: Protocol
    model: str
    selector: str  # version number, alias or "" for the champion
    received: int
    started: float
    deadline: float
    traceparent: str = ""
    trace: CallTrace | None = None
    version: Version | None = None
    alias: str = ""
    routing_key: str = ""  # the header `driftline-routing-key`, for rollouts
    authorization: bytes | None = None  # the caller's Authorization header, once it was admitted
    account: Account | None = None  # account of the caller's key, which counts the request
    arm: Arm | None = None  # arm of the rollout that determined the version
    revision: int = 0  # revision of the registry that was used to resolve the version
    request: InferRequest | None = None
    event_time: int | None = None
    priority: int = 0  # priority that the caller states: 1 is the highest, 0 means none
    inputs: Inputs | None = None
    logged: bool = False  # whether the request's event is in the log
    prediction_id: str = ""  # prediction id of the event; set before a run, or on failure
    load_test: bool = False  # whether a load test sent the request, so that it is not monitored
    event_time_ahead: int = UNLIMITED  # maximum of `event_time` - `received`, in microseconds
    cancelled: bool = False  # whether the client cancelled
    dequeue: Callable[[], bool] | None = None  # cancels the job; returns whether it was queued

    def end_account(self) -> None:
        """End the request in the account of the caller's key; later calls do nothing."""
        account, self.account = self.account, None
        if account is not None:
            account.end()

    def set_event_time(self, value: object) -> None:
        """Set the event time that the client states; raises InvalidRequest."""
        time = read_event_time(value)
        if time > self.received + self.event_time_ahead:
            raise InvalidRequest(
                ahead_of_reception(value, time - self.received, self.event_time_ahead)
            )
        self.event_time = time


class InferenceResponse(msgspec.Struct, frozen=True):
    """The response to a request; it is sent once the request's event is in the log."""

    version: Version
    prediction_id: str
    request: InferRequest
    outputs: dict[str, Tensor]  # all outputs, encoded as in the event
    run: RunResult
    coerced: str = ""  # list of the conversions of inputs
    arm: Arm | None = None  # arm of the rollout that determined the version

    def output_names(self) -> list[str]:
        """Return the outputs that the client requested, by default the model's own outputs."""
        if self.request.outputs:
            return list(self.request.outputs)
        derived = derived_outputs(self.version.manifest.prediction)
        if not derived:
            return list(self.outputs)
        return [name for name in self.outputs if name not in derived]

    def parameters(self) -> dict[str, str | int]:
        """Return the response parameters: prediction id, arm, batch and durations."""
        run = self.run
        parameters: dict[str, str | int] = {"prediction_id": self.prediction_id}
        if self.coerced:
            parameters["coerced"] = self.coerced
        if self.arm is not None:
            parameters |= {"rollout": self.arm.rollout, "arm": self.arm.name}
        if run.cached:
            return parameters | {"cache_hit": True}
        return parameters | {
            "batch_id": run.batch_id,
            "batch_rows": run.batch_rows,
            "batch_offset": run.batch_offset,
            "queue_us": run.queue_us,
            "run_us": run.run_us,
        }

    def with_classes(self) -> "InferenceResponse":
        """Return the response with best classes in outputs for which the client requests them."""
        prediction = self.version.manifest.prediction
        arrays, tensors = dict(self.run.outputs), dict(self.outputs)
        for name, count in self.request.classes.items():
            scored = {prediction.probabilities, prediction.scores, PROBABILITIES}
            labels = prediction.classes if name in scored else []
            arrays[name] = best_classes(arrays[name], count, list(map(str, labels)))
            tensors[name] = to_tensor("BYTES", arrays[name])
        run = msgspec.structs.replace(self.run, outputs=arrays)
        return msgspec.structs.replace(self, outputs=tensors, run=run)
