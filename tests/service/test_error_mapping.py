"""Both transports' tables map every error."""

from collections.abc import Iterator

import grpc
import pytest

import registry.errors
import service.errors
from eventlog.errors import DriftlineError
from service.grpc.errors import CODES, code_of
from service.rest.errors import STATUS, headers_of, status_of

# What a caller can bring about is the caller's to mend; the rest is ours.
CLIENT_ERRORS = {400, 401, 403, 404, 413, 415, 421, 429}
OURS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


def _tree(kind: type[DriftlineError]) -> Iterator[type[DriftlineError]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith(("monitoring", "driftline")):
            continue  # no transport of the service ever sees an error of the monitor or a command
        yield below
        yield from _tree(below)


@pytest.mark.parametrize("kind", sorted(_tree(DriftlineError), key=lambda kind: kind.__name__))
def test_both_transports_map_each_error_to_the_same_category(
    kind: type[DriftlineError],
) -> None:
    assert any(parent in STATUS for parent in kind.__mro__)
    assert any(parent in CODES for parent in kind.__mro__)
    error = kind.__new__(kind)  # only the class decides
    assert (status_of(error) in CLIENT_ERRORS) == (code_of(error) not in OURS)


def test_both_tables_name_the_same_errors() -> None:
    assert STATUS.keys() == CODES.keys()


def test_a_temporary_refusal_states_when_to_retry() -> None:
    assert headers_of(service.errors.Overloaded("full", retry_after=3)) == {"retry-after": "3"}
    assert headers_of(service.errors.NotReady("loading")) == {"retry-after": "1"}
    assert headers_of(registry.errors.UnknownModel("none")) == {}
