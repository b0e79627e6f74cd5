"""The page and the API of version comparisons."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.comparisons import StoredComparisons, VersionComparison
from monitoring.web.api import json_response
from monitoring.web.charts import comparison_charts
from monitoring.web.pages import page


def routes() -> list[Route]:
    """Return the routes of version comparisons."""
    pair = "/models/{model}/compare/{first}/{second}"
    return [Route(pair, comparison), Route(f"/api{pair}", as_json)]


async def comparison(request: Request) -> Response:
    """Show the comparison of two versions."""
    stored_comparison = _comparison(request)
    return page(
        request,
        "comparison.html",
        result=stored_comparison,
        others=[
            other
            for other in _stored(request).of_model(stored_comparison.model)
            if other != stored_comparison
        ],
        differences=comparison_charts.difference_chart(stored_comparison),
        groups=comparison_charts.group_chart(stored_comparison),
        calibration=comparison_charts.calibration_chart(stored_comparison),
        times=comparison_charts.times_chart(stored_comparison),
    )


async def as_json(request: Request) -> Response:
    """Return the comparison of two versions."""
    return json_response(_comparison(request))


def _comparison(request: Request) -> VersionComparison:
    model, first, second = (request.path_params[param] for param in ("model", "first", "second"))
    stored_comparison = _stored(request).find(model, first, second)
    if stored_comparison is None:
        raise HTTPException(
            404,
            f"versions {first} and {second} of {model} were not compared; to compare them, run "
            f"driftline compare {model} --versions {first},{second}",
        )
    return stored_comparison


def _stored(request: Request) -> StoredComparisons:
    stored: StoredComparisons = request.app.state.comparisons
    return stored
