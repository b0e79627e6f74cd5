"""Export of review rows to labelling tools, and import of their labels."""

import json
from typing import Any

import msgspec
import pytest

from monitoring.review_desk.exchange import FORMATS, Format, Labelled, export_rows, import_rows
from monitoring.review_desk.items import ReviewItem

ITEM = ReviewItem(
    prediction_id="820ac31a93-a/b",
    row=3,
    model="flights",
    version="2",
    time=1,
    parts=["uncertain", "random"],
    inclusion=0.25,
    margin=0.1,
    features={"carrier": "UA", "distance": 12.5, "gust": None},
    predicted=1,
    probabilities={"0": 0.45, "1": 0.55},
    classes=[0, 1],
)
NUMBER = ReviewItem(
    prediction_id="p", row=0, model="price", version="1", time=1, parts=["random"],
    inclusion=0.5, margin=None, features={"x": 1.0}, predicted=2.5,
)  # fmt: skip


def _labelled(to: Format, content: bytes, label: Any, why: str) -> bytes:
    """Add a label to an export, as the labelling tool does."""
    found = json.loads(content)
    if to == "driftline":
        found["rows"][0] |= {"label": label, "reviewer": "key:ann", "why": why}
    elif to == "label-studio":
        kind = "choices" if isinstance(label, str) else "number"
        value = {"choices": [label]} if kind == "choices" else {"number": label}
        results = [
            {"id": "x", "from_name": "label", "to_name": "row", "type": kind, "value": value},
            {"id": "y", "from_name": "why", "to_name": "row", "type": "textarea",
             "value": {"text": [why]}},
        ]  # fmt: skip
        found[0] |= {
            "id": 7,
            "annotations": [
                {"id": 1, "completed_by": 1, "was_cancelled": True, "result": []},
                {"id": 2, "completed_by": {"id": 4, "email": "key:ann"}, "was_cancelled": False,
                 "result": results},
            ],
        }  # fmt: skip
    else:
        answer = {"value": label, "user_id": "key:ann"}
        found[0]["responses"] = {"label": [answer], "why": [{"value": why, "user_id": "key:ann"}]}
        found[0]["_server_id"] = "1"
    return json.dumps(found).encode()


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(("item", "label"), [(ITEM, "0"), (NUMBER, 3.5)])
def test_labels_are_imported_from_every_tool(to: Format, item: ReviewItem, label: Any) -> None:
    exported = export_rows([item, item], to)
    unlabelled = import_rows(exported)
    about = {"prediction_id": item.prediction_id, "row": item.row}
    assert unlabelled == [Labelled(**about, label=None)] * 2
    first, second = import_rows(_labelled(to, exported, label, "seen"))
    assert first == Labelled(**about, label=label, labelled_by="key:ann", why="seen")
    assert second.label is None


def test_label_studio_task_has_data_and_a_prediction() -> None:
    (task,) = json.loads(export_rows([ITEM], "label-studio"))
    assert task["data"]["features"] == {"carrier": "UA", "distance": 12.5, "gust": None}
    (prediction,) = task["predictions"]
    assert (prediction["score"], prediction["model_version"]) == (0.55, "flights 2")
    assert prediction["result"] == [
        {"from_name": "label", "to_name": "row", "type": "choices", "value": {"choices": ["1"]}}
    ]


def test_argilla_record_has_text_fields_and_a_suggestion() -> None:
    (record,) = json.loads(export_rows([ITEM], "argilla"))
    assert record["id"] == "820ac31a93-a/b/3"
    assert record["fields"] == {"carrier": "UA", "distance": "12.5", "gust": ""}
    suggestion = {"value": "1", "score": 0.55, "agent": "flights 2"}
    assert record["suggestions"] == {"label": suggestion}
    assert record["metadata"]["inclusion"] == 0.25


def test_exported_scores_are_clipped_to_0_and_1() -> None:
    odd = msgspec.structs.replace(ITEM, probabilities={"0": -1.2e-07, "1": 1.0000001192092896})
    assert json.loads(export_rows([odd], "label-studio"))[0]["predictions"][0]["score"] == 1.0
    (record,) = json.loads(export_rows([odd], "argilla"))
    assert record["suggestions"]["label"]["score"] == 1.0


@pytest.mark.parametrize(
    ("classes", "predicted", "keys"),
    [
        ([0, 1], 1, [("0", 0)]),
        (["late", "on time"], "late", [("1", "on time")]),
        ([3, 1, "x"], 1, [("3", 3), ("2", "x")]),
        (list(range(11)), 10, [(str(n), n) for n in range(10)]),
        (list("abcdefghijkl"), "a", [*zip("1234567890", "bcdefghijk", strict=True), ("", "l")]),
    ],
)  # fmt: skip
def test_class_gets_its_own_digit_or_a_free_digit_as_key(
    classes: list[Any], predicted: Any, keys: list[tuple[str, Any]]
) -> None:
    found = msgspec.structs.replace(ITEM, classes=classes, predicted=predicted).keys
    assert found == keys


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        b"[{}]",
        b'[{"data": {}}]',
        b'[{"data": {"prediction_id": 1, "row": 0}}]',
        b'[{"id": "no row"}]',
        b'[{"id": "a/0", "responses": {"label": [{"value": {}}]}}]',
        b'[{"data": {"prediction_id": "a", "row": 0}, "annotations": [{"result": [{}]}]}]',
        b'{"format": "driftline.review.v1", "rows": [{"row": 1}]}',
        b"[" * 5_000,
    ],
)
def test_malformed_import_is_refused_with_the_expected_format(content: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        import_rows(content)
