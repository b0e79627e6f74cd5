"""One request on its way through the service, and its response."""

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

UNLIMITED = 1 << 62


class CallTrace(typing.Protocol):
    """Records the progress of a request; see service.telemetry.tracing."""

    def queued(self) -> None:
        """Record that the request is queued."""
        ...

    def answered(self, call: "Call", answer: "InferenceResponse") -> None:
        """Record that its response is in the log."""
        ...

    def unanswered(self, call: "Call", outcome: Outcome) -> None:
        """Record that it failed or was cancelled."""
        ...


class Arm(msgspec.Struct, frozen=True):
    """The version of a rollout that answers a request, and the reason."""

    rollout: str  # its id
    name: typing.Literal["", "before", "rollout"]
    key: str  # hash of the routing key


NO_ARM = Arm("", "", "")  # in events of requests that no rollout decided


class Call(msgspec.Struct, kw_only=True):
    """A request before its body is decoded; the pipeline fills in the rest.

    `received` is microseconds since the epoch; `started` and `deadline` are readings of
    time.perf_counter.
    """

    protocol: Protocol
    model: str
    selector: str  # version number, alias or "" for the champion
    received: int
    started: float
    deadline: float
    traceparent: str = ""
    trace: CallTrace | None = None  # records its progress
    version: Version | None = None
    alias: str = ""
    routing_key: str = ""  # routing key that the caller states, for rollouts
    authorization: bytes | None = None  # the caller's admitted header
    account: Account | None = None  # account of the caller's key, which counts the request
    arm: Arm | None = None  # arm of the rollout that decided about the version
    revision: int = 0  # revision of the registry, when the version was resolved
    request: InferRequest | None = None
    event_time: int | None = None
    priority: int = 0  # priority that the caller states, 1 the highest; 0: none
    inputs: Inputs | None = None
    logged: bool = False  # whether its event is in the log
    prediction_id: str = ""  # prediction id of that event; set before a run, or on failure
    load_test: bool = False  # whether a load test sent it, which is not monitored
    event_time_ahead: int = UNLIMITED  # microseconds; `event_time` may exceed `received` by so much
    cancelled: bool = False  # whether the client cancelled
    leave: Callable[[], bool] | None = None  # dequeues it; returns whether it was queued

    def end_account(self) -> None:
        """Release the request from the account of the caller's key; later calls do nothing."""
        account, self.account = self.account, None
        if account is not None:
            account.end()

    def state_event_time(self, value: object) -> None:
        """Set the event time that the client states; raises InvalidRequest."""
        time = read_event_time(value)
        if time > self.received + self.event_time_ahead:
            raise InvalidRequest(
                ahead_of_reception(value, time - self.received, self.event_time_ahead)
            )
        self.event_time = time


class InferenceResponse(msgspec.Struct, frozen=True):
    """The response to a request, created once its event is in the log."""

    version: Version
    prediction_id: str
    request: InferRequest
    outputs: dict[str, Tensor]  # all outputs, as the event carries them
    run: RunResult
    coerced: str = ""  # which inputs were converted, and how
    arm: Arm | None = None  # arm of the rollout that decided about the version

    def output_names(self) -> list[str]:
        """Return the requested outputs in the client's order; the model's own if it named none."""
        if self.request.outputs:
            return list(self.request.outputs)
        derived = derived_outputs(self.version.manifest.prediction)
        if not derived:
            return list(self.outputs)
        return [name for name in self.outputs if name not in derived]

    def parameters(self) -> dict[str, str | int]:
        """Return prediction id, batch and timings, as sent beside the outputs."""
        run = self.run
        noted: dict[str, str | int] = {"prediction_id": self.prediction_id}
        if self.coerced:
            noted["coerced"] = self.coerced
        if self.arm is not None:
            noted |= {"rollout": self.arm.rollout, "arm": self.arm.name}
        if run.cached:
            return noted | {"cache_hit": True}
        return noted | {
            "batch_id": run.batch_id,
            "batch_rows": run.batch_rows,
            "batch_offset": run.batch_offset,
            "queue_us": run.queue_us,
            "run_us": run.run_us,
        }

    def with_classes(self) -> "InferenceResponse":
        """Replace every output that was requested as classes by its best classes."""
        prediction = self.version.manifest.prediction
        arrays, tensors = dict(self.run.outputs), dict(self.outputs)
        for name, count in self.request.classes.items():
            scored = {prediction.probabilities, prediction.scores, PROBABILITIES}
            labels = prediction.classes if name in scored else []
            arrays[name] = best_classes(arrays[name], count, list(map(str, labels)))
            tensors[name] = to_tensor("BYTES", arrays[name])
        run = msgspec.structs.replace(self.run, outputs=arrays)
        return msgspec.structs.replace(self, outputs=tensors, run=run)
