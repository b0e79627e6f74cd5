import io
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from eventlog.lag import ReaderLag
from monitoring.alarms.traffic import JudgedHour
from monitoring.web.metrics.collector import StoreCollector, exposition
from monitoring.web.report_files import locate
from monitoring.windows.traffic import JudgedHours

VERSION = "/api/models/flights/versions/1"


def pq_types(content: bytes) -> dict[str, Any]:
    """The type of each column in a Parquet file."""
    schema = pq.read_schema(io.BytesIO(content))
    return dict(zip(schema.names, schema.types, strict=True))


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics by its name and its label values in order."""
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_models_are_returned_with_their_latest_window(client: httpx.Client) -> None:
    flights = client.get("/api/models").json()[0]
    assert (flights["model"], flights["version"]) == ("flights", "1")
    assert flights["latest"]["rows"] > 6000
    assert flights["filling"]["rows"] == 1312
    assert len(flights["alarms"]) == 2


def test_results_are_returned_oldest_first(client: httpx.Client) -> None:
    starts = [result["window"]["start"] for result in client.get(f"{VERSION}/results").json()]
    assert len(starts) == 40
    assert starts == sorted(starts)


def test_results_are_returned_in_pages_on_request(client: httpx.Client) -> None:
    address = "/api/models/flights/versions/1/results"
    everything = client.get(address).json()
    last = client.get(address, params={"last": 3}).json()
    assert last == everything[-3:]
    start = last[0]["window"]["start"]
    assert client.get(address, params={"last": 2, "before": start}).json() == everything[-5:-3]
    assert client.get(address, params={"last": 0}).json() == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"last": "all"}, "last is 'all'; expected a whole number"),
        ({"last": "-1"}, "last is -1; expected a number of windows, 0 or more"),
        ({"before": "9" * 40}, "expected a whole number"),
    ],
)
def test_invalid_page_parameters_get_400(
    client: httpx.Client, query: dict[str, str], wrong: str
) -> None:
    reply = client.get("/api/models/flights/versions/1/results", params=query)
    assert reply.status_code == 400
    assert wrong in reply.json()["error"]


def test_one_window_and_its_rows_can_be_fetched(client: httpx.Client, store: Any) -> None:
    window = f"{VERSION}/windows/{store.all_results[3].window.start}"
    assert client.get(window).json()["window"]["start"] == store.all_results[3].window.start
    frame = pd.read_parquet(io.BytesIO(client.get(f"{window}/rows.parquet").content))
    assert list(frame.columns) == ["dep_hour", "prediction", "label"]
    assert frame["label"].dropna().tolist() == [1, 0]
    assert "int" in str(pq_types(client.get(f"{window}/rows.parquet").content)["label"])


def test_labels_of_mixed_types_are_returned_as_text(client: httpx.Client, store: Any) -> None:
    store.frame = pd.DataFrame({"label": ["late", 1, None]})
    window = f"{VERSION}/windows/{store.all_results[3].window.start}"
    frame = pd.read_parquet(io.BytesIO(client.get(f"{window}/rows.parquet").content))
    assert frame["label"].dropna().tolist() == ["late", "1"]


def test_expired_rows_get_404(client: httpx.Client, store: Any) -> None:
    store.frame = pd.DataFrame({"label": []})
    window = f"{VERSION}/windows/{store.all_results[3].window.start}"
    reply = client.get(f"{window}/rows.parquet")
    assert reply.status_code == 410
    assert "deleted" in reply.json()["error"]


@pytest.mark.parametrize("end", ["windows/7", "windows/7/rows.parquet"])
def test_an_unknown_window_is_a_404_in_json(client: httpx.Client, end: str) -> None:
    reply = client.get(f"{VERSION}/{end}")
    assert reply.status_code == 404
    assert "no closed window" in reply.json()["error"]


def test_an_alarm_is_acknowledged_once(client: httpx.Client, store: Any) -> None:
    alarm = store.all_alarms[0].alarm_id
    assert client.post(f"/api/alarms/{alarm}/acknowledge").json() == {"acknowledged": alarm}
    states = {one["alarm_id"]: one["state"] for one in client.get("/api/alarms").json()}
    assert states[alarm] == "acknowledged"
    assert client.post(f"/api/alarms/{alarm}/acknowledge").status_code == 404


def test_the_button_leads_back_to_the_model(client: httpx.Client, store: Any) -> None:
    reply = client.post(
        f"/api/alarms/{store.all_alarms[0].alarm_id}/acknowledge",
        headers={"accept": "text/html", "origin": str(client.base_url)},
    )
    assert reply.status_code == 303
    assert reply.headers["location"] == "/models/flights/1"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_site_cannot_acknowledge(
    client: httpx.Client, store: Any, headers: dict[str, str]
) -> None:
    path = f"/api/alarms/{store.all_alarms[0].alarm_id}/acknowledge"
    assert client.post(path, headers=headers).status_code == 403
    assert client.get(path).status_code == 405
    assert store.all_alarms[0].state == "firing"


def test_the_ledger_adds_up(client: httpx.Client) -> None:
    book = client.get("/api/ledger").json()
    assert book["all"]["answered"] == book["all"]["monitored"] == 262_104
    assert [source["source"] for source in book["sources"]] == ["worker-0", "worker-1"]
    assert book["totals"]["late_rows"] == 41


def test_deliveries_show_what_was_asked(client: httpx.Client) -> None:
    newest = client.get("/api/deliveries").json()[0]
    assert newest["state"] == "pending"
    assert newest["body"]["data"]["model"] == "flights"


def test_metrics_and_page_agree(client: httpx.Client) -> None:
    found = samples(client)
    assert found["driftline_monitored_events_total", "worker-0"] == 140_233
    assert found["driftline_events_lost_total", "worker-0"] == 0
    assert found["driftline_events_duplicated_total", "worker-0"] == 12
    assert found["driftline_unreadable_events_total", "worker-1"] == 0
    assert found["driftline_counted_total", "late_rows"] == 41
    assert found["driftline_window_drifted_share", "1", "flights"] == 0.0
    assert found["driftline_alarms", "1", "drift", "firing", "flights"] == 1
    assert found["driftline_alarms", "1", "churn", "drift", "firing"] == 0
    assert found["driftline_webhooks", "pending"] == 1
    assert found["driftline_webhooks", "dead"] == 1


def test_performance_metrics_show_the_last_labelled_window(
    client: httpx.Client, store: Any
) -> None:
    before, latest = store.results("flights", "1")[-2:]
    assert not any(score.name == "roc_auc" for score in latest.scores)
    [known] = [s.value for s in before.scores if s.name == "roc_auc"]
    assert samples(client)["driftline_window_score", "1", "flights", "roc_auc"] == known


def test_rows_are_conserved_in_the_metrics(client: httpx.Client) -> None:
    found = samples(client)
    states = [
        sum(
            found[key]
            for key in found
            if key[0] == "driftline_row_labels" and {"flights", state} < {*key}
        )
        for state in ("labelled", "pending", "expired")
    ]
    assert sum(states) == found["driftline_rows", "1", "flights"]


def test_an_empty_store_has_metrics(client: httpx.Client, store: Any) -> None:
    store.__init__()
    assert samples(client)["driftline_webhooks", "dead"] == 0


def test_reports_are_locked_into_a_sandbox(client: httpx.Client, reports: Path) -> None:
    (reports / "a b.html").write_text("<script>1</script>")
    page = client.get("/reports/a%20b.html")
    assert "<script>1</script>" not in page.text
    assert 'src="/reports/content/a%20b.html" sandbox="allow-scripts"' in page.text
    assert page.headers["content-security-policy"].endswith("; frame-src 'self'")
    reply = client.get("/reports/content/a%20b.html")
    assert reply.text == "<script>1</script>"
    assert reply.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in reply.headers["content-security-policy"]
    alone = client.get("/reports/content/a%20b.html", headers={"sec-fetch-dest": "document"})
    assert alone.headers["location"] == "/reports/a%20b.html"


@pytest.fixture
def secrets(reports: Path) -> list[str]:
    """Names that lead out of the reports folder or to what is no report."""
    outside = reports.parent / "secret.html"
    outside.write_text("secret")
    (reports / "notes.txt").write_text("secret")
    (reports / "folder.html").mkdir()
    (reports / "link.html").symlink_to(outside)
    return ["../secret.html", str(outside), "link.html", "notes.txt", "folder.html", "",
            "none.html", "a\0.html", "x/../../secret.html", "n" * 5000 + ".html"]  # fmt: skip


def test_no_file_outside_the_reports_folder_is_served(reports: Path, secrets: list[str]) -> None:
    assert [locate(reports, name) for name in secrets] == [None] * len(secrets)


@pytest.mark.parametrize(
    "path", ["../secret.html", "%2e%2e/secret.html", "..%2fsecret.html", "/etc/passwd", "a%00.html"]
)
@pytest.mark.usefixtures("secrets")
def test_no_spelling_of_a_path_leads_outside(client: httpx.Client, path: str) -> None:
    reply = client.get(f"/reports/{path}")
    assert reply.status_code == (400 if "%00" in path else 404)
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    ("came", "exported"),
    [
        ([1, "a", None], ["1", "a", None]),
        ([True, 2, "x"], ["True", "2", "x"]),
        ([0.5, 2**63, 1], [0.5, 2.0**63, 1.0]),
        (["a", "b", None], ["a", "b", None]),
        ([1, None, 3], [1, None, 3]),
        ([{"a": 1}, [2], "x"], ["{'a': 1}", "[2]", "x"]),
    ],
)
def test_rows_whose_values_are_of_several_types_can_be_exported(
    client: httpx.Client, store: Any, came: list[Any], exported: list[Any]
) -> None:
    store.frame = pd.DataFrame({"x": came, "self": came, "label": [None] * 3})
    start = store.all_results[3].window.start
    reply = client.get(f"{VERSION}/windows/{start}/rows.parquet")
    found = pd.read_parquet(io.BytesIO(reply.content))["x"]
    assert [None if pd.isna(one) else one for one in found] == exported


def test_a_feature_with_the_name_of_labels_keeps_its_type(client: httpx.Client, store: Any) -> None:
    store.frame = pd.DataFrame(
        {"label": [1.0, 2.0, 3.0], "@@label": [4.0, 5.0, 6.0], "@label": [0, None, 1]}
    )
    start = store.all_results[3].window.start
    content = client.get(f"{VERSION}/windows/{start}/rows.parquet").content
    types = pq_types(content)
    assert [types["label"], types["@@label"], types["@label"]] == ["double", "double", "int64"]


def test_the_traffic_of_a_model_is_on_its_page_in_the_api_and_in_the_metrics(
    client: httpx.Client, store: Any
) -> None:
    assert client.get("/api/models/flights/traffic").status_code == 404
    hours = JudgedHours(version="1")
    hours.add(400_000, 7, JudgedHour(7, "normal", 8.5, 1.0, 30.0))
    hours.add(400_001, 0, JudgedHour(0, "none", 8.5, 1.0, 30.0))
    store.hours["flights"] = hours
    page = client.get("/models/flights/1").text
    assert "no traffic" in page
    assert "0 requests in the last hour; about 8 are expected, 1 or fewer are an alarm" in page
    found = client.get("/api/models/flights/traffic").json()
    assert (found["first"], found["requests"]) == (400_000 * 3_600_000_000, [7, 0])
    assert (found["state"], found["newest"]["expected"]) == ("no traffic", 8.5)
    metrics = samples(client)
    assert metrics["driftline_traffic_requests", "flights"] == 0
    assert metrics["driftline_traffic_expected", "flights"] == 8.5


def test_versions_beyond_the_most_have_no_series_but_are_counted(store: Any) -> None:
    named = set(store.monitored_versions())
    collector = StoreCollector(store, None, most_versions=1)
    families = {family.name: family for family in collector.collect()}
    shown = {
        (sample.labels["model"], sample.labels["version"])
        for family in families.values()
        for sample in family.samples
        if "version" in sample.labels
    }
    open_alarms = {(one.model, one.version) for one in store.all_alarms if one.state != "resolved"}
    (without,) = families["driftline_versions_without_series"].samples
    assert 1 <= len(shown) <= 1 + len(open_alarms)
    assert without.value == len(named) - len(shown)
    assert open_alarms <= shown


def test_a_damaged_batch_of_kafka_has_a_metric(store: Any) -> None:
    lag = ReaderLag(lambda: 0.0)
    assert b"driftline_monitor_damaged_batch_offset{" not in exposition(store, lag)
    lag.damaged = {"driftline.predictions/3": 7}
    line = (
        b'driftline_monitor_damaged_batch_offset{partition="3",topic="driftline.predictions"} 7.0'
    )
    assert line in exposition(store, lag)
