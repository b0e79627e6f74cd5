"""Event times and feedback as clients send them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, TooLarge
from service.protocol.event_time import EARLIEST, LATEST, read_event_time
from service.protocol.feedback import FeedbackLabel, read_feedback
from service.protocol.prediction_ids import prediction_id_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1971, 1, 2), datetime(2099, 12, 30), timezones=offsets))  # noqa: DTZ001
def test_an_rfc_3339_time_is_read_to_the_microsecond(moment: datetime) -> None:
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    assert read_event_time(moment.isoformat()) == microseconds
    assert read_event_time(microseconds) == microseconds


@pytest.mark.parametrize(
    "stated",
    ["", "yesterday", "2013-04-01T06:00:00", -1, 2**62, 1.5, True, [], "1" * 1000],
)
def test_a_text_that_is_not_a_time_is_refused(stated: Any) -> None:
    with pytest.raises(InvalidRequest, match="event_time"):
        read_event_time(stated)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (0, "event_time is 0: expected 1971-01-01 to 2099-12-31 UTC, 31536000000000 to 41024"),
        (1_372_636_800, "event_time is 1372636800: .*; the number looks like seconds$"),
        (1_372_636_800_000, "looks like milliseconds$"),
        (1_372_636_800_000_000_000, "looks like nanoseconds$"),
        (253_402_300_799_999_999, "to 4102444799999999 microseconds$"),
        ("1970-12-31T23:59:59.999999Z", "event_time is 1970-12-31T.*: expected 1971-01-01"),
        ("2100-01-01T00:00:00Z", "expected 1971-01-01 to 2099-12-31"),
        (10**400, r"event_time is 10{63}\.\.\.: expected"),
    ],
)
def test_a_time_out_of_bounds_is_refused_with_the_bounds_and_the_likely_unit(
    stated: Any, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_event_time(stated)
    body = msgspec.json.encode([{"prediction_id": "p", "label": 1, "event_time": str(stated)}])
    with pytest.raises(InvalidRequest, match="item 0: event_time"):
        read_feedback(body)


def test_the_bounds_of_event_time_are_within() -> None:
    for moment, bound in (("1971-01-01", EARLIEST), ("2099-12-31T23:59:59.999999", LATEST)):
        stated = moment if "T" in moment else f"{moment}T00:00:00"
        assert read_event_time(f"{stated}Z") == read_event_time(bound) == bound


def test_a_text_label_has_at_most_one_kibibyte() -> None:
    longest = "\N{GREEK SMALL LETTER ALPHA}" * 512
    (truth,) = read_feedback(msgspec.json.encode({"prediction_id": "p", "label": longest}))
    assert truth.label == longest
    body = msgspec.json.encode({"prediction_id": "p", "labels": ["fine", longest + "a"], "row": 3})
    with pytest.raises(
        InvalidRequest, match="label of row 4 has 1025 bytes; expected at most 1024"
    ):
        read_feedback(body)


def test_feedback_is_one_event_per_label() -> None:
    items = [
        {"prediction_id": "p", "label": "late", "row": 3, "event_time": 1_372_636_800_000_000},
        {"prediction_id": "q", "labels": [True, 1.5], "row": 1},
    ]
    assert read_feedback(msgspec.json.encode(items)) == [
        FeedbackLabel("p", 3, "late", 1_372_636_800_000_000),
        FeedbackLabel("q", 1, True, None),
        FeedbackLabel("q", 2, 1.5, None),
    ]
    assert read_feedback(b"[]") == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "expected"),
        (b"7", "expected"),
        (b"[" * 50_000, "expected|deep"),
        (b'{"prediction_id": "", "label": 1}', "item 0: prediction_id: expected 1 to 128"),
        (b'{"prediction_id": "<the id>", "label": 1}', "item 0: .*<the id>.* of a reply"),
        (b'[{"prediction_id": "p", "label": 1}, {"prediction_id": "p"}]', "item 1: .*`labels`"),
        (b'{"prediction_id": "p", "label": 1, "labels": [1]}', "either"),
        (b'{"prediction_id": "p", "label": 1, "row": -1}', "row is -1"),
        (b'{"prediction_id": "p", "labels": [1, 1], "row": 2147483647}', "beyond 2147483647"),
        (b'{"prediction_id": "p\\u0000", "label": 1}', "without NUL"),
        (b'{"prediction_id": "p", "label": 1, "lable": 1}', "lable"),
        (b'{"prediction_id": "p", "label": ' + b"9" * 30 + b"}", "64 bits"),
        (b'{"prediction_id": "\xff", "label": 1}', "expected"),
    ],
)
def test_an_invalid_feedback_body_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        read_feedback(body)


def test_too_many_labels_are_refused_together() -> None:
    body = msgspec.json.encode({"prediction_id": "p", "labels": [1] * 100_001})
    with pytest.raises(TooLarge, match="100001 labels"):
        read_feedback(body)


def test_feedback_can_name_a_prediction_by_its_request_id() -> None:
    item = {"model": "flights", "request_id": "order-17", "label": 1}
    (label,) = read_feedback(msgspec.json.encode(item))
    assert label.prediction_id == prediction_id_of("flights", "order-17")
    assert label.prediction_id != prediction_id_of("other", "order-17")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"request_id": "order-17"}, "either prediction_id, or model and request_id"),
        ({"model": "flights"}, "request_id: expected 1 to 128 characters"),
        ({"model": "flights", "request_id": "a" * 129}, "expected 1 to 128 characters"),
        ({"model": "m", "request_id": "a", "prediction_id": "p"}, "either prediction_id, or model"),
    ],
)
def test_a_label_names_its_prediction_in_exactly_one_way(names: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRequest, match=f"item 0: .*{words}"):
        read_feedback(msgspec.json.encode(names | {"label": 1}))


def test_fields_of_feedback_that_are_null_are_absent() -> None:
    names = ("prediction_id", "model", "request_id", "labels", "row", "event_time", "load_test")
    nulls = dict.fromkeys(names)
    item = nulls | {"prediction_id": "p", "label": 1}
    assert read_feedback(msgspec.json.encode(item)) == [FeedbackLabel("p", 0, 1, None)]
    item = nulls | {"model": "flights", "request_id": 17, "label": 1}
    (label,) = read_feedback(msgspec.json.encode(item))
    assert label.prediction_id == prediction_id_of("flights", "17")
