"""The traffic: predictions of flights in time order over REST and gRPC, and labels after arrival.

Each flight is one request with its scheduled departure as event time. Every second request is sent
over gRPC. The label of a flight is sent as feedback after its arrival in replayed time. Cancelled
and diverted flights never get a label.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from typing import Any, Protocol

import aiohttp
import grpc.aio
import msgspec
import pandas as pd

from registry.manifest import Manifest
from service.protocol import open_inference_pb2 as pb

MODEL = "flights"
IN_FLIGHT = 32  # maximum number of simultaneous requests
LABELS_PER_POST = 1000
HOUR = 3_600_000_000  # microseconds

_encode = msgspec.json.Encoder().encode


class Flight(msgspec.Struct, frozen=True):
    """One departure, with its features and its label."""

    event_time: int  # scheduled departure, microseconds since the epoch
    known_at: int | None  # time at which the label is known, None if it never is
    late: int | None  # the label
    features: list[Any]  # in the manifest's order


class FlightClient(Protocol):
    """A client that requests the prediction of a flight and returns the prediction id."""

    async def __call__(self, flight: Flight) -> str:
        """Predict one flight; raises an error if the service does not reply with a prediction."""
        ...


class Rest:
    """A client of the Open Inference Protocol over REST, and of the feedback route."""

    def __init__(self, session: aiohttp.ClientSession, manifest: Manifest) -> None:
        """`session` has the service's URL as its base URL."""
        self._session = session
        self._inputs = _inputs(manifest)

    async def __call__(self, flight: Flight) -> str:
        """See `FlightClient`."""
        body = {
            "inputs": [
                {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}
                for (name, datatype), value in zip(self._inputs, flight.features, strict=True)
            ],
            "parameters": {"event_time": flight.event_time},
        }
        async with self._session.post(f"/v2/models/{MODEL}/infer", data=_encode(body)) as reply:
            answer = msgspec.json.decode(await reply.read())
            if reply.status != 200:
                raise RuntimeError(f"the service replied {reply.status}: {answer}")
            return str(answer["parameters"]["prediction_id"])

    async def send_labels(self, labels: Sequence[dict[str, Any]]) -> None:
        """Send labels as feedback."""
        async with self._session.post("/v1/feedback", data=_encode(labels)) as reply:
            if reply.status != 200:
                raise RuntimeError(f"feedback refused with {reply.status}: {await reply.text()}")


class Grpc:
    """A client of the Open Inference Protocol over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, manifest: Manifest) -> None:
        """`channel` is connected to the service."""
        self._infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        self._inputs = _inputs(manifest)

    async def __call__(self, flight: Flight) -> str:
        """See `FlightClient`."""
        request = pb.ModelInferRequest(model_name=MODEL)
        request.parameters["event_time"].int64_param = flight.event_time
        for (name, datatype), value in zip(self._inputs, flight.features, strict=True):
            tensor = request.inputs.add(name=name, datatype=datatype, shape=[1, 1])
            if datatype == "BYTES":
                tensor.contents.bytes_contents.append(value.encode())
            else:
                tensor.contents.fp32_contents.append(value)
        response = await self._infer(request)
        return str(response.parameters["prediction_id"].string_param)


class PendingLabels:
    """Labels that are not known yet in replayed time."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str, int]] = []

    def expect(self, flight: Flight, prediction_id: str) -> None:
        """Store the flight's label if it has one."""
        if flight.known_at is not None and flight.late is not None:
            heappush(self._waiting, (flight.known_at, prediction_id, flight.late))

    def arrived(self, now: int | None) -> Iterator[dict[str, Any]]:
        """Remove and yield the labels known at `now`, or all if it is None, as feedback items."""
        while self._waiting and (now is None or self._waiting[0][0] <= now):
            known_at, prediction_id, late = heappop(self._waiting)
            yield {"prediction_id": prediction_id, "label": late, "event_time": known_at}


def flights(frame: pd.DataFrame, manifest: Manifest) -> list[Flight]:
    """Return the rows of `data.load()` in time order."""
    ordered = frame.sort_values("event_time", kind="stable")
    rows = list(zip(*(_values(ordered[f.name], f.kind) for f in manifest.features), strict=True))
    return [
        Flight(int(time), _whole(known_at), _whole(late), list(row))
        for time, known_at, late, row in zip(
            ordered["event_time"], ordered["known_at"], ordered["late"], rows, strict=True
        )
    ]


async def replay(
    traffic: Sequence[Flight],
    clients: Sequence[FlightClient],
    rest: Rest,
    after_hour: Callable[[int, int], None],
    between: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Request predictions of all flights, hour by hour, alternating between `clients`; send labels.

    After each hour, `after_hour(flights, time)` is called and `between` awaited. Returns the number
    of sent labels.
    """
    pending, labels, limit = PendingLabels(), 0, asyncio.Semaphore(IN_FLIGHT)

    async def request(number: int, flight: Flight) -> None:
        async with limit:
            pending.expect(flight, await clients[number % len(clients)](flight))

    for hour in _hours(traffic):
        await asyncio.gather(*(request(number, flight) for number, flight in enumerate(hour)))
        labels += await _send(rest, pending.arrived(hour[-1].event_time))
        after_hour(len(hour), hour[-1].event_time)
        if between is not None:
            await between()
    return labels + await _send(rest, pending.arrived(None))


@asynccontextmanager
async def transports(
    manifest: Manifest, rest_port: int, grpc_port: int
) -> AsyncIterator[tuple[Rest, Grpc]]:
    """Yield a REST client and a gRPC client of the service on this machine."""
    url = f"http://127.0.0.1:{rest_port}"
    headers = {"content-type": "application/json"}
    async with (
        aiohttp.ClientSession(url, headers=headers) as session,
        grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
    ):
        yield Rest(session, manifest), Grpc(channel, manifest)


async def _send(rest: Rest, labels: Iterator[dict[str, Any]]) -> int:
    items = list(labels)
    for start in range(0, len(items), LABELS_PER_POST):
        await rest.send_labels(items[start : start + LABELS_PER_POST])
    return len(items)


def _hours(traffic: Sequence[Flight]) -> Iterator[list[Flight]]:
    hour: list[Flight] = []
    for flight in traffic:
        if hour and flight.event_time // HOUR != hour[0].event_time // HOUR:
            yield hour
            hour = []
        hour.append(flight)
    if hour:
        yield hour


def _inputs(manifest: Manifest) -> list[tuple[str, str]]:
    """Return the name and datatype of each feature's input; every feature has its own input."""
    assert manifest.signature is not None
    datatypes = {spec.name: spec.datatype for spec in manifest.signature.inputs}
    return [(feature.input, datatypes[feature.input]) for feature in manifest.features]


def _values(column: "pd.Series[Any]", kind: str) -> list[Any]:
    """Return values for tensors; missing values are "" or NaN (null in JSON)."""
    if kind == "categorical":
        return column.astype(object).where(column.notna(), "").tolist()
    return column.astype(float).tolist()


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)
