"""Locust's users; each kind of user sends requests by one protocol."""

import random
import time
from collections.abc import Callable
from typing import Any, cast

import gevent
from locust import User, constant, constant_throughput, task
from locust.exception import StopUser

from loadtests.clients import Grpc, RequestFailed, RequestRefused, Rest, is_secure
from loadtests.payloads import Payload
from loadtests.traffic import Traffic

REFUSED = "refused"  # locust's request name for refusals


class ProtocolUser(User):
    """A client with its own connection."""

    abstract = True
    rest: Rest

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.traffic: Traffic = environment.traffic
        unpaced = self.traffic.provokes_refusals or self.traffic.replay
        rate = 0.0 if unpaced else environment.parsed_options.rate
        self._pause = constant_throughput(rate) if rate else constant(0)

    def wait_time(self) -> float:
        """Return the seconds until the next request."""
        return float(self._pause(self))

    def on_start(self) -> None:
        """Open the connection."""
        options = self.environment.parsed_options
        self.rest = Rest(self.traffic.url, self.traffic.version.model, options.model_version)

    def on_stop(self) -> None:
        """Close the connection."""
        self.rest.close()

    def timed(
        self, protocol: str, name: str, send: Callable[[], bytes], due: float | None = None
    ) -> bytes:
        """Send a request and report it to locust; return the response, empty on failure.

        The latency is measured from `due`, by default from now.
        """
        measured = not self.traffic.is_warming_up
        started = time.perf_counter() if due is None else due
        answer, error = b"", cast("Exception | None", None)
        try:
            answer = send()
        except RequestRefused as refusal:
            if self.traffic.provokes_refusals:
                name = REFUSED
            else:
                error = refusal
        except RequestFailed as failure:
            error = failure
        if measured:
            self.environment.events.request.fire(
                request_type=protocol,
                name=name,
                response_time=1000 * (time.perf_counter() - started),
                response_length=len(answer),
                exception=error,
                context={},
            )
        return answer

    def payload(self) -> Payload:
        """Return a random request at the current strength of drift."""
        return random.choice(self.traffic.payloads())  # noqa: S311 - the choice of a row needs no security


class RestJson(ProtocolUser):
    """A client of the Open Inference Protocol in JSON."""

    @task
    def predict(self) -> None:
        """Request a prediction for one row."""
        payload = self.payload()
        self.timed("REST JSON", "predict", lambda: self.rest.json(payload))


class RestBinary(ProtocolUser):
    """A client of the Open Inference Protocol with the binary tensor data extension."""

    @task
    def predict(self) -> None:
        """Request a prediction for one row."""
        payload = self.payload()
        self.timed("REST binary", "predict", lambda: self.rest.binary(payload))


class Feedback(ProtocolUser):
    """A client that sends a request in JSON, then the label of its row."""

    @task
    def predict_and_label(self) -> None:
        """Request a prediction for one row, then send its label if it has one."""
        payload = self.payload()
        answer = self.timed("REST JSON", "predict", lambda: self.rest.json(payload))
        if answer and payload.label is not None:
            self.timed("REST JSON", "feedback", lambda: self._send_label(answer, payload))

    def _send_label(self, answer: bytes, payload: Payload) -> bytes:
        return self.rest.send_label(answer, payload, monitored=self.traffic.monitored)


class GrpcUser(ProtocolUser):
    """A client with a REST connection and a gRPC channel."""

    abstract = True
    grpc: Grpc

    def on_start(self) -> None:
        """Open the connection and the channel."""
        super().on_start()
        target = self.environment.parsed_options.grpc_host
        self.grpc = Grpc(target, secure=is_secure(self.traffic.url))

    def on_stop(self) -> None:
        """Close the channel and the connection."""
        self.grpc.close()
        super().on_stop()


class GrpcRaw(GrpcUser):
    """A client of the Open Inference Protocol over gRPC with raw tensors."""

    @task
    def predict(self) -> None:
        """Request a prediction for one row."""
        payload = self.payload()
        self.timed("gRPC", "predict", lambda: self.grpc.infer(payload))


class Recorded(GrpcUser):
    """A client that sends logged requests when they are due."""

    @task
    def send_next(self) -> None:
        """Send the next logged request; stop after the last one."""
        replay = self.traffic.replay
        assert replay is not None
        request_due = replay.take()
        if request_due is None:
            raise StopUser
        request, due = request_due
        send = {
            "REST JSON": self.rest.json,
            "REST binary": self.rest.binary,
            "gRPC": self.grpc.infer,
        }[request.form]
        try:
            gevent.sleep(max(due - time.perf_counter(), 0))
            self.timed(request.form, "predict", lambda: send(request.payload), due)
        finally:
            replay.complete()
