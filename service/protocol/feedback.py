"""Decode the body of `POST /v1/feedback`. Pure.

The body is an item or a list of items. {"prediction_id": ..., "label": value} labels one row.
{"prediction_id": ..., "labels": [value, ...]} labels consecutive rows. The first row is `row`, by
default 0. Instead of `prediction_id`, `model` and `request_id` identify the prediction by the
caller's own id.
"""

from collections.abc import Iterator

import msgspec

from eventlog.events import Label
from service.errors import InvalidRequest, TooLarge
from service.protocol.event_time import read_event_time
from service.protocol.prediction_ids import prediction_id_of

MOST_LABELS = 10_000  # maximum labels in one request
MOST_BYTES = 4 << 20  # maximum bytes of one request, decompressed
LONGEST_LABEL = 1_024  # maximum length of a text label in bytes of UTF-8
_MOST_CHARACTERS = 128  # maximum length of a prediction id
_LAST_ROW = 2**31 - 1  # maximum index of a row
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # integers that all readers of the log can decode


class FeedbackLabel(msgspec.Struct, frozen=True):
    """The label of one row of one prediction."""

    prediction_id: str
    row: int
    label: Label
    event_time: int | None  # microseconds since the epoch; None means the time of reception
    load_test: bool = False  # whether the prediction is from a load test


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    """An item of the body; null is the same as an absent field."""

    prediction_id: str | None = None
    model: str | None = None
    request_id: str | int | None = None
    label: Label | None = None
    labels: list[Label] | None = None
    row: int | None = None
    event_time: str | int | None = None
    load_test: bool | None = None


_items = msgspec.json.Decoder(_Item | list[_Item])
_MOST_BRACES = 4 * MOST_LABELS  # each item has an opening brace, and texts can contain others


def read_feedback(body: bytes) -> list[FeedbackLabel]:
    """Return the labels of a JSON body; raises InvalidRequest or TooLarge.

    A small compressed body can contain millions of items, so braces are counted before decoding.
    """
    if len(body) > MOST_BYTES:
        raise TooLarge(f"the body has {len(body)} bytes; expected at most {MOST_BYTES}")
    try:
        if (braces := body.count(b"{")) > _MOST_BRACES:
            raise TooLarge(f"{braces} braces in one request; expected at most {MOST_LABELS} items")
        decoded = _items.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            'the body is not feedback: expected {"prediction_id": ..., "label": ...}, '
            f"or a list of them: {error}"
        ) from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    items = decoded if isinstance(decoded, list) else [decoded]
    labels = sum(len(item.labels or ()) for item in items)
    if labels > MOST_LABELS:
        raise TooLarge(f"{labels} labels in one request; expected at most {MOST_LABELS}")
    return [label for index, item in enumerate(items) for label in _labels(index, item)]


def _labels(index: int, item: _Item) -> Iterator[FeedbackLabel]:
    prediction_id = _prediction_id(index, item)
    if (item.label is None) == (item.labels is None):
        raise InvalidRequest(f"item {index}: expected either `label` or `labels`")
    labels = [item.label] if item.label is not None else item.labels or []
    first = item.row or 0
    if not 0 <= first <= _LAST_ROW - max(0, len(labels) - 1):
        raise InvalidRequest(
            f"item {index}: row is {first}; expected 0 or more, and no row beyond {_LAST_ROW}"
        )
    try:
        time = None if item.event_time is None else read_event_time(item.event_time)
    except InvalidRequest as error:
        raise InvalidRequest(f"item {index}: {error}") from None
    for row, label in enumerate(labels, first):
        if isinstance(label, int) and not _SMALLEST <= label <= _LARGEST:
            raise InvalidRequest(f"item {index}: the label of row {row} does not fit 64 bits")
        if isinstance(label, str) and (size := len(label.encode())) > LONGEST_LABEL:
            raise InvalidRequest(
                f"item {index}: the label of row {row} has {size} bytes; "
                f"expected at most {LONGEST_LABEL}"
            )
        yield FeedbackLabel(prediction_id, row, label, time, bool(item.load_test))


def _prediction_id(index: int, item: _Item) -> str:
    request_id = "" if item.request_id is None else str(item.request_id)
    if request_id or item.model:
        if item.prediction_id or not item.model:
            raise InvalidRequest(
                f"item {index}: expected either prediction_id, or model and request_id"
            )
        try:
            return prediction_id_of(item.model, request_id)
        except InvalidRequest as error:
            raise InvalidRequest(f"item {index}: {error}") from None
    prediction_id = item.prediction_id or ""
    if not 0 < len(prediction_id) <= _MOST_CHARACTERS or "\0" in prediction_id:
        raise InvalidRequest(
            f"item {index}: prediction_id: expected 1 to {_MOST_CHARACTERS} characters without NUL"
        )
    if prediction_id.startswith("<") and prediction_id.endswith(">"):
        raise InvalidRequest(
            f"item {index}: prediction_id is {prediction_id!r}; replace this placeholder by the "
            "prediction_id of a reply"
        )
    return prediction_id
