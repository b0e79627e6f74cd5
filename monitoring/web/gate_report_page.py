"""The HTML page of a gate report: a table of the gates, and a plot of each gate's figures."""

from datetime import UTC, datetime

from markupsafe import Markup

from monitoring.presenter.gate_figures import figure_name, interval_text, limit_text, number_text
from monitoring.web.charts.svg import drawing, element
from registry.gates.outcomes import GateFigure, GateOutcome, GateReport

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .25rem .75rem .25rem 0;
text-align: left; vertical-align: top; border-bottom: 1px solid #8884 }
.passed { color: #2e7d32 } .failed { color: #c62828 } .unknown { color: #9a6700 }
svg text { font: 12px system-ui, sans-serif } code { font-size: 13px; overflow-wrap: anywhere }
.plot { overflow-x: auto }
@media (max-width: 48rem) { table { display: block; overflow-x: auto } td { min-width: 7rem } }
@media (prefers-color-scheme: dark) {
.passed { color: #81c784 } .failed { color: #ef9a9a } .unknown { color: #ffcc80 } }
"""
_LEGEND = (
    "Plots: the dot is the version's figure, the grey line its 95 % interval, the circle the "
    "champion's figure, and the red line the limit. Each figure has its own axis."
)
_COLUMNS = ("gate", "kind", "outcome", "seconds", "reason")
_CLASSES = {"passed": "passed", "failed": "failed"}
# Sizes of the plot in pixels: its width, its left and right margins, and the height of a figure.
_WIDTH, _LEFT, _RIGHT, _LINE = 720.0, 300.0, 90.0, 22.0
_MOST_PLOTTED = 50  # figures of a gate


def report_page(report: GateReport) -> str:
    """Return the page as HTML with escaped texts; the page loads no other files."""
    at = datetime.fromtimestamp(report.ended / 1e6, UTC)
    champion = f", champion version {report.champion.number}" if report.champion else ""
    body = element(
        "body",
        element("h1", f"Gates of {report.model} version {report.number}"),
        element("p", "Verdict: ", _outcome(report.verdict)),
        element(
            "p",
            f"{at:%Y-%m-%d %H:%M:%S} UTC by {report.actor or 'unknown'}{champion}; release policy "
            f"of revision {report.policy}; content ",
            element("code", report.digest),
        ),
        element("table", _head(*_COLUMNS), *map(_row, report.gates)),
        element("p", _LEGEND),
        *(part for gate in report.gates for part in _details(gate)),
    )  # fmt: skip
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", f"Gates of {report.model} version {report.number}"),
        element("style", Markup(_STYLE)),  # noqa: S704 - constant text only
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _row(gate: GateOutcome) -> Markup:
    kind = gate.kind if gate.blocking else f"{gate.kind} (warning)"
    cells = (gate.name, kind, _outcome(gate.outcome), f"{gate.seconds:.1f}", gate.reason)
    return element("tr", *(element("td", cell) for cell in cells))


def _details(gate: GateOutcome) -> list[Markup]:
    if not gate.figures:
        return []
    parts = [element("h2", gate.name), _plot(gate.figures), _figures(gate.figures)]
    if gate.examples:
        columns = list(gate.examples[0])
        rows = [
            element("tr", *(element("td", str(example.get(name, ""))) for name in columns))
            for example in gate.examples
        ]
        parts += [element("h3", "Example rows"), element("table", _head(*columns), *rows)]
    return parts


def _figures(figures: list[GateFigure]) -> Markup:
    rows = [
        element("tr", *(element("td", cell) for cell in (
            figure_name(row), number_text(row.value), interval_text(row), limit_text(row),
            number_text(row.champion), f"{row.rows:,}" if row.rows else "", _outcome(row.outcome),
            row.note,
        )))
        for row in figures
    ]  # fmt: skip
    head = _head("figure", "value", "95 % interval", "limit", "champion", "rows", "outcome", "note")
    return element("table", head, *rows)


def _plot(figures: list[GateFigure]) -> Markup:
    """Draw each figure as a dot, with its interval and its limit as lines.

    Each figure has its own axis, which includes the interval, the limits and the champion's figure.
    """
    drawn = [gate_figure for gate_figure in figures if gate_figure.value is not None]
    drawn = drawn[:_MOST_PLOTTED]
    parts = [part for place, gate_figure in enumerate(drawn) for part in _line(gate_figure, place)]
    height = _LINE * max(len(drawn), 1) + 10
    plot = drawing(_WIDTH, height, "Figures, their intervals and their limits", *parts)
    return element("div", plot, class_="plot")


def _line(gate_figure: GateFigure, place: int) -> list[Markup]:
    assert gate_figure.value is not None
    y = place * _LINE + 16
    limits = [limit for limit in (gate_figure.at_least, gate_figure.at_most) if limit is not None]
    ends = [end for end in (gate_figure.low, gate_figure.high) if end is not None]
    values = [
        gate_figure.value,
        *limits,
        *ends,
        *([] if gate_figure.champion is None else [gate_figure.champion]),
    ]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return _LEFT + 10 + (value - low) / span * (_WIDTH - _LEFT - _RIGHT - 20)

    parts = [
        element("text", figure_name(gate_figure)[:46], x=0.0, y=y + 4, fill="currentColor"),
        element(
            "text",
            number_text(gate_figure.value),
            x=_WIDTH - _RIGHT + 8,
            y=y + 4,
            fill="currentColor",
        ),
    ]
    if len(ends) == 2:
        parts.append(element("line", x1=x(ends[0]), x2=x(ends[1]), y1=y, y2=y, stroke="#777"))
    parts += [
        element("line", x1=x(limit), x2=x(limit), y1=y - 8, y2=y + 8, stroke="#c62828")
        for limit in limits
    ]
    if gate_figure.champion is not None:
        parts.append(
            element("circle", cx=x(gate_figure.champion), cy=y, r=4, fill="none", stroke="#777")
        )
    colour = {"passed": "#2e7d32", "failed": "#c62828"}.get(gate_figure.outcome, "#9a6700")
    return [*parts, element("circle", cx=x(gate_figure.value), cy=y, r=4, fill=colour)]


def _head(*names: str) -> Markup:
    return element("tr", *(element("th", name) for name in names))


def _outcome(outcome: str) -> Markup:
    return element("strong", outcome, class_=_CLASSES.get(outcome, "unknown"))
