"""A column's page with its scores over time, linked from windows and alarms."""

import re
from pathlib import Path
from urllib.parse import quote

import httpx
from starlette.testclient import TestClient

from monitoring.results import Result, Score
from monitoring.web.app import app
from tests.monitoring.web.conftest import FakeStore, week
from tests.monitoring.web.test_web_pages import HOSTILE, text_of

PAGE = "/models/churn/1/columns/"


def _client(folder: Path, column: str, limits: list[float]) -> TestClient:
    results = [
        Result(
            model="churn", version="1", window=week(index), rows=9, verdict="ok",
            scores=[
                Score(
                    name="drift", column=column, value=0.2, threshold=limit, breached=limit < 0.2
                ),
                Score(name="missing_share", column=column, value=0.25),
            ],
        )
        for index, limit in enumerate(limits)
    ]  # fmt: skip
    made = app(lambda: FakeStore(all_results=results), folder)
    return TestClient(made, base_url="http://127.0.0.1")


def test_a_columns_page_draws_its_scores_and_links_to_each_window(client: httpx.Client) -> None:
    reply = client.get("/models/flights/1/columns/wind_dir")
    text = text_of(reply)
    assert "threshold 0.100" in text
    for title in ("Drift statistic", "Missing values", "Out of range"):
        assert title in text
    assert "Effect on predictions" not in text, "it was never measured"
    chart = reply.text.split('class="chart"')[1].split("</svg>")[0]
    assert f'href="/models/flights/1/windows/{week(39).start}"' in chart


def test_windows_and_alarms_link_to_columns(client: httpx.Client) -> None:
    link = 'href="/models/flights/1/columns/dep_hour"'
    assert link in client.get(f"/models/flights/1/windows/{week(28).start}").text
    model = client.get("/models/flights/1").text
    assert link in model.split('id="alarms"')[1].split("</section>")[0]
    assert link in model.split('class="chart heat"')[1].split("</svg>")[0]
    assert "Alarms that name dep_hour" in client.get("/models/flights/1/columns/dep_hour").text
    assert "Alarms that name" not in client.get("/models/flights/1/columns/visib").text


def test_each_window_shows_its_own_threshold(tmp_path: Path) -> None:
    with _client(tmp_path, "plan", [0.1, 0.1, 0.3]) as browser:
        page = browser.get(f"{PAGE}plan").text
    assert "threshold of each window" in page
    drift = page.split('class="chart"')[1].split("</svg>")[0]
    ends = re.findall(r'class="threshold" x1="([^"]+)" x2="([^"]+)"', drift)
    assert len(ends) == 2
    assert ends[0][1] == ends[1][0]


def test_hostile_names_are_escaped_in_the_page_and_in_its_address(tmp_path: Path) -> None:
    name = f"a/b?c#d {HOSTILE}"
    with _client(tmp_path, name, [0.1]) as browser:
        address = f"{PAGE}{quote(name, safe='')}"
        assert f'href="{address}"' in browser.get(f"/models/churn/1/windows/{week(0).start}").text
        page = browser.get(address)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "a/b?c#d &lt;script&gt;" in page.text


def test_earlier_windows_are_on_the_next_page(tmp_path: Path) -> None:
    with _client(tmp_path, "plan", [0.1] * 61) as browser:
        latest = browser.get(f"{PAGE}plan").text
        assert f'href="?until={week(1).start}"' in latest
        earlier = browser.get(f"{PAGE}plan?until={week(1).start}").text
        assert earlier.count('<th scope="row">') == 1
        assert 'href="?">Latest windows' in earlier
        empty = browser.get(f"{PAGE}plan?until={week(0).start}")
        assert "plan was not scored in any of these windows" in empty.text


def test_a_column_without_a_score_is_not_found_and_the_scored_ones_are_named(
    tmp_path: Path,
) -> None:
    with _client(tmp_path, "plan", [0.1]) as browser:
        reply = browser.get(f"{PAGE}plam")
        assert reply.status_code == 404
        assert "has a score of column &#39;plam&#39;; scored columns: plan" in reply.text
        assert browser.get("/models/churn/9/columns/plan").status_code == 404
