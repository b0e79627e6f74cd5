"""Each case over each transport: the same outcome, and the numbers of ONNX Runtime."""

from functools import cache
from typing import Any

import pytest

from tests.conformance import grpc_ways, rest_ways, triton_ways
from tests.conformance.cases import ANSWERED, CLASSIFIED, REFUSED, Case
from tests.conformance.conftest import FRONTS
from tests.conformance.echo_models import direct
from tests.conformance.ways import Endpoint, Refusal, Reply, Way

WAYS = [*rest_ways.WAYS, *grpc_ways.WAYS, *triton_ways.WAYS]


def _each(cases: list[Case]) -> Any:
    """Each case by each way; fronts differ in gRPC alone, so one front is asked by REST."""
    triples = [
        (front, way, case)
        for front, settings in FRONTS.items()
        for way in WAYS
        for case in cases
        if way.can_say(case) and (way.transport == "grpc" or not settings)
    ]
    ids = [f"{front}-{way.name}-{case.name}" for front, way, case in triples]
    return pytest.mark.parametrize(("echoes", "way", "case"), triples, ids=ids, indirect=["echoes"])


@cache
def _expected(case: Case) -> dict[str, Any]:
    (given,) = case.inputs
    outputs = direct(given.datatype, given.array())
    return {name: outputs[name] for name in case.outputs or outputs}


@_each(ANSWERED)
def test_a_valid_request_gets_onnx_runtimes_numbers(
    way: Way, case: Case, address: Endpoint
) -> None:
    answer = way.go(case, address)
    assert isinstance(answer, Reply), answer
    expected = _expected(case)
    assert list(answer.outputs) == list(expected)
    for name, array in expected.items():
        got = answer.outputs[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tolist() == array.tolist() if got.dtype == object else _same(got, array)
    assert (answer.version, answer.id) == ("1", case.id)


def _same(got: Any, expected: Any) -> bool:
    """The same bits, except that one NaN is as good as another."""
    if got.dtype.kind == "f":
        got, expected = got.copy(), expected.copy()
        got[got != got] = expected[expected != expected] = 0  # noqa: PLR0124
    return bool(got.tobytes() == expected.tobytes())


@_each(CLASSIFIED)
def test_the_best_classes_equal_onnx_runtimes(way: Way, case: Case, address: Endpoint) -> None:
    answer = way.go(case, address)
    assert isinstance(answer, Reply), answer
    for name, scores in _expected(case).items():
        rows = scores.reshape(len(scores), -1).tolist()
        best = [
            sorted(((score, index) for index, score in enumerate(row)), reverse=True)[
                : case.classes
            ]
            for row in rows
        ]
        parsed = [[(float(s), int(i)) for s, i in map(_parts, row)] for row in answer.outputs[name]]
        assert parsed == best


def _parts(parsed: str) -> list[str]:
    return parsed.split(":")


@_each(REFUSED)
def test_an_invalid_request_gets_the_same_error_over_every_transport(
    way: Way, case: Case, address: Endpoint
) -> None:
    refusal = way.go(case, address)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.verdict == case.verdict, refusal.message
    assert [word for word in case.words if word not in refusal.message] == [], refusal.message
