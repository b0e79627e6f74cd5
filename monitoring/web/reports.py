"""Show Evidently's HTML reports in sandboxed frames."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from monitoring.presenter.links import report_path
from monitoring.web.browser_security import FRAME_POLICY, REPORT_POLICY
from monitoring.web.pages import page
from monitoring.web.report_files import locate


def routes() -> list[Route]:
    """Return the routes of a report: its page, and the content of the page's frame."""
    return [
        Route("/reports/content/{file:path}", content),
        Route("/reports/{file:path}", report),
    ]


async def report(request: Request) -> Response:
    """Show the page with a report's frame."""
    name = _report_file(request)[0]
    shown = page(request, "report.html", name=name)
    shown.headers["content-security-policy"] = FRAME_POLICY
    return shown


async def content(request: Request) -> Response:
    """Return a report's HTML for the frame; outside a frame, redirect the browser to the page.

    Outside the frame, a script of the report could navigate to another site.
    """
    name, path = _report_file(request)
    if request.headers.get("sec-fetch-dest", "iframe") != "iframe":
        return RedirectResponse(report_path(name), status_code=303)
    headers = {"content-security-policy": REPORT_POLICY, "vary": "sec-fetch-dest"}
    return FileResponse(path, media_type="text/html", headers=headers)


def _report_file(request: Request) -> tuple[str, Path]:
    name = request.path_params["file"]
    path = locate(request.app.state.reports, name)
    if path is None:
        raise HTTPException(404, "no report has this name; a window's page links to its report")
    return name, path
