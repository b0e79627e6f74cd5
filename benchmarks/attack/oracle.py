"""Honest callers that record their answered calls, and the comparison of this record with the log.

Every answer must equal the model's answer for the row. The log must contain every answered
prediction once, with outcome `ok`, and every accepted label once. A refusal for a stated limit
(429, RESOURCE_EXHAUSTED) is counted separately. Any other refusal is a lost call.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import grpc.aio
import httpx
import msgspec
import numpy as np
import onnxruntime
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.attack.attacks import MODEL_PATH
from benchmarks.compare.models import Subject
from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentReader
from service.protocol import open_inference_pb2 as pb

DEADLINE_S = 10.0
_PAUSE_S = 1.0  # mean pause of each caller
_REST_CALLERS, _GRPC_CALLERS = 4, 2
_ROWS = 64
_LABELLED = 5  # one in this number of answers is labelled
_BATCH = 2_000

Array = np.ndarray[Any, Any]


class ExpectedAnswers(msgspec.Struct):
    """Rows for single requests, and the model's probabilities for them."""

    rows: Array
    probabilities: Array


def answers_of(subject: Subject) -> ExpectedAnswers:
    """Return the answers of the model, run without Driftline."""
    noise = np.random.default_rng(0).normal(1.0, 0.2, (_ROWS, subject.rows.shape[1]))
    rows = (subject.rows[:1] * noise).astype(np.float32)
    session = onnxruntime.InferenceSession(str(subject.path), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"x": rows})
    return ExpectedAnswers(rows, probabilities)


class CallerReplies(msgspec.Struct):
    """Replies of one gRPC server's service to the honest callers."""

    seconds: list[tuple[float, float]] = []  # start and duration of each answered call
    bounded: Counter[str] = msgspec.field(default_factory=Counter)  # refusals for a stated limit
    lost: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: int = 0  # answers that differ from the model's


class FrontCallers:
    """The honest callers of one service."""

    def __init__(
        self, port: int, grpc_port: int, key: str, answers: ExpectedAnswers, promised: Path
    ) -> None:
        """`promised` is the file that records answered predictions and accepted labels by id."""
        self.replies = CallerReplies()
        self._url, self._address = f"http://127.0.0.1:{port}", f"127.0.0.1:{grpc_port}"
        self._bearer = {"authorization": f"Bearer {key}"}
        self._answers = answers
        self._promised_path = promised
        self._promised: BinaryIO = promised.open("wb", buffering=0)
        self._chance = random.Random(port)  # noqa: S311 - repeatable

    async def call(self, seconds: float) -> None:
        """Send calls for this number of seconds."""
        until = time.monotonic() + seconds
        with self._promised:
            async with (
                httpx.AsyncClient(
                    base_url=self._url, trust_env=False, timeout=DEADLINE_S, headers=self._bearer
                ) as client,
                grpc.aio.insecure_channel(self._address) as channel,
            ):
                rest = [lambda: self._rest(client)] * _REST_CALLERS
                native = [lambda: self._grpc(channel)] * _GRPC_CALLERS
                callers = [*rest, *native, self._probe, self._probe_grpc]
                await asyncio.gather(*(self._repeat(caller, until) for caller in callers))

    async def _repeat(self, call: Callable[[], Awaitable[None]], until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(self._chance.uniform(0, 2 * _PAUSE_S))
            began = time.monotonic()
            try:
                await call()
            except httpx.HTTPStatusError as error:
                self._fail(error.response.status_code == 429, f"REST {error.response.status_code}")
            except grpc.RpcError as error:
                bounded = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                self._fail(bounded, f"gRPC {error.code().name} {error.details()}"[:120])
            except httpx.HTTPError as error:
                self._fail(False, f"REST {type(error).__name__} {error}"[:120])  # noqa: FBT003
            else:
                self.replies.seconds.append((began, time.monotonic() - began))

    def _fail(self, bounded: bool, text: str) -> None:  # noqa: FBT001
        (self.replies.bounded if bounded else self.replies.lost)[text] += 1

    def _promise(self, kind: str, identity: str) -> None:
        self._promised.write(f"{kind} {identity}\n".encode())

    def _check(self, number: int, probabilities: list[float]) -> None:
        expected = self._answers.probabilities[number]
        if not np.allclose(probabilities, expected, rtol=1e-5, atol=1e-6):
            self.replies.wrong += 1

    async def _rest(self, client: httpx.AsyncClient) -> None:
        number = self._chance.randrange(_ROWS)
        row = self._answers.rows[number].tolist()
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(row)], "data": row}
        reply = await client.post(MODEL_PATH, content=msgspec.json.encode({"inputs": [tensor]}))
        reply.raise_for_status()
        answer = reply.json()
        identity = answer["parameters"]["prediction_id"]
        self._promise("prediction", identity)
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        self._check(number, outputs["probabilities"])
        if self._chance.randrange(_LABELLED) == 0:
            label = {"prediction_id": identity, "label": 1}
            accepted = await client.post("/v1/feedback", json=label)
            accepted.raise_for_status()
            self._promise("label", identity)

    async def _grpc(self, channel: grpc.aio.Channel) -> None:
        number = self._chance.randrange(_ROWS)
        row = self._answers.rows[number].tolist()
        request = pb.ModelInferRequest(model_name="small")
        request.inputs.add(name="x", datatype="FP32", shape=[1, len(row)])
        request.inputs[0].contents.fp32_contents.extend(row)
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        metadata = tuple(self._bearer.items())
        data = await infer(request.SerializeToString(), metadata=metadata, timeout=DEADLINE_S)
        reply = pb.ModelInferResponse.FromString(data)
        self._promise("prediction", reply.parameters["prediction_id"].string_param)
        output = next(output for output in reply.outputs if output.name == "probabilities")
        self._check(number, list(output.contents.fp32_contents))

    async def _probe(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as stranger:
            (await stranger.get(f"{self._url}/v2/health/ready")).raise_for_status()

    async def _probe_grpc(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._address, options=options) as stranger:
            check = health_pb2_grpc.HealthStub(stranger).Check
            await check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)

    def compare(self, log: Path) -> tuple[int, list[str]]:
        """Return the number of records that the log contains once, and the other records."""
        counts: Counter[str] = Counter()
        reader = SegmentReader(log, {})
        while records := reader.poll(_BATCH):
            for record in records:
                event = record.event
                if isinstance(event, PredictionEvent) and event.outcome == "ok":
                    counts[f"prediction {event.prediction_id}"] += 1
                elif isinstance(event, FeedbackEvent):
                    counts[f"label {event.prediction_id}"] += 1
        reader.close()
        promised = self._promised_path.read_text().splitlines()
        broken = [promise for promise in promised if counts[promise] != 1]
        return len(promised) - len(broken), broken
