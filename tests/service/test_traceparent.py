"""The trace in a request's traceparent header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.traceparent import read_traceparent

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_valid_header_is_used_unchanged() -> None:
    assert read_traceparent(VALID) == VALID
    assert read_traceparent(f" {VALID} ") == VALID


def test_the_known_part_of_a_future_header_version_is_used() -> None:
    assert read_traceparent("cc" + VALID[2:] + "-what-comes") == "cc" + VALID[2:]


@pytest.mark.parametrize(
    "stated",
    [
        "",
        VALID[:-1],
        VALID + "0",
        VALID + "-more",
        VALID.upper(),
        "ff" + VALID[2:],
        VALID.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        VALID.replace("b7ad6b7169203331", "0" * 16),
        VALID.replace("-", "_"),
        "cc" + VALID[2:] + "x",
    ],
)
def test_a_header_without_a_trace_is_ignored(stated: str) -> None:
    assert read_traceparent(stated) == ""


@given(st.text(max_size=80))
def test_every_accepted_header_has_the_standard_form(stated: str) -> None:
    assert len(read_traceparent(stated)) in {0, 55}
