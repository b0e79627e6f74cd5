"""Two periods of a version are compared: sums, weighted means, rows of all their windows."""

import httpx
import pytest

from monitoring.results import Result, Score
from monitoring.web.periods import DayRange, merge_results, verdicts_in_words, within
from tests.monitoring.web.conftest import week
from tests.monitoring.web.test_web_pages import text_of

PAGE = "/models/flights/1/compare"
SUMMER = {"from": "2013-07-01", "to": "2013-08-25"}
WINTER = {"against_from": "2013-01-07", "against_to": "2013-02-24"}


def _result(index: int, rows: int, labelled: int, *scores: Score) -> Result:
    return Result(
        model="m", version="1", window=week(index), rows=rows, labelled=labelled, scores=[*scores],
        events={"ok": rows}, verdict="drifted" if index else "ok",
    )  # fmt: skip


def test_counts_are_sums_and_scores_weighted_means() -> None:
    def scores(drift: float | None, accuracy: float, threshold: float) -> list[Score]:
        return [
            Score(name="drift", column="a", value=drift, threshold=threshold, breached=True),
            Score(name="accuracy", value=accuracy, threshold=0.7, low=0.1, high=0.9),
        ]

    parts = [
        _result(0, 100, 0, *scores(0.1, 0.9, 0.1)),
        _result(1, 300, 10, *scores(0.5, 0.5, 0.1)),
        _result(2, 50, 30, *scores(None, 0.9, 0.2)),
    ]
    merged = merge_results(parts)
    assert (merged.window.start, merged.window.end) == (week(0).start, week(2).end)
    assert (merged.rows, merged.labelled, merged.events) == (450, 40, {"ok": 450})
    drift, accuracy = merged.scores
    assert drift.value == pytest.approx((100 * 0.1 + 300 * 0.5) / 400)
    assert (drift.threshold, drift.breached) == (None, True)
    assert accuracy.value == pytest.approx(0.8)
    assert (accuracy.threshold, accuracy.low, accuracy.high) == (0.7, None, None)
    assert verdicts_in_words(parts) == "2 drifted, 1 ok"
    assert within(parts, DayRange("2013-01-14", "2013-01-14").window) == parts[1:2]


def test_the_address_selects_two_periods_to_compare(client: httpx.Client) -> None:
    page = client.get(PAGE, params=SUMMER | WINTER)
    assert page.status_code == 200
    text = text_of(page)
    assert "1 Jul – 25 Aug 2013 against 7 Jan – 24 Feb 2013" in text
    assert "8 drifted" in text
    assert "7 ok" in text
    assert 'name="from" required value="2013-07-01"' in page.text
    assert "Compare two periods" in text_of(client.get(PAGE))


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"from": ""}, 400, "from is missing"),
        ({"from": "1.7.2013"}, 400, "expected a day"),
        ({"from": "2013-13-01"}, 400, "expected a day"),
        ({"from": "2013-08-26"}, 400, "is before"),
        ({"from": "1999-01-01", "to": "1999-12-31"}, 404, "no window"),
        ({"to": "9999-12-31"}, 200, "against"),
    ],
)
def test_wrong_periods_are_named(
    client: httpx.Client, wrong: dict[str, str], status: int, words: str
) -> None:
    reply = client.get(PAGE, params=SUMMER | WINTER | wrong)
    assert (reply.status_code, words in reply.text) == (status, True)


def test_the_page_of_a_version_shows_chosen_days(client: httpx.Client) -> None:
    page = client.get("/models/flights/1", params={"from": "2013-07-01", "to": "2013-07-20"}).text
    assert 'name="from" required value="2013-07-01"' in page
    assert 'name="to" required value="2013-07-20"' in page
    assert page.count('<th scope="row"><a href="/models/flights/1/windows/') == 3
    assert "Latest windows" in page
    for days, status in (
        ({"from": "2013-07-01"}, 400),
        ({"from": "x", "to": "y"}, 400),
        ({"from": "1999-07-01", "to": "1999-07-02"}, 404),
    ):
        assert client.get("/models/flights/1", params=days).status_code == status
