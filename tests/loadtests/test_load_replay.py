"""Logged requests are resent unchanged, at their times."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from eventlog.errors import SettingError
from eventlog.events import PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from loadtests.logged_period import LoggedPeriod, read_period
from loadtests.logged_requests import Requested, read_requests, unchanged_versions
from loadtests.replay import Replay
from registry.manifest import Version
from registry.store import Registry
from service.protocol import binary, json, protobuf
from service.protocol import open_inference_pb2 as pb
from tests.tiny_model import register_tiny

SECOND = 1_000_000
T0 = 1_767_268_800 * SECOND  # 2026-01-01T12:00Z
INPUTS = {
    "price": Tensor("FP32", [2, 1], [1.5, None]),
    "colour": Tensor("BYTES", [2, 1], ["red", ""]),
}
PERIOD = LoggedPeriod(T0, T0 + 100 * SECOND)


class Log:
    """A log of requests of the tiny classifier."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.registry = Registry(self.home)
        self.version: Version = register_tiny(self.registry, root / "files")
        self._writer = SegmentWriter.claim(self.home.log, "serving", LogSettings())

    def add(self, seconds: float, **changes: Any) -> None:
        """Log a request that was received so many seconds after T0."""
        received = T0 + round(seconds * SECOND)
        event = PredictionEvent(
            source=self._writer.source,
            epoch=self._writer.epoch,
            sequence=self._writer.next_sequence,
            time=0,  # stated by the client
            received=received,
            prediction_id=f"p{self._writer.next_sequence}",
            model="tiny",
            version="1",
            protocol="rest",
            outcome="ok",
            rows=2,
            inputs=INPUTS,
        )
        self._writer.append([replace(event, **changes)])

    def read(self, **parameters: bool) -> Any:
        unchanged = unchanged_versions(self.registry, "tiny")
        requested = Requested(self.version, "", parameters)
        return read_requests(self.home.log, unchanged, requested, PERIOD)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """An empty log beside a registered classifier."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Log(tmp_path)


def test_a_request_has_the_logged_inputs_in_every_form(log: Log) -> None:
    log.add(0)
    log.add(1, protocol="grpc")
    halves = np.full(2_000, 0.5, "<f4")
    raw = Tensor("FP32", [2_000, 1], [], b64encode(halves.tobytes()).decode())
    colours = Tensor("BYTES", [2_000, 1], ["red"] * 2_000)
    log.add(2, inputs={"price": raw, "colour": colours}, rows=2_000)
    logged = log.read(load_test=True)
    assert [request.form for request in logged.requests] == ["REST JSON", "gRPC", "REST binary"]
    first, second, third = (request.payload for request in logged.requests)
    decoded = [
        json.decode_request(first.json),
        protobuf.decode_request(pb.ModelInferRequest.FromString(second.grpc)),
        binary.decode_request(third.binary, b"%d" % third.binary_json_length),
    ]
    for request, rows in zip(decoded, (2, 2, 2_000), strict=True):
        assert [(tensor.name, list(tensor.shape)) for tensor in request.inputs] == [
            ("price", [rows, 1]),
            ("colour", [rows, 1]),
        ]
        assert request.parameters["load_test"] is True
    assert decoded[0].inputs[1].array().ravel().tolist() == ["red", ""]
    assert decoded[2].inputs[0].array().ravel().tolist() == halves.tolist()


def test_requests_that_cannot_be_resent_are_counted_by_reason(log: Log) -> None:
    log.add(5)
    log.add(6, inputs={}, payload="dropped")
    log.add(7, outcome="invalid")
    log.add(8, version="9")
    log.add(9, inputs={"price": INPUTS["price"]})
    log.add(10, outcome="expired", reason="no time was left")
    for unrelated in (
        {"load_test": True},
        {"protocol": "shadow"},
        {"model": "other"},
        {"received": PERIOD.start - 1},
        {"received": PERIOD.end},
    ):
        log.add(11, **unrelated)
    logged = log.read()
    assert [request.received for request in logged.requests] == [T0 + 5 * SECOND, T0 + 10 * SECOND]
    assert logged.note == (
        "2 logged requests; skipped: 1 because the log has no inputs; "
        "1 because the service refused them as invalid; "
        "1 because a payload policy hides inputs, or the version is not registered; "
        "1 because version 1 expects other inputs"
    )


def test_a_period_without_requests_is_an_error_with_the_reason(log: Log) -> None:
    log.add(6, inputs={}, payload="dropped")
    with pytest.raises(SettingError) as refused:
        log.read()
    assert "no request to tiny that can be sent again" in str(refused.value)
    assert "2026-01-01 12:00:00 to 2026-01-01 12:01:40 UTC" in str(refused.value)
    assert "1 because the log has no inputs" in str(refused.value)


def test_requests_are_due_as_they_arrived_divided_by_the_speed(log: Log) -> None:
    for seconds in (10, 14, 11):  # the writers' order is not that of the receptions
        log.add(seconds)
    now = 50.0
    replay = Replay(log.read(), 2.0, clock=lambda: now)
    due = []
    while next_request := replay.take():
        due.append(next_request[1])
        replay.complete()
    assert [moment - due[0] for moment in due] == [0.0, 0.5, 2.0]
    assert replay.finished
    assert replay.note == "3 logged requests; 3 due in 2 s at speed 2"
    short = Replay(log.read(), 2.0, 1.0, clock=lambda: now)
    assert "2 due in" in short.note
    now = due[-1] + 60
    while short.take():
        pass
    assert not short.finished, "no reply arrived"
    assert "2 had to wait for a free client" in short.note
    with pytest.raises(SettingError, match="--speed 0: expected a number above 0"):
        Replay(log.read(), 0.0)
    with pytest.raises(SettingError, match="--run-time 0: expected a number of seconds above 0"):
        Replay(log.read(), 1.0, 0.0)


@pytest.mark.parametrize(
    ("start", "end", "last", "period"),
    [
        ("", "", "", (T0 - 3_600 * SECOND, T0)),
        ("", "", "90s", (T0 - 90 * SECOND, T0)),
        ("", "2026-01-01T11:00", "1d", (T0 - 90_000 * SECOND, T0 - 3_600 * SECOND)),
        ("2026-01-01T12:30+01:00", "", "", (T0 - 1_800 * SECOND, T0)),
    ],
)
def test_a_valid_period_is_read(start: str, end: str, last: str, period: tuple[int, int]) -> None:
    assert read_period(start, end, last, T0) == period


@pytest.mark.parametrize(
    ("start", "end", "last", "message"),
    [
        ("2026-01-01", "", "1h", "--from, --last: expected one of them"),
        ("yesterday", "", "", "--from 'yesterday': expected a time in UTC"),
        ("2026-01-02", "", "", "--from 2026-01-02: expected a time before --to, now"),
        ("", "noon", "", "--to 'noon': expected a time"),
        ("", "", "1 hour", "--last '1 hour': expected a number and a unit"),
        ("", "", "0h", "--last '0h'"),
        ("", "", "1000000d", "--last '1000000d': expected a number"),
        ("", "", "367d", "at most 366d"),
        ("0001-01-01T00:00+14:00", "", "", "--from .*: expected a year from 1971 to 2099"),
        ("", "9999-12-31T23:59-14:00", "", "--to .*: expected a year from 1971 to 2099"),
    ],
)
def test_an_invalid_period_is_refused(start: str, end: str, last: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_period(start, end, last, T0)
