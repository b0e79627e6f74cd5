"""The common interface of all transports of a case: target and possible outcomes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conformance.cases import Case, Verdict

_VERDICTS: dict[str, Verdict] = {
    "400": "invalid",
    "413": "invalid",
    "404": "unknown",
    "503": "not ready",
    "INVALID_ARGUMENT": "invalid",
    "NOT_FOUND": "unknown",
    "UNAVAILABLE": "not ready",
}


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens: host and port of each transport."""

    rest: str
    grpc: str


@dataclass(frozen=True)
class Reply:
    """What came back of a request that was answered."""

    outputs: dict[str, Any]  # arrays by name, in the order of the answer
    version: str
    id: str


@dataclass(frozen=True)
class Refusal:
    """What came back of one that was not."""

    verdict: str
    message: str


def refusal(code: str, message: str) -> Refusal:
    """What a status, as its transport spells it, means whatever the transport."""
    return Refusal(_VERDICTS.get(code, code), message)


def _any(_: Case) -> bool:
    return True


@dataclass(frozen=True)
class Way:
    """One way to ask, by REST or gRPC."""

    name: str
    transport: str  # "rest" or "grpc"
    go: Callable[[Case, Endpoint], Reply | Refusal]
    can_say: Callable[[Case], bool] = _any
