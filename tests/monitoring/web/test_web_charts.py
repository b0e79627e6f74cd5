import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from monitoring.results import Window
from monitoring.web.charts.glyphs import meter, sparkline
from monitoring.web.charts.lines import Axis, HeatRow, heatmap, level, line_chart, stacked_bars
from monitoring.web.charts.plot import Band, Mark, Sheet, Slot
from monitoring.web.charts.scale import domain, ticks, time_ticks

DAY = 86_400_000_000
COORDINATES = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height")

values = st.none() | st.floats(allow_nan=True, allow_infinity=True)
hostile = st.sampled_from(["<script>alert(1)</script>", '"><img src=x>', "plain", "]]>&amp;"])
marks = st.builds(Mark, values, hostile, st.booleans(), st.booleans())
slots = st.lists(
    st.builds(
        lambda day, href: Slot(Window(day * DAY, (day + 1) * DAY), href),
        st.integers(-(10**6), 10**6),
        st.sampled_from(["", "/models/flights/1/windows/0"]),
    ),
    max_size=30,
)


def drawn(picture: Markup) -> ET.Element:
    """The picture parsed as XML; fails on anything unescaped."""
    return ET.fromstring(str(picture))


def assert_sound(picture: Markup) -> None:
    root = drawn(picture)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    for node in root.iter():
        assert node.tag in {"svg", "g", "line", "text", "rect", "circle", "path", "title", "a"}
        for name in COORDINATES:
            if name in node.attrib:
                number = float(node.attrib[name])
                assert abs(number) < 1e5, (node.tag, name, number)
        assert float(node.get("width", 0)) >= 0
        assert float(node.get("height", 0)) >= 0
        assert re.fullmatch(r"([ML]-?[\d.]+ -?[\d.]+ ?)*", node.get("d", ""))


@given(slots, st.data(), values, st.sampled_from([358.0, 540.0, 1096.0]))
@settings(max_examples=60, deadline=None)
def test_every_chart_coordinate_is_a_number(
    along: list[Slot], data: st.DataObject, threshold: float | None, width: float
) -> None:
    row = data.draw(st.lists(marks, min_size=len(along), max_size=len(along)))
    band = Band(0, max(len(along) - 1, 0), "an <alarm>")
    sheet = Sheet(along, [band], width)
    assert_sound(line_chart(sheet, row, Axis("A & B", always=(0.0, 1.0)), threshold))
    limits = data.draw(st.lists(values, min_size=len(row), max_size=len(row)))
    assert_sound(line_chart(sheet, row, Axis("A & B"), limits))
    assert_sound(heatmap(sheet, [HeatRow("<b>name</b>", row, '/"><b>'), HeatRow("other", row)]))
    counts = st.integers(0, 10**9)
    parts = [data.draw(st.tuples(counts, counts, counts)) for _ in along]
    bars = [Mark(float(sum(part)), "bar") for part in parts]
    assert_sound(stacked_bars(sheet, bars, parts, Axis("Rows")))


@given(st.lists(values, max_size=40), values, hostile)
def test_small_charts_are_valid(
    line: list[float | None], threshold: float | None, label: str
) -> None:
    assert_sound(sparkline(line, label, threshold))
    assert_sound(meter(threshold, label))


def test_charts_without_data_state_it() -> None:
    sheet = Sheet([])
    assert "no values yet" in line_chart(sheet, [], Axis("Drift"), None)
    assert_sound(heatmap(sheet, []))
    assert_sound(stacked_bars(sheet, [], [], Axis("Rows")))


def test_the_line_has_gaps_for_missing_measurements() -> None:
    along = [Slot(Window(day * DAY, (day + 1) * DAY)) for day in range(4)]
    row = [Mark(0.1), Mark(None), Mark(0.2), Mark(0.3)]
    root = drawn(line_chart(Sheet(along), row, Axis("Drift"), None))
    [path] = list(root.iter("path"))
    assert re.findall("[ML]", path.get("d", "")) == ["M", "M", "L"]


def test_no_label_of_the_calendar_is_cut_at_the_edge() -> None:
    hours = [Slot(Window(hour * DAY // 24, (hour + 1) * DAY // 24)) for hour in range(72)]
    row = [Mark(0.5, "")] * 73
    for end in (0, 1):  # whether the last window begins a day
        along = [*hours, Slot(Window(3 * DAY, 3 * DAY + DAY // 24))][: 72 + end]
        root = drawn(line_chart(Sheet(along), row[: 72 + end], Axis("Drift"), None))
        texts = [node for node in root.iter() if node.text in {"1 Jan", "2 Jan", "3 Jan", "4 Jan"}]
        assert [node.text for node in texts] == ["1 Jan", "2 Jan", "3 Jan"]


def test_every_slot_states_its_value_and_links_to_its_window() -> None:
    along = [Slot(Window(0, DAY), "/models/a/1/windows/0")]
    root = drawn(line_chart(Sheet(along), [Mark(0.5, "1 Jan 1970: 50%")], Axis("Drift"), None))
    [link] = list(root.iter("a"))
    assert link.get("href") == "/models/a/1/windows/0"
    assert [title.text for title in link.iter("title")] == ["1 Jan 1970: 50%"]


@pytest.mark.parametrize(
    ("severity", "shade"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.999, 1), (1.0, 2), (2.5, 3), (99, 4)]
)
def test_shades_above_the_threshold_mean_drift(severity: float, shade: int) -> None:
    assert level(severity) == shade


@given(st.lists(st.floats(-1e12, 1e12), min_size=1))
def test_axis_bounds_are_round_and_include_every_value(numbers: list[float]) -> None:
    low, high, step = domain(numbers)
    slack = 1e-6 * step
    assert low <= min(numbers) + slack
    assert high >= max(numbers) - slack
    assert low < high
    assert 2 <= len(ticks(low, high, step)) <= 12


@given(st.lists(st.integers(-(10**17), 10**17), unique=True), st.integers(1, 20))
def test_the_calendar_never_has_more_labels_than_room(starts: list[int], room: int) -> None:
    labels = time_ticks(sorted(starts), room)
    assert len(labels) <= room
    assert [tick.index for tick in labels] == sorted({tick.index for tick in labels})


def test_weeks_are_labelled_by_month_with_the_year_where_it_begins() -> None:
    starts = [1_356_912_000_000_000 + week * 7 * DAY for week in range(53)]  # 31 Dec 2012
    texts = [tick.text for tick in time_ticks(starts, 20)]
    assert texts[:3] == ["Jan 2013", "Feb", "Mar"]
