"""Draw the dashboards with a Prometheus server's data: python pictures.py URL FOLDER [MINUTES].

Write one HTML file per dashboard, without Grafana, with the same panels, queries, legends, units
and layout. Use it before a release to find panels that are empty, mixed or unreadable.
"""

import html
import json
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

FOLDER = Path(__file__).parent / "dashboards"
POINTS = 120
WIDTH, HEIGHT, LEFT = 600, 190, 60  # pixels: width and height of a chart, width of its axis labels
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d")
_UNITS = {"reqps": "req/s", "short": "", "cps": "/s"}
STYLE = """
body { background: #111217; color: #ccccdc; font: 13px system-ui, sans-serif; margin: 16px; }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px; }
h1 { font-size: 18px; } h2 { grid-column: 1 / -1; font-size: 15px; margin: 12px 0 0; }
section { background: #181b1f; border: 1px solid #2c3235; padding: 8px 10px; overflow: hidden; }
h3 { font-size: 13px; margin: 0; } p { margin: 2px 0 6px; color: #8e8e99; font-size: 12px; }
svg { width: 100%; height: auto; max-width: 610px; display: block; }
text { fill: #8e8e99; font-size: 11px; }
ul { margin: 4px 0 0; padding: 0; list-style: none; font-size: 12px; }
li { display: inline-block; margin-right: 12px; }
i { display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: 4px; }
b.number { font-size: 34px; } .empty { color: #f2495c; padding: 50px 0; text-align: center; }
"""


class Series(NamedTuple):
    """One line of a chart: its legend, and its values by time."""

    name: str
    points: dict[float, float]


Ask = Callable[[str], list[dict[str, Any]]]  # PromQL query -> series of its range query


def prometheus(url: str, minutes: float) -> Ask:
    """Return a function that queries a Prometheus server for the last `minutes`."""
    end = time.time()

    def ask(query: str) -> list[dict[str, Any]]:
        period = {"query": query, "start": end - 60 * minutes, "end": end}
        fields = urllib.parse.urlencode(period | {"step": 60 * minutes / POINTS})
        reply = httpx.get(f"{url}/api/v1/query_range?{fields}", timeout=60, trust_env=False)
        series: list[dict[str, Any]] = reply.raise_for_status().json()["data"]["result"]
        return series

    return ask


def page(board: dict[str, Any], ask: Ask) -> str:
    """Return a dashboard as HTML."""
    panels = [panel for row in board["panels"] for panel in (row, *row.get("panels", []))]
    chosen = _chosen(board["templating"]["list"], ask)
    body = "".join(_panel(_filled_in(panel, chosen), ask) for panel in panels)
    title = html.escape(board["title"])
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return f"{head}<h1>{title}</h1><main>{body}</main>"


def _chosen(variables: Sequence[dict[str, Any]], ask: Ask) -> dict[str, str]:
    """Return each variable's value: its first value, or all values of a multiple choice."""
    chosen = {"__rate_interval": "1m"}
    for variable in variables:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.get("query")))
        if variable.get("includeAll") or not match:
            chosen[variable["name"]] = ".*"
            continue
        series = ask(_with_values(match[1], chosen))
        values = sorted({labels["metric"].get(match[2], "") for labels in series})
        chosen[variable["name"]] = values[0] if values else ".*"
    return chosen


def _filled_in(panel: dict[str, Any], chosen: dict[str, str]) -> dict[str, Any]:
    targets = [
        {**target, "expr": _with_values(target["expr"], chosen)}
        for target in panel.get("targets", [])
    ]
    return {**panel, "title": _with_values(panel["title"], chosen), "targets": targets}


def _with_values(text: str, chosen: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: chosen[match[1]], text)


def _panel(panel: dict[str, Any], ask: Ask) -> str:
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f"<h2>{title}</h2>"
    series = [line for target in panel["targets"] for line in _series(target, ask)]
    unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
    drawn = {"stat": _number, "heatmap": _heatmap}.get(panel["type"], _lines)
    shown = drawn(series, unit) if series else '<div class="empty">No data</div>'
    place = f"grid-column: span {panel['gridPos']['w']}"
    meaning = html.escape(panel.get("description", ""))
    return f'<section style="{place}"><h3>{title}</h3><p>{meaning}</p>{shown}</section>'


def _series(target: dict[str, Any], ask: Ask) -> list[Series]:
    series = [
        Series(
            _legend(target.get("legendFormat", ""), line["metric"]),
            {float(at): float(value) for at, value in line["values"] if value != "NaN"},
        )
        for line in ask(target["expr"])
    ]
    return _buckets(series) if target.get("format") == "heatmap" else series


def _buckets(cumulative: Sequence[Series]) -> list[Series]:
    """Return the observations in each bucket of a histogram, highest bucket first."""
    ordered = sorted(cumulative, key=lambda line: float(line.name))
    below: dict[float, float] = {}
    buckets = []
    for bucket in ordered:
        own = {at: value - below.get(at, 0.0) for at, value in bucket.points.items()}
        buckets.append(Series(bucket.name, own))
        below = bucket.points
    return buckets[::-1]


def _legend(template: str, labels: dict[str, str]) -> str:
    if not template:
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), template)


def _number(series: Sequence[Series], unit: str) -> str:
    values = [list(line.points.values())[-1] for line in series if line.points]
    return f'<b class="number">{_with_unit(values[0], unit) if values else "No data"}</b>'


def _lines(series: Sequence[Series], unit: str) -> str:
    times = sorted({at for line in series for at in line.points})
    values = [value for line in series for value in line.points.values()]
    if not values:
        return '<div class="empty">No data</div>'
    high = max(*values, 0) or 1.0
    low = min(*values, 0)
    parts = [_tick(low + (high - low) * part / 4, low, high, unit) for part in range(5)]
    legend = []
    for index, line in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        places = " ".join(
            f"{_x(at, times):.1f},{_y(value, low, high):.1f}" for at, value in line.points.items()
        )
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}"/>')
        legend.append(f'<li><i style="background: {colour}"></i>{html.escape(line.name)}</li>')
    return f"{_svg(parts, times)}<ul>{''.join(legend)}</ul>"


def _heatmap(series: Sequence[Series], unit: str) -> str:
    """Draw one row per legend; series with the same legend share a row, as in Grafana."""
    times = sorted({at for line in series for at in line.points})
    names = list(dict.fromkeys(line.name for line in series))
    top = max((value for line in series for value in line.points.values()), default=0) or 1.0
    tall, wide = HEIGHT / len(names), (WIDTH - LEFT) / max(len(times), 1)
    parts = []
    for line in series:
        y = names.index(line.name) * tall
        parts += [
            f'<rect x="{_x(at, times):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="#ff9830" opacity="{value / top:.2f}"/>'
            for at, value in line.points.items()
        ]
        parts.append(f'<text x="0" y="{y + tall / 2 + 4:.1f}">{html.escape(line.name)}</text>')
    return f"{_svg(parts, times)}<ul><li>highest: {_with_unit(top, unit)}</li></ul>"


def _svg(parts: Sequence[str], times: Sequence[float]) -> str:
    labels = [
        f'<text x="{x}" y="{HEIGHT + 16}" text-anchor="{anchor}">'
        f"{time.strftime('%H:%M', time.gmtime(at))}</text>"
        for x, anchor, at in ((LEFT, "start", times[0]), (WIDTH, "end", times[-1]))
    ]
    box = f"0 -6 {WIDTH} {HEIGHT + 26}"
    return f'<svg viewBox="{box}" role="img">{"".join([*parts, *labels])}</svg>'


def _tick(value: float, low: float, high: float, unit: str) -> str:
    y = _y(value, low, high)
    line = f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#2c3235"/>'
    return (
        f'{line}<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{_with_unit(value, unit)}</text>'
    )


def _x(at: float, times: Sequence[float]) -> float:
    span = max(times[-1] - times[0], 1.0)
    return LEFT + (WIDTH - LEFT) * (at - times[0]) / span


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - HEIGHT * (value - low) / (high - low)


def _with_unit(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{_UNITS.get(unit, unit)}"
    return f"{value:.3g} {_UNITS.get(unit, unit)}".strip()


def main(url: str, folder: Path, minutes: float = 30) -> None:
    """Write the page of each dashboard into the folder."""
    ask = prometheus(url.rstrip("/"), minutes)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.json")):
        drawn = folder / f"{path.stem}.html"
        drawn.write_text(page(json.loads(path.read_text()), ask))
        print(drawn)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:]))
