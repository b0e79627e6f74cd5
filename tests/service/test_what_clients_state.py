"""Event times and feedback as clients state them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, TooLarge
from service.event_time import read_event_time
from service.feedback import Truth, read_feedback


@given(
    st.datetimes(min_value=__import__("datetime").datetime(1970, 1, 2), timezones=st.timezones())
)
def test_an_rfc_3339_time_is_read_to_the_microsecond(moment: Any) -> None:
    from datetime import UTC, datetime, timedelta

    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert read_event_time(moment.isoformat()) == since // timedelta(microseconds=1)
