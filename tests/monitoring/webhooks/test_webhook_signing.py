import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from eventlog.errors import SettingError
from monitoring.webhooks.signature import Signer

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
BODY = '{"say":"grüezi"}'.encode()


def test_a_receiver_with_the_secret_verifies_the_signature() -> None:
    headers = Signer([NEW]).headers("msg-1", int(time.time()), BODY)
    Webhook(NEW).verify(BODY, headers)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_old_and_new_secret_both_verify_during_rotation(secret: str) -> None:
    headers = Signer([NEW, OLD]).headers("msg-1", int(time.time()), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_a_changed_header_or_body_breaks_the_signature(header: str) -> None:
    headers = Signer([NEW]).headers("msg-1", int(time.time()), BODY)
    forged = {**headers, header: str(int(time.time()) + 1)}
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, forged)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY + b" ", headers)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "hunter2-hunter2-hunter2-hunter2-hunter2",
        "whsec_not base64 at all, and secret",
        "whsec_" + base64.b64encode(b"short").decode(),
        "whsec_" + base64.b64encode(b"l" * 65).decode(),
        base64.b64encode(b"n" * 32).decode(),
    ],
)
def test_unusable_secret_is_refused_without_quoting_it(secret: str) -> None:
    with pytest.raises(SettingError, match="number 2") as refused:
        Signer([NEW, secret])
    assert not secret or secret == "whsec_" or secret not in str(refused.value)


def test_signer_without_a_secret_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one"):
        Signer([])
