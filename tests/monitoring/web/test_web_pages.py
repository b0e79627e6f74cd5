import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import msgspec
import pytest

from monitoring.alarms.alarm_lifecycle import JudgedWindow, RuleState
from monitoring.errors import PageUnavailable
from monitoring.results import DisabledReceiver, LateCounts, Result, Score, Window
from monitoring.web.app import app
from monitoring.web.server import serving
from registry.catalogue import NamedVersions
from registry.history.rollout_state import Rollout
from registry.history.rows import ModelDescription
from registry.history.shadow_state import Shadow
from registry.shadow_report import ShadowCounts, ShadowReport
from tests.monitoring.log_in_memory import MANIFEST

HOSTILE = "<script>alert('x')</script>&\"{{ 7*7 }}"


def text_of(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return re.sub(r"<[^>]*>", "", reply.text)


def first_window(store: Any) -> int:
    return int(store.all_results[0].window.start)


def test_the_overview_lists_every_version_worst_first(client: httpx.Client) -> None:
    text = text_of(client.get("/"))
    assert "flights version 1: ROC AUC fell to 0.651" in text
    assert "1 more alarm is firing." in text
    assert re.search(r"answered 262,104\s*=\s*logged 262,104\s*=\s*monitored 262,104", text)
    order = [text.index(f"{name}\n") for name in ("flights", "fraud", "newcomer", "churn")]
    assert order == sorted(order)
    assert "17 rows" in text


def test_a_window_shows_the_confusion_matrix(client: httpx.Client, store: Any) -> None:
    start = first_window(store)
    path = f"/models/flights/1/windows/{start}"
    assert 'id="confusion"' not in client.get(path).text
    cells = {"10": {"10": 300}, "9": {"10": 25, "9": 75}, "late": {HOSTILE: 1}}
    store.all_results[0] = msgspec.structs.replace(store.all_results[0], confusion=cells)
    shown = re.sub(r"<[^>]*>", "", client.get(path).text.split('id="confusion"')[1])
    order = [shown.index(f"predicted {name}") for name in ("9", "10", "late")]
    assert order == sorted(order)
    assert re.search(r"9\s*7575%\s*2525%\s*0", shown.replace("\n", ""))
    assert "<script>alert" not in client.get(path).text


def test_the_overview_states_that_a_receiver_is_disabled(client: httpx.Client, store: Any) -> None:
    store.all_alarms.clear()
    stop = DisabledReceiver(
        receiver="x", host="train.example", since=first_window(store), reason="410"
    )
    store.stops.append(stop)
    text = text_of(client.get("/"))
    assert text.count("train.example have been disabled since 7 Jan 2013, 00:00 UTC (410)") >= 2


def test_the_search_works_without_scripts(client: httpx.Client) -> None:
    text = text_of(client.get("/", params={"q": "FRAUD"}))
    assert "version 12" in text
    assert "newcomer" not in text
    assert 'class="waiting"' in client.get("/", params={"q": HOSTILE}).text


def test_an_empty_monitor_states_the_next_step(client: httpx.Client, store: Any) -> None:
    store.__init__()
    text = text_of(client.get("/"))
    assert "No predictions yet." in text
    assert "curl http://127.0.0.1:3000/predict" in text


def test_the_model_page_shows_charts_alarms_webhooks_and_windows(client: httpx.Client) -> None:
    reply = client.get("/models/flights/1")
    text = text_of(reply)
    for said in ("Drift by column", "estimated without labels", "alarm at 0.660", "7–13 Oct 2013",
                 "503: come back later", "410: wants no more", "resolved"):  # fmt: skip
        assert said in text
    pictures = re.findall(r"<svg.*?</svg>", reply.text, flags=re.DOTALL)
    assert len(pictures) >= 8
    for picture in pictures:
        ET.fromstring(picture.replace("&nbsp;", " "))
    assert reply.text.count('<a href="/reports/flights-1-') == 1, "the one that is still there"


def test_a_model_without_labels_explains_how_to_send_labels(client: httpx.Client) -> None:
    assert "/v1/feedback" in text_of(client.get("/models/churn/1"))


def test_missing_scores_are_not_an_error(client: httpx.Client, store: Any) -> None:
    note = "3 labels are known, at least 30 are needed"
    silent = Result(
        model="quiet",
        version="1",
        window=Window(0, 86_400_000_000),
        rows=100,
        pending=97,
        labelled=3,
        verdict="ok",
        scores=[
            Score(name="roc_auc", value=None, note=note),
            Score(name="drifted_share", value=None, threshold=0.3, note="no feature can be scored"),
            Score(name="drift", column="a", value=None, note="all values are missing"),
            Score(name="missing_share", column="a", value=1.0, threshold=0.05, breached=True),
        ],
    )
    store.all_results.append(silent)
    for path in ("/", "/models/quiet/1", "/models/quiet/1/windows/0"):
        assert text_of(client.get(path))
    detail = text_of(client.get("/models/quiet/1/windows/0"))
    assert "Drift was not scored: no feature can be scored." in detail
    assert note in detail
    assert re.search(r"100% over 5%", detail)
    assert "all values are missing" in detail
    assert client.get("/metrics").status_code == 200


def test_a_model_without_a_closed_window_explains_when_windows_close(client: httpx.Client) -> None:
    assert 'class="empty card"' in client.get("/models/newcomer/1").text


def test_older_windows_are_one_click_away(client: httpx.Client, store: Any) -> None:
    week = 7 * 86_400_000_000
    template = store.all_results[0]
    store.all_results = [
        msgspec.structs.replace(template, window=Window(n * week, (n + 1) * week))
        for n in range(150)
    ]
    page = client.get("/models/flights/1").text
    [earlier] = re.findall(r'href="(\?until=\d+)', page)
    assert page.count("/windows/") > 60
    older = client.get(f"/models/flights/1{earlier}").text
    assert f"/windows/{89 * week}" in older
    assert f"/windows/{90 * week}" not in older
    unclear = client.get("/models/flights/1?until=soon")
    assert unclear.status_code == 400
    assert "until is &#39;soon&#39;; expected a whole number" in unclear.text


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("model", ["churn", "flights", "fraud", "newcomer"]),
        ("-model", ["newcomer", "fraud", "flights", "churn"]),
        ("-rows", ["flights", "fraud", "churn", "newcomer"]),
        ("window", ["fraud", "flights", "churn", "newcomer"]),
        ("", ["flights", "fraud", "newcomer", "churn"]),
        ("nonsense", ["flights", "fraud", "newcomer", "churn"]),
    ],
)
def test_the_overview_is_sorted_as_requested_with_missing_values_last(
    client: httpx.Client, sort: str, expected: list[str]
) -> None:
    page = client.get("/", params={"sort": sort}).text
    rows = page.split('id="version-rows"')[1].split("</table>")[0]
    assert re.findall(r'<a href="/models/([a-z]+)/\d+">', rows) == expected


def test_a_heading_sorts_in_both_directions_and_keeps_the_search(
    client: httpx.Client,
) -> None:
    first = client.get("/?q=fl").text
    assert 'href="/?q=fl&amp;sort=-rows"' in first
    sorted_page = client.get("/?q=fl&sort=-rows").text
    assert 'aria-sort="descending"><a href="/?q=fl&amp;sort=rows"' in sorted_page
    assert '<input type="hidden" name="sort" value="-rows">' in sorted_page


def test_the_window_page_lists_columns_worst_first(client: httpx.Client, store: Any) -> None:
    start = store.all_results[28].window.start
    text = text_of(client.get(f"/models/flights/1/windows/{start}"))
    assert "13 columns drifted: dep_hour, month_day, weekday" in text
    assert text.index("dep_hour\n") < text.index("plane_seats\n")


@pytest.mark.parametrize(
    "path",
    ["/models/nobody/1", "/models/flights/9", "/models/flights/1/windows/5", "/nowhere",
     "/models/flights/1/windows/99999999999999999999999", "/models/flights/1/windows/x"],
)  # fmt: skip
def test_an_unknown_address_gets_an_error_page(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert "Not found" in reply.text
    assert "content-security-policy" in reply.headers


def test_hostile_names_and_notes_are_escaped(client: httpx.Client, store: Any) -> None:
    window = Window(0, 86_400_000_000)
    store.all_results.append(
        Result(
            model=HOSTILE.replace("/", ""),
            version='1"><b>',
            window=window,
            rows=3,
            scores=[
                Score(name="drift", column=HOSTILE, value=0.5, threshold=0.1, breached=True,
                      method=HOSTILE, note=HOSTILE),
            ],
        )
    )  # fmt: skip
    overview = client.get("/").text
    path = min(re.findall(r'href="(/models/%3Cscript[^"]+)"', overview), key=len)
    for page in (overview, client.get(path).text, client.get(f"{path}/windows/0").text):
        assert "&lt;script&gt;" in page
        assert "<script>alert" not in page
        assert '1"><b>' not in page


def test_the_page_fetches_nothing_from_outside_and_runs_nothing_inline(
    client: httpx.Client, store: Any
) -> None:
    for path in ("/", "/models/flights/1", f"/models/flights/1/windows/{first_window(store)}"):
        reply = client.get(path)
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', reply.text):
            assert address.startswith(("/", "?", "#")), address
        assert not re.search(r"<script(?! src=)|\sstyle=|\son\w+=", reply.text)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_an_unchanged_page_gets_304(client: httpx.Client, store: Any) -> None:
    tag = client.get("/").headers["etag"]
    assert client.get("/", headers={"if-none-match": tag}).status_code == 304
    store.all_alarms.clear()
    assert client.get("/", headers={"if-none-match": tag}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "evil:3100"])
def test_a_rebound_host_name_gets_nothing(client: httpx.Client, host: str) -> None:
    reply = client.get("/api/alarms", headers={"host": host})
    assert reply.status_code in (400, 421)
    assert "sentence" not in reply.text


@pytest.mark.parametrize("host", ["127.0.0.1:3100", "localhost", "LOCALHOST:80", "[::1]:3100"])
def test_loopback_host_names_are_accepted(client: httpx.Client, host: str) -> None:
    assert client.get("/api/alarms", headers={"host": host}).is_success


@pytest.mark.parametrize("host", ["10.1.2.3:3100", "[fd00::7]:3100", "evil.example"])
def test_health_probes_can_use_any_host_name(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"host": host}).json() == {"status": "ok"}


def test_a_configured_host_name_is_accepted(store: Any, reports: Path) -> None:
    with serving(app(lambda: store, reports, hosts=["Monitor.internal"]), "127.0.0.1", 0) as url:
        headers = {"host": "monitor.internal"}
        reply = httpx.get(f"{url}/api/alarms", headers=headers, trust_env=False)
    assert reply.status_code == 200


def test_scripts_and_styles_are_served(client: httpx.Client) -> None:
    for file in ("style.css", "live.js", "icon.svg"):
        assert client.get(f"/static/{file}").status_code == 200


def test_a_taken_port_is_one_clear_error(store: Any, reports: Path) -> None:
    with serving(app(lambda: store, reports), "127.0.0.1", 0) as url:
        port = int(url.rsplit(":", 1)[1])
        with (
            pytest.raises(PageUnavailable, match=f"127.0.0.1 port {port}"),
            serving(app(lambda: store, reports), "127.0.0.1", port),
        ):
            pass


class Broken:
    """A store whose file went away."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name}: disk gone, /secret/path")


def test_a_broken_database_gets_a_page_without_internals(reports: Path) -> None:
    with serving(app(Broken, reports), "127.0.0.1", 0) as url:  # type: ignore[arg-type]
        page = httpx.get(url, trust_env=False)
        api = httpx.get(f"{url}/api/alarms", trust_env=False)
    assert (page.status_code, api.status_code) == (500, 500)
    assert "secret" not in page.text + api.text
    assert api.json() == {
        "error": "the page could not be created; the monitor's log has the reason"
    }


MIRRORED = ShadowReport(
    lag_s=0.2,
    shadows={"s": ShadowCounts("flights", "2", 40, 50, 45, skipped={"late": 7})},
)


class Registered:
    """A registry with a champion that was seen, and a version that nobody has called."""

    def models(self) -> list[str]:
        return ["flights"]

    def versions(self, _model: str) -> list[Any]:
        return [SimpleNamespace(number=number, manifest=MANIFEST) for number in "12"]

    def policies(self, _version: Any) -> list[Any]:
        return []

    def named_versions(self, _model: str) -> NamedVersions:
        rollout = Rollout(
            "r", "champion", "2", "1", steps=[0.25, 1.0], bake_s=60, step=0, phase="paused",
            since=0, started=0, actor="ann",
        )  # fmt: skip
        shadow = Shadow("s", "2", "champion", 0.1, 0, "ann")
        return NamedVersions({"champion": "1"}, [rollout], [shadow])


def test_registered_versions_show_their_aliases_and_wait_for_traffic(
    store: Any, reports: Path
) -> None:
    with (
        serving(
            app(lambda: store, reports, catalogue=Registered(), shadows=lambda: MIRRORED),
            "127.0.0.1",
            0,
        ) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        page = text_of(client.get("/models/flights/2"))
        assert "shadow of champion" in text_of(client.get("/"))
        assert "flights version 2 runs on 10 % of the requests that champion answers" in page
        assert "40 requests, 50 rows, 90.00% with the same answer; 0.2 s behind" in page
        assert "skipped: 7 late" in page
        assert "registered, no predictions yet" in text_of(client.get("/"))
        assert "champion" in text_of(client.get("/models/flights/1"))
        assert 'class="empty card"' in client.get("/models/flights/2").text
        assert client.get("/api/models").json()[0]["aliases"] == ["champion"]
        for page in ("/", "/models/flights/2"):
            assert re.search(r"25(\.0)?\s*% of champion, paused", text_of(client.get(page)))
        by_version = {one["version"]: one for one in client.get("/api/models").json()}
        assert by_version["1"]["rollout"] is None
        assert by_version["2"]["rollout"]["steps"] == [0.25, 1.0]


def test_a_window_shows_its_whole_window_scores(client: httpx.Client, store: Any) -> None:
    note = "the correlation of a and b is 0.10, 0.80 in the reference"
    scores = [
        Score(name="drifted_share", value=0.0, threshold=0.3),
        Score(name="joint_drift", value=3.2, threshold=1.0, breached=True, note=note),
        Score(name="joint_change", column="a", value=3.2, threshold=1.0, breached=True, note=note),
        Score(name="gap_evidence", value=100.0, threshold=400.0, note="accuracy 0.800"),
    ]
    template = store.all_results[0]
    store.all_results.append(
        msgspec.structs.replace(template, model="apart", verdict="drifted", scores=scores)
    )
    shown = text_of(client.get(f"/models/apart/{template.version}/windows/{template.window.start}"))
    assert re.search(rf"3\.200\s*above its limit\s+{note}", shown)
    assert re.search(r"0\.250\s*of its limit;\s+accuracy 0\.800", shown)


def test_a_window_shows_its_late_events(client: httpx.Client, store: Any) -> None:
    before, result = store.all_results[27:29]
    store.too_late = {("flights", "1"): {result.window.start: LateCounts(events=2, rows=1_234)}}
    pages = [
        client.get(f"/models/flights/1/windows/{one.window.start}").text for one in (before, result)
    ]
    assert ['id="late"' in page for page in pages] == [False, True]
    assert "1,234" in pages[1]
    metrics = client.get("/metrics").text
    assert 'driftline_late_rows_total{model="flights",version="1"} 1234.0' in metrics
    assert 'driftline_late_events_total{model="churn",version="1"} 0.0' in metrics


def test_the_model_page_lists_its_rules_with_their_state(client: httpx.Client, store: Any) -> None:
    window = store.all_results[-1].window
    broken = RuleState(judged=[JudgedWindow(window, broken=True)], state="pending")
    store.states["performance"] = broken
    page = client.get("/models/flights/1").text
    assert re.search(r">performance</th><td[^>]*>pending</td>", page)


def test_an_overview_of_many_versions_has_pages(client: httpx.Client, store: Any) -> None:
    last = store.all_results[-1]
    many = [msgspec.structs.replace(last, model=f"many{n:03}") for n in range(450)]
    store.all_results += many
    first = client.get("/?q=many&sort=model").text
    assert "1 to 200 of 450 versions" in first
    assert 'href="/?from=200&amp;q=many&amp;sort=model"' in first
    assert ("many199" in first, "many200" in first) == (True, False)
    end = client.get("/?q=many&sort=model&from=400").text
    assert "401 to 450 of 450 versions" in end
    assert "Next</a>" not in end
    assert client.get("/?from=-5").status_code == 200
    assert client.get("/?from=99999999").status_code == 200
    assert client.get("/?from=x").status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("verdict=drifted", []),
        ("verdict=ok", ["flights", "churn"]),
        ("verdict=ok&alarms=1", ["flights"]),
        ("alarms=1", ["flights"]),
        ("verdict=not+enough+data", ["fraud"]),
        ("verdict=ok&q=ch", ["churn"]),
        ("verdict=ok&sort=model", ["churn", "flights"]),
    ],
)
def test_the_overview_is_filtered_by_verdict_and_open_alarms(
    client: httpx.Client, query: str, expected: list[str]
) -> None:
    page = client.get(f"/?{query}").text
    rows = page.split('id="version-rows"')[1].split("</table>")[0]
    assert re.findall(r'<a href="/models/([a-z]+)/\d+">', rows) == expected


def test_filters_search_and_sort_are_combined(client: httpx.Client) -> None:
    page = client.get("/?q=fl&verdict=ok&sort=-rows").text
    for fragment in (
        'href="/?q=fl&amp;verdict=ok&amp;alarms=1&amp;sort=-rows"',
        'href="/?q=fl&amp;sort=-rows" aria-current="true"',
        'href="/?q=fl&amp;verdict=ok&amp;sort=model"',
        '<input type="hidden" name="verdict" value="ok">',
        '<input type="hidden" name="sort" value="-rows">',
    ):
        assert fragment in page
    none = text_of(client.get("/?q=fraud&verdict=drifted&alarms=1"))
    assert "No version matches “fraud” and is drifted and has open alarms." in none


def test_an_unknown_filter_is_refused(client: httpx.Client) -> None:
    reply = client.get("/", params={"verdict": HOSTILE})
    assert reply.status_code == 400
    assert "expected ok or drifted or degraded" in reply.text
    assert "<script>alert" not in reply.text
    assert "expected 1" in client.get("/?alarms=all").text


class Described(Registered):
    """The same registry, with owner and tags of its model."""

    def named_versions(self, model: str) -> NamedVersions:
        description = ModelDescription("team <b>sky</b>", ["pii", "tier-1"])
        return super().named_versions(model)._replace(description=description)


def test_the_overview_is_filtered_by_owner_and_tag(store: Any, reports: Path) -> None:
    registry = Described()
    with (
        serving(app(lambda: store, reports, catalogue=registry), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        everything = client.get("/").text
        assert "team &lt;b&gt;sky&lt;/b&gt;" in everything
        assert 'href="/?tag=tier-1"' in everything
        tagged = client.get("/?tag=tier-1").text
        owned = client.get("/?owner=team+%3Cb%3Esky%3C%2Fb%3E&q=PII").text
        for page in (tagged, owned):
            assert re.findall(r'data-text="(\w+) (\w+)', page) == [
                ("flights", "1"),
                ("flights", "2"),
            ]
        none = text_of(client.get("/?tag=tier-1&owner=nobody"))
        assert "No version has the tag tier-1 and belongs to nobody." in none
        assert 'class="tag"' in client.get("/models/flights/1").text
        by_model = {one["model"]: one for one in client.get("/api/models").json()}
        assert (by_model["flights"]["owner"], by_model["flights"]["tags"]) == (
            "team <b>sky</b>",
            ["pii", "tier-1"],
        )
        assert (by_model["churn"]["owner"], by_model["churn"]["tags"]) == ("", [])
