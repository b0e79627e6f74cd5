"""Export of rows to labelling tools, and import of the labels. Pure.

Label Studio: a task has `data` and `predictions`. A labelled task also has `annotations`, with
results of the control tag `label` (Choices or Number) and of the optional TextArea `why`.
Argilla: the records of `records.to_json`, with the question `label` and the optional question
`why`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from eventlog.events import Label
from monitoring.review_desk.items import ReviewItem

Format = Literal["driftline", "label-studio", "argilla"]
FORMATS: tuple[Format, ...] = get_args(Format)
OWN = "driftline.review.v1"


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """A row of an imported file, with or without a label."""

    prediction_id: str
    row: int
    label: Label | None
    labelled_by: str = ""
    why: str = ""


class _OwnFile(msgspec.Struct, frozen=True):
    """The file format of `driftline review export`."""

    format: str
    rows: list[ReviewItem]


def export_rows(items: Sequence[ReviewItem], to: Format) -> bytes:
    """Return rows as JSON in the format `to`."""
    if to == "driftline":
        content: Any = _OwnFile(OWN, list(items))
    elif to == "label-studio":
        content = [_task(item) for item in items]
    else:
        content = [_record(item) for item in items]
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def import_rows(content: bytes) -> list[Labelled]:
    """Return the rows of a labelling tool's file, with their labels.

    Raises:
        ValueError: the file has none of the three formats.
    """
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected JSON: {error}") from None
    if isinstance(document, Mapping) and document.get("format") == OWN:
        return list(_read_own(content))
    if not isinstance(document, list) or not all(isinstance(record, dict) for record in document):
        raise ValueError(
            "expected an export of driftline review, tasks of Label Studio, or records of Argilla"
        )
    return [_read_item(number, record) for number, record in enumerate(document)]


def _read_own(content: bytes) -> Iterator[Labelled]:
    try:
        rows = msgspec.json.decode(content, type=_OwnFile).rows
    except msgspec.ValidationError as error:
        raise ValueError(f"expected rows of driftline review export: {error}") from None
    for row in rows:
        yield Labelled(
            prediction_id=row.prediction_id,
            row=row.row,
            label=row.label,
            labelled_by=row.reviewer,
            why=row.why,
        )


def _read_item(number: int, record: Mapping[str, Any]) -> Labelled:
    reader: Callable[[Mapping[str, Any]], Labelled]
    reader = _read_task if "data" in record else _read_record
    try:
        return reader(record)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"item {number}: expected a task of Label Studio or a record of Argilla that "
            f"driftline review exported ({type(error).__name__}: {error})"
        ) from None


# Label Studio


def _task(item: ReviewItem) -> dict[str, Any]:
    result = {"from_name": "label", "to_name": "row", **_value(item)}
    best = max(
        (_score(probability) for probability in item.probabilities.values()),
        key=lambda score: -1.0 if score is None else score,
        default=None,
    )
    prediction: dict[str, Any] = {"model_version": _model_version(item), "result": [result]}
    if best is not None:
        prediction["score"] = best
    about = {
        "prediction_id": item.prediction_id,
        "row": item.row,
        "picked_as": ", ".join(item.parts),
        "inclusion": item.inclusion,
    }
    return {"data": {"features": item.features, **about}, "predictions": [prediction]}


def _score(probability: Any) -> float | None:
    """Return a probability clipped to 0 to 1, which the tools require and rounding can exceed."""
    return min(1.0, max(0.0, probability)) if _is_number(probability) else None


def _value(item: ReviewItem) -> dict[str, Any]:
    if item.classes:
        return {"type": "choices", "value": {"choices": [str(item.predicted)]}}
    return {"type": "number", "value": {"number": item.predicted}}


def _read_task(task: Mapping[str, Any]) -> Labelled:
    data = task["data"]
    label: Label | None = None
    by = why = ""
    for annotation in task.get("annotations") or []:
        if annotation.get("was_cancelled"):
            continue
        by = _person(annotation.get("completed_by"))
        for result in annotation["result"]:
            value = result["value"]
            if result["from_name"] == "label":
                label = value["choices"][0] if "choices" in value else value["number"]
            elif result["from_name"] == "why":
                why = " ".join(_texts(value["text"]))
    return _checked(data["prediction_id"], data["row"], label, by, why)


def _person(annotator: Any) -> str:
    """Return the annotator's e-mail address if the export contains it, otherwise the id."""
    if isinstance(annotator, Mapping):
        return str(annotator.get("email") or annotator.get("id") or "")
    return "" if annotator is None else str(annotator)


# Argilla


def _record(item: ReviewItem) -> dict[str, Any]:
    chance = item.probabilities.get(str(item.predicted))
    return {
        "id": f"{item.prediction_id}/{item.row}",
        "fields": {
            name: "" if value is None else str(value) for name, value in item.features.items()
        },
        "metadata": {"picked_as": ", ".join(item.parts), "inclusion": item.inclusion},
        "suggestions": {
            "label": {
                "value": str(item.predicted) if item.classes else item.predicted,
                "score": _score(chance),
                "agent": _model_version(item),
            }
        },
        "responses": {},
        "vectors": {},
    }


def _read_record(record: Mapping[str, Any]) -> Labelled:
    prediction_id, _, row = str(record["id"]).rpartition("/")
    responses = record.get("responses") or {}
    labels: Sequence[Mapping[str, Any]] = responses.get("label") or []
    reasons: Sequence[Mapping[str, Any]] = responses.get("why") or []
    label: Label | None = labels[-1]["value"] if labels else None
    by = str(labels[-1].get("user_id") or "") if labels else ""
    why = " ".join(str(reason["value"]) for reason in reasons[-1:])
    return _checked(prediction_id, int(row), label, by, why)


def _checked(prediction_id: Any, row: Any, label: Any, by: str, why: str) -> Labelled:
    if not isinstance(prediction_id, str) or isinstance(row, bool) or not isinstance(row, int):
        raise TypeError("prediction_id must be a string, and row an integer")
    if label is not None and not isinstance(label, str | int | float | bool):
        raise TypeError(f"label {label!r:.40} must be a string, a number or a bool")
    return Labelled(prediction_id=prediction_id, row=row, label=label, labelled_by=by, why=why)


def _model_version(item: ReviewItem) -> str:
    return f"{item.model} {item.version}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: Any) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else [str(value)]
