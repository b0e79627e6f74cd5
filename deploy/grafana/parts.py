"""Building blocks of all dashboards, so that the dashboards look and behave alike."""

from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
CHOSEN = 'model=~"$model", version=~"$version"'
_HEIGHT = 8  # height of a panel in Grafana's units; a row is 24 units wide

Query = tuple[str, str]  # PromQL query, and the legend of its series


def series(title: str, meaning: str, unit: str, *queries: Query, width: int = 12) -> Any:
    """Return a panel with lines over time."""
    panel = timeseries.Panel().title(title).description(meaning).unit(unit)
    return _placed(panel.min(0).fill_opacity(8), width, queries)


def banded(title: str, meaning: str, figures: Query, bounds: Query, *, width: int = 12) -> Any:
    """Return a panel with lines over time, and thin dashed lines for their bounds."""
    thin = {"lineStyle": {"fill": "dash", "dash": [4, 6]}, "lineWidth": 1, "fillOpacity": 0}
    looks = [model.DynamicConfigValue(f"custom.{name}", value) for name, value in thin.items()]
    panel = timeseries.Panel().title(title).description(meaning).unit("short").fill_opacity(8)
    return _placed(panel.override_by_query("B", looks), width, (figures, bounds))


def number(  # noqa: PLR0913  # the texts of a panel, in order
    title: str, meaning: str, unit: str, query: str, *, bad: float | None = None, width: int = 6
) -> Any:
    """Return a panel with the current number, red from `bad` on."""
    steps = [model.Threshold(value=None, color="green")]
    if bad is not None:
        steps.append(model.Threshold(value=bad, color="red"))
    thresholds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    panel = stat.Panel().title(title).description(meaning).unit(unit).thresholds(thresholds)
    return _placed(panel, width, [(query, "")]).height(4)


def buckets(title: str, meaning: str, unit: str, query: str, *, width: int = 12) -> Any:
    """Return a panel with a histogram's buckets over time."""
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = heatmap.Panel().title(title).description(meaning).color(colour)
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel = panel.datasource(SOURCE).height(_HEIGHT).span(width)
    target = _target(query, "{{le}}", "A").format(PromQueryFormat.HEATMAP)
    return panel.with_target(target)


def grid(title: str, meaning: str, query: str, legend: str, *, width: int = 24) -> Any:
    """Return a panel with one row per series, coloured by value."""
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("RdYlGn")
    panel = heatmap.Panel().title(title).description(meaning).calculate(False)
    panel = panel.color(colour.reverse(True).min(0).max(2).steps(32))
    return _placed(panel, width, [(query, legend)])


def board(
    uid: str, title: str, rows: dict[str, list[Any]], variables: list[Any], start: str = "now-6h"
) -> Any:
    """Return a dashboard with links to the other dashboards and to the status page."""
    links = (
        build.DashboardLink("Driftline")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["driftline"])
        .include_vars(True)
        .keep_time(True)
        .as_dropdown(False)
    )
    dashboard = (
        build.Dashboard(title).uid(uid).tags(["driftline"]).refresh("30s").time(start, "now")
    )
    page = (
        build.DashboardLink("Status page")
        .type(model.DashboardLinkType.LINK)
        .url("${status_page}")
        .target_blank(True)
    )
    dashboard = dashboard.readonly().link(links).link(page)
    dashboard = dashboard.variables([_source(), *variables, _status_page()])
    for name, panels in rows.items():
        dashboard = dashboard.with_row(build.Row(name))
        for panel in panels:
            dashboard = dashboard.with_panel(panel)
    return dashboard


def variable(name: str, query: str, *, single: bool = False) -> Any:
    """Return a filter with the values that a query finds: single or multiple choice."""
    chosen = build.QueryVariable(name).datasource(SOURCE).query(query)
    chosen = chosen.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return chosen if single else chosen.multi(True).include_all(True).all_value(".*")


def annotation(name: str, query: str) -> Any:
    """Return an annotation that marks the times of a query's results on every panel."""
    annotation_query = build.AnnotationQuery().name(name).datasource(SOURCE).enable(True)
    return annotation_query.icon_color("red").expr(query)


def _source() -> Any:
    return build.DatasourceVariable("datasource").type("prometheus").label("Data source")


def _status_page() -> Any:
    """Return the variable for the status page's address, which users can change."""
    shown = build.TextBoxVariable("status_page").label("Status page")
    return shown.default_value("http://localhost:3100/")


def _placed(panel: Any, width: int, queries: Any) -> Any:
    panel = panel.datasource(SOURCE).height(_HEIGHT).span(width)
    for index, (query, legend) in enumerate(queries):
        panel = panel.with_target(_target(query, legend, chr(ord("A") + index)))
    return panel


def _target(query: str, legend: str, name: str) -> Any:
    target = prometheus.Dataquery().expr(query).ref_id(name).datasource(SOURCE)
    return target.legend_format(legend) if legend else target
