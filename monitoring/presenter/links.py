"""Paths of the status page and its API; no other module builds such a path. Pure."""

from urllib.parse import quote, urlencode


def overview_path(**choices: str) -> str:
    """Return the overview's path, filtered by fields such as a tag or an owner."""
    return f"/?{urlencode(choices)}" if choices else "/"


def model_path(model: str, version: str) -> str:
    """Return the path of a model version's page."""
    return f"/models/{quote(model, safe='')}/{quote(version, safe='')}"


def versions_path(model: str) -> str:
    """Return the path of a model's page, which lists its versions."""
    return f"/models/{quote(model, safe='')}"


def comparison_path(model: str, first: str, second: str) -> str:
    """Return the path of the page that compares two versions."""
    return f"/models/{quote(model, safe='')}/compare/{quote(first)}/{quote(second)}"


def window_path(model: str, version: str, start: int) -> str:
    """Return the path of a window's page."""
    return f"{model_path(model, version)}/windows/{start}"


def notes_path(model: str, version: str, start: int) -> str:
    """Return the API path to which notes on a window are posted."""
    return f"{api_path(model, version)}/windows/{start}/notes"


def column_path(model: str, version: str, column: str) -> str:
    """Return the path of the page that shows a column over time."""
    return f"{model_path(model, version)}/columns/{quote(column, safe='')}"


def compare_windows_path(
    model: str, version: str, start: int | None = None, against: int | None = None
) -> str:
    """Return the path of the page that compares two windows; the last two without starts."""
    path = f"{model_path(model, version)}/compare"
    return path if start is None else f"{path}?window={start}&against={against}"


def history_path(model: str) -> str:
    """Return the path of the page with a model's history in the registry."""
    return f"/models/{quote(model, safe='')}/history"


def approval_path(model: str, number: str, alias: str) -> str:
    """Return the path of an approval request's page."""
    return f"/approvals/{quote(model, safe='')}/{quote(number, safe='')}/{quote(alias, safe='')}"


def rollout_api_path(model: str, alias: str) -> str:
    """Return the API path for reading and changing an alias's rollout."""
    return f"/api/models/{quote(model, safe='')}/rollouts/{quote(alias, safe='')}"


def review_path(model: str) -> str:
    """Return the path of the page on which people label a model's rows."""
    return f"/review/{quote(model, safe='')}"


def gate_report_path(digest: str) -> str:
    """Return the path of a gate report's page."""
    return f"/gate-reports/{quote(digest, safe='')}"


def api_path(model: str, version: str) -> str:
    """Return the path under which the API has a model version's resources."""
    return f"/api/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"


def training_path(request: str) -> str:
    """Return the API path of a retraining request's rows, with labels and weights, as Parquet."""
    return f"/api/retraining/{quote(request, safe='')}/rows.parquet"


def validation_path(request: str) -> str:
    """Return the API path of the validation of a retraining request's rows."""
    return f"/api/retraining/{quote(request, safe='')}/validation"


def training_page(request: str) -> str:
    """Return the path of the page with a retraining request's rows and their validation."""
    return f"/retraining/{quote(request, safe='')}"


def rows_path(model: str, version: str, start: int) -> str:
    """Return the API path of a window's sampled rows, with their labels, as Parquet."""
    return f"{api_path(model, version)}/windows/{start}/rows.parquet"


def examples_path(model: str, version: str, start: int) -> str:
    """Return the API path of a window's example rows; `.csv` or `.parquet` may be appended."""
    return f"{api_path(model, version)}/windows/{start}/examples"


def rows_page(model: str, version: str, start: int, where: str = "") -> str:
    """Return the path of the page with a window's example rows; `where` limits it to a segment."""
    group = f"?where={quote(where, safe='')}" if where else ""
    return f"{window_path(model, version, start)}/rows{group}"


def prediction_path(prediction_id: str) -> str:
    """Return the path of the page that traces a prediction."""
    return f"/predictions/{quote(prediction_id, safe='')}"


def samples_path(model: str, version: str, start: int) -> str:
    """Return the API path of a window's sampled inputs."""
    return f"{api_path(model, version)}/windows/{start}/samples"


def report_path(report: str) -> str:
    """Return the path of the page with an Evidently report; `report` is its file name."""
    return f"/reports/{quote(report)}"


def report_content_path(report: str) -> str:
    """Return the path of the document in the frame of an Evidently report's page."""
    return f"/reports/content/{quote(report)}"
