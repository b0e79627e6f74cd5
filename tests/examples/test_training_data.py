"""The example trains on the rows that a retraining request offers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data
import pandas as pd
import pytest
import train
import training_data
from msgspec.structs import replace

from monitoring.results import Window
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.webhooks.body import envelope, read_retrain_request
from registry.manifest import Version
from registry.manifest_file import read_manifest
from tests.monitoring.web.conftest import FakeStore, a_busy_store, week

WINDOWS = range(24, 27)


class FlightStore(FakeStore):
    """A store whose windows hold every second flight of their week."""

    flights = pd.DataFrame()

    def rows(
        self, _model: str, _version: str, window: Window, *, weighted: bool = False
    ) -> pd.DataFrame:
        assert weighted
        within = self.flights["event_time"].between(window.start, window.end - 1)
        frame = self.flights.loc[within, [*data.FEATURES, data.TARGET]][::2]
        label = frame.pop(data.TARGET).astype(object)
        label.iloc[:7] = None  # not known yet
        return frame.assign(engine=frame["engine"].fillna(""), prediction=0, label=label)


@pytest.fixture
def request_body(tmp_path: Path, folder: Path, flights: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A request whose rows a monitor serves."""
    busy = a_busy_store()
    store = FlightStore(all_results=busy.all_results)
    store.flights = train.arrived(flights)
    request = read_retrain_request(busy.outbox[1].body)
    assert request is not None
    period = Window(week(WINDOWS[0]).start, week(WINDOWS[-1]).end)
    body = envelope("rr_1", 1, replace(request, period=period, rule="schedule", window=None))
    store.outbox = [replace(busy.outbox[1], webhook_id="rr_1", body=body)]
    manifest = read_manifest(folder / "manifest.yaml")
    version = Version(
        model="flights", number="1", digest="d", created=1, path=str(tmp_path), manifest=manifest
    )

    class Catalogue:
        """Registers the version as one of flights."""

        def versions(self, _model: str) -> list[Version]:
            return [version]

    made = app(lambda: store, tmp_path, catalogue=Catalogue())  # type: ignore[arg-type]
    with serving(made, "127.0.0.1", 0) as address:
        root = f"{address}/api/retraining/rr_1"
        yield {
            "id": "rr_1",
            "data": {
                "training_url": f"{root}/rows.parquet",
                "validation_url": f"{root}/validation",
            },
        }


def test_offered_rows_replace_the_tables_rows_of_the_same_weeks(
    request_body: dict[str, Any], flights: pd.DataFrame
) -> None:
    own = train.arrived(flights)
    offered = training_data.read_offered(request_body)
    assert offered is not None
    assert sorted(set(offered["event_time"])) == [week(n).start for n in WINDOWS]
    assert offered[data.TARGET].isin([0, 1]).all(), "rows without a label are left out"
    complete = training_data.complete(offered, own)
    kept = [*data.FEATURES, data.TARGET]
    assert list(complete.dtypes[kept]) == list(own.dtypes[kept])
    assert complete["engine"].isna().any(), "a missing category is missing again"
    weeks = complete["event_time"].between(week(WINDOWS[0]).start, week(WINDOWS[-1]).end - 1)
    assert weeks.sum() == len(offered)
    others = own["event_time"].between(week(WINDOWS[0]).start, week(WINDOWS[-1]).end - 1)
    assert (~weeks).sum() == (~others).sum()
    assert complete["event_time"].is_monotonic_increasing
    assert (complete.loc[~weeks, training_data.WEIGHT] == 1).all()
    assert (offered[training_data.WEIGHT] > 1).all(), "each stands for rows that are not sampled"


def test_rows_that_failed_their_validation_are_not_trained_on(
    request_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlightStore, "rows", _rows_with_a_leak(FlightStore.rows))
    with pytest.raises(training_data.UnfitRows, match="leakage carrier: it determines the label"):
        training_data.read_offered(request_body)


def _rows_with_a_leak(rows: Any) -> Any:
    def leaking(*args: Any, **options: Any) -> pd.DataFrame:
        frame: pd.DataFrame = rows(*args, **options)
        return frame.assign(carrier=frame["label"].map({0: "AA", 1: "UA"}).fillna("AA"))

    return leaking
