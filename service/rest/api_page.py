"""Answer `/` and `/docs.json` in place of BentoML's application.

BentoML's page loads a tracker from another site and describes only `/predict`. This page uses the
Swagger UI that BentoML serves below `/static_content`, and forbids the browser to load anything
else.
"""

import base64
import hashlib
from html import escape

import msgspec

from service.models.metadata import VERSION
from service.rest.api_description import describe
from service.rest.asgi import App, Receive, Scope, Send, send_body

_START = """
window.onload = () => SwaggerUIBundle({
  url: "./docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
_HASH = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{_HASH}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Driftline service</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<style>
body {{ margin: 0; font-family: system-ui, sans-serif; }}
header {{ max-width: 1460px; margin: 0 auto; padding: 24px 20px 0; box-sizing: border-box; }}
h1 {{ margin: 0 0 8px; font-size: 28px; }}
.swagger-ui .info {{ display: none; }}
</style>
</head>
<body>
<header>
<h1>Driftline {escape(VERSION)}</h1>
<p>This service predicts with registered models. <a href="./v2">Server</a> ·
<a href="./v2/health/ready">Readiness</a> · <a href="./metrics">Metrics</a> ·
<a href="./docs.json">OpenAPI document</a></p>
<noscript><p>This page needs JavaScript; the OpenAPI document has the same content.</p></noscript>
</header>
<div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>{_START}</script>
</body>
</html>
""".encode()


class ApiPage:
    """ASGI middleware that answers the page and the document."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET of `/` or `/docs.json`; pass on other requests."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if path == "/":
            headers = [
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-security-policy", _POLICY.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
            await send_body(send, _PAGE, headers)
        elif path == "/docs.json":
            document = msgspec.json.encode(describe())
            await send_body(send, document, [(b"content-type", b"application/json")])
        else:
            await self._app(scope, receive, send)
