"""Everything that decides how addresses of the status page are spelled lives here. Pure."""

from urllib.parse import quote


def model_path(model: str, version: str) -> str:
    """The page of one model version."""
    return f"/models/{quote(model, safe='')}/{quote(version, safe='')}"


def comparison_path(model: str, first: str, second: str) -> str:
    """The page of a comparison of two versions."""
    return f"/models/{quote(model, safe='')}/compare/{quote(first)}/{quote(second)}"


def window_path(model: str, version: str, start: int) -> str:
    """The page of one window."""
    return f"{model_path(model, version)}/windows/{start}"


def approval_path(model: str, number: str, alias: str) -> str:
    """The page of a request for approval."""
    return f"/approvals/{quote(model, safe='')}/{quote(number, safe='')}/{quote(alias, safe='')}"


def gate_report_path(digest: str) -> str:
    """The page of a gate report."""
    return f"/gate-reports/{quote(digest, safe='')}"


def api_path(model: str, version: str) -> str:
    """The root of one model version in the API."""
    return f"/api/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"


def rows_path(model: str, version: str, start: int) -> str:
    """Where the sampled rows of a window lie, with their labels, as Parquet."""
    return f"{api_path(model, version)}/windows/{start}/rows.parquet"


def samples_path(model: str, version: str, start: int) -> str:
    """Where the sampled inputs of a window lie."""
    return f"{api_path(model, version)}/windows/{start}/samples"


def report_path(report: str) -> str:
    """Evidently's report, by its file name below the reports folder."""
    return f"/reports/{quote(report)}"


def report_content_path(report: str) -> str:
    """What the page of Evidently's report frames."""
    return f"/reports/content/{quote(report)}"
