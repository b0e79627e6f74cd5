"""Hands out Evidently's HTML reports, locked into a sandbox."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from monitoring.web.browser_security import REPORT_POLICY


async def report(request: Request) -> Response:
    """One report by its path below the reports folder; 404 for everything else."""
    path = locate(request.app.state.reports, request.path_params["file"])
    if path is None:
        raise HTTPException(404, "no such report")
    return FileResponse(
        path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY}
    )


def locate(folder: Path, name: str) -> Path | None:
    """The HTML file `name` below `folder`, links followed; None where it leads elsewhere."""
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
        return path if inside and path.suffix == ".html" and path.is_file() else None
    except (OSError, ValueError):
        return None
