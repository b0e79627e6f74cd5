"""Signature of webhooks (Standard Webhooks), by which receivers verify origin and content."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from eventlog.errors import SettingError

PREFIX = "whsec_"


class Signer:
    """Signs with all of its secrets, so that a secret can be replaced without failed checks."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Decode the secrets.

        Raises:
            SettingError: there is no secret, or a secret is not `whsec_` followed by 24 to 64 bytes
                in base64. The message contains the secret's position, but not the secret.
        """
        if not secrets:
            raise SettingError(f"no webhook secret; expected at least one {PREFIX}<base64>")
        self._keys = [_key(secret, position) for position, secret in enumerate(secrets, 1)]

    def headers(self, webhook_id: str, seconds: int, body: bytes) -> dict[str, str]:
        """Return the three headers of `body`, sent at `seconds` since the Unix epoch."""
        at = datetime.fromtimestamp(seconds, UTC)
        text = body.decode()
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(key.sign(webhook_id, at, text) for key in self._keys),
        }


def _key(secret: str, position: int) -> Webhook:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise SettingError(
            f"webhook secret number {position} cannot be used; "
            f"expected {PREFIX} followed by 24 to 64 bytes in base64"
        )
    return Webhook(secret)
