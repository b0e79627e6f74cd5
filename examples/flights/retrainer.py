"""A receiver of retraining requests: verifies the signature, acts once per request, shows it.

A real one would start a training job; this one shows everything such a job needs and keeps each
request in a file. Run it by itself with

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
    """`received` gets each verified request that was not seen before."""

    daemon_threads = True

    def __init__(
        self,
        port: int,
        secret: str,
        received: Callable[[dict[str, Any]], None],
        host: str = "127.0.0.1",
    ) -> None:
        """`secret` is the one the monitor signs with."""
        super().__init__((host, port), _Handler)
        self._webhook = Webhook(secret)
        self._received = received
        self._seen: set[str] = set()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Return the status to answer with: 401 unsigned, 200 taken (also when taken before)."""
        try:
            request: dict[str, Any] = self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError):
            return 401
        # The monitor may send a request twice but never changes its id.
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
        """Stay quiet: `received` says what matters."""


def describe(request: dict[str, Any]) -> str:
    """Return a retraining request in a few lines for a person."""
    data = request["data"]
    worst = ", ".join(
        f"{score['column'] or score['name']} {score['value']:.3f}"
        for score in data["columns"][:3]
        if score["value"] is not None
    )
    return (
        f"retraining requested for {data['model']} version {data['version']}\n"
        f"  why      {data['reason']}\n"
        f"  worst    {worst}\n"
        f"  rows     {data['rows_url']}\n"
        f"  then     {data['register_hint']}"
    )


def main() -> None:
    """Receive until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Receive and show retraining requests.")
    secret = os.environ.get("DRIFTLINE_MONITOR_WEBHOOK_SECRETS", "").split(",")[0]
    parser.add_argument("--secret", default=secret, help="whsec_... as given to the monitor")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3200)
    parser.add_argument("--keep", type=Path, help="append each request to this file")
    options = parser.parse_args()
    if not options.secret:
        parser.error("--secret: expected the whsec_... that the monitor signs with")

    def received(request: dict[str, Any]) -> None:
        print(describe(request), flush=True)
        if options.keep:
            with options.keep.open("a") as file:
                file.write(json.dumps(request) + "\n")

    retrainer = Retrainer(options.port, options.secret, received, options.host)
    # Said, because the first process of a container ignores SIGTERM otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    retrainer.serve_forever()


if __name__ == "__main__":
    main()
