"""Bodies of `/predict` and `/v1/feedback`, encoded from Python values, without I/O.

Values of pandas, polars and NumPy are accepted without importing these libraries.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

Label: TypeAlias = str | int | float | bool
Row: TypeAlias = Mapping[str, Any]
EventTime: TypeAlias = datetime | str | int

MOST_LABELS = 10_000  # maximum number of labels in one request
_PLAIN = {str, int, float, bool, type(None)}  # types that need no conversion
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Frame(Protocol):
    """A pandas DataFrame (`to_dict`); a polars DataFrame (`to_dicts`) is accepted too."""

    def to_dict(self, orient: Any, /) -> Any:
        """Return one dict per row if `orient` is "records"."""
        ...


class RequestId(NamedTuple):
    """The caller's name for a request, unique for the model."""

    model: str
    request_id: str


class RowPrediction(msgspec.Struct, frozen=True):
    """The prediction for one row."""

    label: Label | None
    probabilities: dict[str, float | str | None] = {}
    labels: list[Label] = []  # all labels that apply, for a multi-label model
    outputs: dict[str, Any] = {}  # outputs of a model without a prediction


class Prediction(msgspec.Struct, frozen=True):
    """The reply to one request; feedback refers to it by `prediction_id`."""

    model: str
    version: str
    prediction_id: str
    predictions: list[RowPrediction]

    @property
    def labels(self) -> list[Label | None]:
        """Return one label (or number) per row."""
        return [row.label for row in self.predictions]

    @property
    def probabilities(self) -> list[dict[str, float | str | None]]:
        """Return one mapping of class to probability per row; empty if the model has none."""
        return [row.probabilities for row in self.predictions]


Predicted: TypeAlias = Prediction | RequestId | str  # str: a prediction id


def predict_body(  # noqa: PLR0913  # one argument per field of a request
    model: str,
    rows: Frame | Sequence[Row],
    *,
    version: str | int,
    event_time: EventTime | None,
    request_id: str,
    routing_key: str | int,
) -> bytes:
    """Encode a request for predictions; NaN becomes null, which means a missing value."""
    records = [{str(name): _json_value(v) for name, v in row.items()} for row in _records(rows)]
    body: dict[str, Any] = {"model": model, "version": str(version), "rows": records}
    if request_id:
        body["request_id"] = request_id
    if routing_key != "":
        body["routing_key"] = routing_key
    if event_time is not None:
        body["event_time"] = _time(event_time)
    return msgspec.json.encode(body)


def feedback_body(predicted: Predicted, labels: Any, event_time: EventTime | None) -> bytes:
    """Encode the labels of one prediction; raises ValueError unless each row has one label."""
    return msgspec.json.encode(_item(predicted, labels, event_time))


def feedback_bodies(
    items: Iterable[tuple[Predicted, Any]], event_time: EventTime | None
) -> Iterator[bytes]:
    """Encode the labels of many predictions in bodies of at most MOST_LABELS labels."""
    chunk: list[dict[str, Any]] = []
    number = 0
    for predicted, labels in items:
        item = _item(predicted, labels, event_time)
        size = len(item.get("labels", "1"))
        if chunk and number + size > MOST_LABELS:
            yield msgspec.json.encode(chunk)
            chunk, number = [], 0
        chunk.append(item)
        number += size
    if chunk:
        yield msgspec.json.encode(chunk)


def _records(rows: Any) -> Iterable[Row]:
    """Return one mapping per row of a DataFrame or a sequence."""
    if hasattr(rows, "to_dicts"):
        return rows.to_dicts()  # type: ignore[no-any-return]
    if hasattr(rows, "to_dict"):
        return rows.to_dict("records")  # type: ignore[no-any-return]
    if isinstance(rows, Mapping):
        raise TypeError("rows: expected a DataFrame or a list of dicts, got one dict; put it in []")
    return rows  # type: ignore[no-any-return]


def _json_value(value: Any) -> Any:
    """Convert a value for JSON: infinities to words, NumPy scalars to Python numbers.

    A value that JSON cannot represent becomes text, so that the service's error names the feature.
    """
    if type(value).__name__ in {"NAType", "NaTType"}:  # missing values of pandas
        return None
    plain = _plain(value)
    if isinstance(plain, float) and math.isinf(plain):
        return "Infinity" if plain > 0 else "-Infinity"
    return plain if isinstance(plain, str | int | float | bool | None) else str(plain)


def _plain(value: Any) -> Any:
    """Convert a NumPy scalar to a Python value without importing NumPy; keep other values."""
    if type(value) in _PLAIN or not hasattr(value, "item"):
        return value
    if isinstance(value, str):
        return str(value)
    return value if hasattr(value, "__len__") else value.item()


def _item(predicted: Predicted, labels: Any, event_time: EventTime | None) -> dict[str, Any]:
    if isinstance(predicted, RequestId):
        item: dict[str, Any] = predicted._asdict()
    else:
        prediction_id = predicted if isinstance(predicted, str) else predicted.prediction_id
        item = {"prediction_id": prediction_id}
    label = _plain(labels)
    if isinstance(label, str | int | float | bool):
        item["label"] = label
        number = 1
    else:
        values = labels.tolist() if hasattr(labels, "tolist") else labels
        item["labels"] = [_plain(value) for value in values]
        number = len(item["labels"])
    if isinstance(predicted, Prediction) and number != len(predicted.predictions):
        raise ValueError(
            f"prediction {predicted.prediction_id} has {len(predicted.predictions)} rows; "
            f"expected the same number of labels, got {number}"
        )
    if event_time is not None:
        item["event_time"] = _time(event_time)
    return item


def _time(time: EventTime) -> str | int:
    """Convert a datetime to microseconds; return other times unchanged.

    Raises ValueError for a datetime without a time zone.
    """
    if not isinstance(time, datetime):
        return time if isinstance(time, str) else int(_plain(time))
    if time.tzinfo is None:
        raise ValueError(f"event_time {time} has no time zone; add tzinfo, for example UTC")
    return (time - _EPOCH) // timedelta(microseconds=1)
