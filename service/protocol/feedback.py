"""The body of `POST /v1/feedback` -> one truth per label. Pure.

One object or a list of them: {"prediction_id": ..., "label": value} for one row, which is row 0
unless `row` says otherwise, or {"prediction_id": ..., "labels": [value, ...]} for rows 0, 1, ...
Instead of a prediction id, `model` and `request_id` name a prediction by the caller's own id.
"""

from collections.abc import Iterator

import msgspec

from eventlog.events import Label
from service.errors import InvalidRequest, TooLarge
from service.protocol.event_time import read_event_time
from service.protocol.prediction_ids import prediction_id_of

MOST_LABELS = 10_000  # maximum labels in one request
MOST_BYTES = 4 << 20  # maximum bytes of one request, decompressed
LONGEST_LABEL = 1_024  # bytes of UTF-8
_MOST_CHARACTERS = 128  # maximum characters of a prediction id
_LAST_ROW = 2**31 - 1
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # what every reader of the log can hold


class FeedbackLabel(msgspec.Struct, frozen=True):
    """The label of one row of one prediction."""

    prediction_id: str
    row: int
    label: Label
    event_time: int | None  # microseconds; None: when it is received
    load_test: bool = False  # whether a load test asked for the prediction


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    """One item; a field that is null counts as absent."""

    prediction_id: str | None = None
    model: str | None = None
    request_id: str | int | None = None
    label: Label | None = None
    labels: list[Label] | None = None
    row: int | None = None
    event_time: str | int | None = None
    load_test: bool | None = None


_items = msgspec.json.Decoder(_Item | list[_Item])
_MOST_BRACES = 4 * MOST_LABELS  # each item has one, and texts may


def read_feedback(body: bytes) -> list[FeedbackLabel]:
    """Return the truths that a JSON body states; raises InvalidRequest or TooLarge.

    Items are counted before they become objects, and labels while they do: a small compressed body
    may hold millions.
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
    return [truth for index, item in enumerate(items) for truth in _truths(index, item)]


def _truths(index: int, item: _Item) -> Iterator[FeedbackLabel]:
    prediction_id = _prediction_id(index, item)
    if (item.label is None) == (item.labels is None):
        raise InvalidRequest(f"item {index}: expected either `label` or `labels`")
    labels = [item.label] if item.label is not None else item.labels or []
    first = item.row or 0
    if not 0 <= first <= _LAST_ROW - max(0, len(labels) - 1):
        raise InvalidRequest(
            f"item {index}: row is {first}; expected 0 or more, and no label beyond {_LAST_ROW}"
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
            f"item {index}: expected a prediction_id of 1 to {_MOST_CHARACTERS} characters, not NUL"
        )
    if prediction_id.startswith("<") and prediction_id.endswith(">"):
        raise InvalidRequest(
            f"item {index}: prediction_id is {prediction_id!r}; expected the prediction_id of a "
            "reply in place of it"
        )
    return prediction_id
