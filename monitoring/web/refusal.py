"""The reply to a request without a sufficient API key: a page for browsers, else JSON.

The page contains its style, because the style sheet's URL also needs a key.
"""

import base64
import hashlib
import html
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response

from monitoring.web.browser_security import PAGE_POLICY

_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 24px; max-width: 640px;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 24px; line-height: 1.25; }
p { overflow-wrap: anywhere; }
code { font-size: 14px; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = PAGE_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_HASH}'")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} | Driftline</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{advice}</p>
<p><a href="">Try again</a></p>
<p><small>The monitor's reply: {error}</small></p>
</body>
</html>
"""
_TITLES = {401: "An API key is needed", 403: "This key is not allowed to do that"}
_ADVICE = {
    401: "Reload the page and enter the key as the password; the user name can be anything. "
    "An administrator creates keys with "
    "<code>driftline keys create --name NAME --scope read</code>.",
    403: "To use another key, close all windows of the browser and enter that key. An "
    "administrator sees the scopes of a key with <code>driftline keys list</code>.",
}


def refusal(
    request_headers: Headers, status: int, error: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the refusal as a page if the client accepts HTML, as browsers do, else as JSON."""
    if "text/html" not in request_headers.get("accept", ""):
        return JSONResponse({"error": error}, status, headers)
    page = _PAGE.format(
        title=_TITLES[status], style=_STYLE, error=html.escape(error), advice=_ADVICE[status]
    )
    return HTMLResponse(page, status, {**(headers or {}), "content-security-policy": _POLICY})
