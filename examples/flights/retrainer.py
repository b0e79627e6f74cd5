"""A receiver of retraining requests: verifies the signature and handles each request once.

A real receiver would start a training job. This receiver prints everything such a job needs and can
append each request to a file. To run it separately:

    python examples/flights/retrainer.py --secret whsec_... --port 3200 --keep requests.jsonl
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LARGEST_BODY = 1 << 20


class Retrainer(ThreadingHTTPServer):
    """An HTTP server that calls `received` once for each verified request."""

    daemon_threads = True

    def __init__(
        self,
        port: int,
        secret: str,
        received: Callable[[dict[str, Any]], None],
        host: str = "127.0.0.1",
    ) -> None:
        """`secret` is the secret with which the monitor signs."""
        super().__init__((host, port), _Handler)
        self._webhook = Webhook(secret)
        self._received = received
        self._seen: set[str] = set()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Handle a request and return its status: 401 if the signature is invalid, else 200.

        A repeated request is not handled again, but also gets 200.
        """
        try:
            request: dict[str, Any] = self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError):
            return 401
        # The monitor may send a request twice, always with the same id.
        if headers["webhook-id"] not in self._seen:
            self._seen.add(headers["webhook-id"])
            self._received(request)
        return 200


class _Handler(BaseHTTPRequestHandler):
    server: Retrainer

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", "0"))
        if size > LARGEST_BODY:
            self.send_error(413)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(self.server.take(self.rfile.read(size), headers))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print no access log."""


def describe(request: dict[str, Any]) -> str:
    """Return a summary of a retraining request in a few lines."""
    data = request["data"]
    worst = ", ".join(
        f"{score['column'] or score['name']} {score['value']:.3f}"
        for score in data["columns"][:3]
        if score["value"] is not None
    )
    return (
        f"retraining requested for {data['model']} version {data['version']}\n"
        f"  reason   {data['reason']}\n"
        f"  worst    {worst}\n"
        f"  rows     {data['rows_url']}\n"
        f"  answer   {data['register_hint']}"
    )


def main() -> None:
    """Receive requests until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Receive and print retraining requests.")
    secret = os.environ.get("DRIFTLINE_MONITOR_WEBHOOK_SECRETS", "").split(",")[0]
    parser.add_argument("--secret", default=secret, help="secret of the monitor, whsec_...")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3200)
    parser.add_argument("--keep", type=Path, help="append each request to this file")
    options = parser.parse_args()
    if not options.secret:
        parser.error("--secret: expected the monitor's secret, whsec_...")

    def received(request: dict[str, Any]) -> None:
        print(describe(request), flush=True)
        if options.keep:
            with options.keep.open("a") as file:
                file.write(json.dumps(request) + "\n")

    retrainer = Retrainer(options.port, options.secret, received, options.host)
    # Without a handler, the first process of a container ignores SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    retrainer.serve_forever()


if __name__ == "__main__":
    main()
