"""Example rows of a window: selected, shown, and returned by the API."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from monitoring.results import Result
from monitoring.scoring.segments.grouping import Grouping
from monitoring.web.app import app
from monitoring.web.example_rows import of_group
from registry.manifest import Feature, Manifest, Prediction, SegmentPolicy
from tests.monitoring.web.conftest import FakeStore, week

WINDOW = week(0)
PAGE = f"/models/churn/1/windows/{WINDOW.start}/rows"
API = f"/api/models/churn/versions/1/windows/{WINDOW.start}/examples"
ROWS = pd.DataFrame(
    {
        "prediction_id": ["a", "b", "c", "d"],
        "row": [0, 1, 0, 0],
        "event_time": [WINDOW.start] * 4,
        "plan": ["free", "paid", "<script>alert(1)</script>", None],
        "prediction": [1, 0, 1, 0],
        "probability_0": [0.4, 0.9, 0.1, 0.51],
        "probability_1": [0.6, 0.1, 0.9, 0.49],
        "label": [1, 1, 0, None],
    }
)


@dataclass
class _Version:
    number: str
    manifest: Manifest


class _Catalogue:
    """Only what the page of rows asks for."""

    def __init__(self, manifest: Manifest) -> None:
        self._version = _Version("1", manifest)

    def versions(self, _model: str) -> list[_Version]:
        return [self._version]


def _manifest(task: str = "classification", classes: tuple[int, ...] = (0, 1)) -> Manifest:
    return Manifest(
        task=task,  # type: ignore[arg-type]  # one of them
        features=[Feature(name="plan", kind="categorical")],
        prediction=Prediction(label="label", probabilities="p", classes=list(classes)),
        target="left",
    )


def _client(
    folder: Path, rows: pd.DataFrame, manifest: Manifest | None, sampled: int = 4
) -> TestClient:
    result = Result(model="churn", version="1", window=WINDOW, rows=60, sampled=sampled)
    store = FakeStore(all_results=[result], named_rows=rows)
    catalogue: Any = _Catalogue(manifest) if manifest else None
    made = app(lambda: store, folder, catalogue=catalogue)
    return TestClient(made, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "c", "d"]),
        ("?show=wrong", ["b", "c"]),
        ("?show=uncertain", ["d", "a", "b", "c"]),
        ("?where=plan%3Dpaid", ["b"]),
        ("?show=wrong&where=plan%3Dfree", []),
    ],
)
def test_rows_are_chosen(tmp_path: Path, query: str, expected: list[str]) -> None:
    with _client(tmp_path, ROWS, _manifest()) as client:
        chosen = client.get(f"{API}{query}").json()
        assert [row["prediction_id"] for row in chosen] == expected
        as_csv = pd.read_csv(io.BytesIO(client.get(f"{API}.csv{query}").content))
        assert as_csv["prediction_id"].tolist() == expected
        as_parquet = pd.read_parquet(io.BytesIO(client.get(f"{API}.parquet{query}").content))
        assert as_parquet["prediction_id"].tolist() == expected


def test_column_names_and_values_can_contain_an_equals_sign(tmp_path: Path) -> None:
    rows = ROWS.rename(columns={"plan": "a=b"}).assign(**{"a=b": ["x", "=", "c=d", "y"]})
    with _client(tmp_path, rows, None) as client:
        for value, name in (("%3D", "b"), ("c%3Dd", "c")):
            chosen = client.get(f"{API}?where=a%3Db%3D{value}").json()
            assert [row["prediction_id"] for row in chosen] == [name]
        for unknown in ("a%3Dx", "a%3Db", "%3D"):
            assert client.get(f"{API}?where={unknown}").status_code == 400


def test_a_page_before_the_first_row_is_the_first(tmp_path: Path) -> None:
    with _client(tmp_path, ROWS, _manifest()) as client:
        first = _table_of(client.get(PAGE).text)
        for number in ("-1", "-50", "-999999999999999999"):
            assert _table_of(client.get(f"{PAGE}?from={number}").text) == first


def _table_of(page: str) -> str:
    begin = page.index("<table")
    return page[begin : page.index("</table>")]


def test_the_page_links_each_row_to_its_trace_and_escapes_values(tmp_path: Path) -> None:
    with _client(tmp_path, ROWS, _manifest()) as client:
        page = client.get(f"{PAGE}?show=wrong").text
        assert '<a href="/predictions/b">b</a>, row 1' in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert f'href="{API}.csv?show=wrong"' in page
        assert "Predicted wrongly" in page


def test_a_window_links_to_its_rows_although_its_version_is_not_registered(tmp_path: Path) -> None:
    with _client(tmp_path, ROWS, None) as client:
        window = client.get(f"/models/churn/1/windows/{WINDOW.start}").text
        assert f'href="{PAGE}"' in window
        assert [row["prediction_id"] for row in client.get(f"{API}?show=wrong").json()] == [
            "b",
            "c",
        ]


def test_wrong_numeric_predictions_are_sorted_by_error(tmp_path: Path) -> None:
    rows = ROWS.drop(columns=["probability_0", "probability_1"])
    rows = rows.assign(prediction=[1.0, 2.0, 9.0, 5.0], label=[1.0, 4.0, 3.0, None])
    with _client(tmp_path, rows, _manifest("regression", ())) as client:
        chosen = client.get(f"{API}?show=wrong").json()
        assert [row["prediction_id"] for row in chosen] == ["c", "b"]
        page = client.get(PAGE).text
        assert "Largest errors first" in page
        assert "Most uncertain" not in page


def test_without_labels_no_prediction_is_marked_wrong(tmp_path: Path) -> None:
    with _client(tmp_path, ROWS.assign(label=None), _manifest()) as client:
        assert "Predicted wrongly" not in client.get(PAGE).text
        assert client.get(f"{API}?show=wrong").json() == []


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("show=best", "expected one of all, wrong, uncertain"),
        ("where=plan", "expected COLUMN=VALUE"),
        ("where=colour%3Dred", "expected COLUMN=VALUE"),
        ("from=x", "expected a whole number"),
    ],
)
def test_an_impossible_selection_states_the_reason(tmp_path: Path, query: str, reason: str) -> None:
    with _client(tmp_path, ROWS, _manifest()) as client:
        reply = client.get(f"{PAGE}?{query}")
        assert reply.status_code == 400
        assert reason in reply.text


def test_deleted_rows_are_gone(tmp_path: Path) -> None:
    with _client(tmp_path, ROWS.iloc[:0], _manifest()) as client:
        assert client.get(PAGE).status_code == 410
    with _client(tmp_path, ROWS.iloc[:0], _manifest(), sampled=0) as client:
        assert "No row of this window matches" in client.get(PAGE).text


def test_row_groups_follow_the_policy() -> None:
    feature = Feature(name="plan", kind="categorical")
    segment = Grouping(
        SegmentPolicy("plan", values=1), feature, pd.Series(["free", "free", "paid"])
    )
    groups = {name: of_group(ROWS, "plan", name, segment) for name in segment.names}
    assert {name: group["prediction_id"].tolist() for name, group in groups.items()} == {
        "free": ["a"],
        "(other)": ["b", "c"],
        "(missing)": ["d"],
    }
