"""Everything that decides how addresses of the status page are spelled lives here. Pure."""

from urllib.parse import quote, urlencode


def overview_path(**choices: str) -> str:
    """Return the overview with some of its fields chosen, such as a tag or an owner."""
    return f"/?{urlencode(choices)}" if choices else "/"


def model_path(model: str, version: str) -> str:
    """Return the page of one model version."""
    return f"/models/{quote(model, safe='')}/{quote(version, safe='')}"


def versions_path(model: str) -> str:
    """Return the page of a model, with all of its versions."""
    return f"/models/{quote(model, safe='')}"


def comparison_path(model: str, first: str, second: str) -> str:
    """Return the page of a comparison of two versions."""
    return f"/models/{quote(model, safe='')}/compare/{quote(first)}/{quote(second)}"


def window_path(model: str, version: str, start: int) -> str:
    """Return the page of one window."""
    return f"{model_path(model, version)}/windows/{start}"


def notes_path(model: str, version: str, start: int) -> str:
    """Return the address for posting notes on a window."""
    return f"{api_path(model, version)}/windows/{start}/notes"


def column_path(model: str, version: str, column: str) -> str:
    """Return the page of a column over time."""
    return f"{model_path(model, version)}/columns/{quote(column, safe='')}"


def compare_windows_path(
    model: str, version: str, start: int | None = None, against: int | None = None
) -> str:
    """Return the page that compares two windows; without starts, the last two."""
    path = f"{model_path(model, version)}/compare"
    return path if start is None else f"{path}?window={start}&against={against}"


def history_path(model: str) -> str:
    """Return the page of a model's history in the registry."""
    return f"/models/{quote(model, safe='')}/history"


def approval_path(model: str, number: str, alias: str) -> str:
    """Return the page of a request for approval."""
    return f"/approvals/{quote(model, safe='')}/{quote(number, safe='')}/{quote(alias, safe='')}"


def rollout_api_path(model: str, alias: str) -> str:
    """Return the path for reading and changing the rollout of an alias."""
    return f"/api/models/{quote(model, safe='')}/rollouts/{quote(alias, safe='')}"


def review_path(model: str) -> str:
    """Return the page where rows of a model are labelled."""
    return f"/review/{quote(model, safe='')}"


def gate_report_path(digest: str) -> str:
    """Return the page of a gate report."""
    return f"/gate-reports/{quote(digest, safe='')}"


def api_path(model: str, version: str) -> str:
    """Return the root of one model version in the API."""
    return f"/api/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"


def training_path(request: str) -> str:
    """Return the path of the rows of a retraining request, with labels and weights."""
    return f"/api/retraining/{quote(request, safe='')}/rows.parquet"


def validation_path(request: str) -> str:
    """Return the path of what was found about these rows."""
    return f"/api/retraining/{quote(request, safe='')}/validation"


def training_page(request: str) -> str:
    """Return the page of the rows of a retraining request, and of their validation."""
    return f"/retraining/{quote(request, safe='')}"


def rows_path(model: str, version: str, start: int) -> str:
    """Return the path of a window's sampled rows, with their labels, as Parquet."""
    return f"{api_path(model, version)}/windows/{start}/rows.parquet"


def examples_path(model: str, version: str, start: int) -> str:
    """Return the address of a window's example rows; `.csv` and `.parquet` are files."""
    return f"{api_path(model, version)}/windows/{start}/examples"


def rows_page(model: str, version: str, start: int, where: str = "") -> str:
    """Return the page of the example rows of a window, of one group if `where` names it."""
    group = f"?where={quote(where, safe='')}" if where else ""
    return f"{window_path(model, version, start)}/rows{group}"


def prediction_path(prediction_id: str) -> str:
    """Return the page of what is known of a prediction."""
    return f"/predictions/{quote(prediction_id, safe='')}"


def samples_path(model: str, version: str, start: int) -> str:
    """Return the path of a window's sampled inputs."""
    return f"{api_path(model, version)}/windows/{start}/samples"


def report_path(report: str) -> str:
    """Return Evidently's report, by its file name below the reports folder."""
    return f"/reports/{quote(report)}"


def report_content_path(report: str) -> str:
    """Return the path of the document that the page of Evidently's report frames."""
    return f"/reports/content/{quote(report)}"
