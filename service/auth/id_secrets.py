"""The secrets that sign prediction ids, from the environment or from a file of the home.

The first secret signs new ids; all secrets verify ids. To replace a secret, put the new secret
first. Remove the old secret once no more labels are expected for the ids that it signed.
"""

import fcntl
import os
import secrets
from pathlib import Path

from eventlog.durable_files import make_folder, open_private, sync_folder
from eventlog.errors import SettingError
from eventlog.settings import Home

FILE = "prediction-id-secrets"
SHORTEST = 16  # minimum length of a secret
_MOST = 16  # maximum number of secrets; an invalid id is compared with all of them
_LARGEST = 64 << 10  # maximum size of the file, in bytes


def id_secrets(home: Home, text: str, setting: str) -> list[bytes]:
    """Return the secrets in `text`, or the home's secrets if `text` is empty.

    If the home has no secret, this creates a secret. `setting` is the name of the setting, for
    errors. Raises SettingError if a secret is too short or the file cannot be used.
    """
    if text:
        return _checked(text.replace(",", " ").split(), setting)
    path = home.root / FILE
    try:
        make_folder(home.root)
        return _checked(_read_or_create(path).decode().split(), str(path))
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path}: expected one secret per line, in UTF-8") from None


def check_id_secrets(home: Home, text: str, setting: str) -> None:
    """Raise SettingError if `id_secrets` would; create nothing."""
    path = home.root / FILE
    if text or (path.exists() and path.stat().st_size):
        id_secrets(home, text, setting)


def _read_or_create(path: Path) -> bytes:
    file = open_private(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by close, or by the end of the process
        content = os.read(file, _LARGEST)
        if not content:
            content = secrets.token_hex(32).encode() + b"\n"
            os.pwrite(file, content, 0)
            os.fsync(file)
            sync_folder(path.parent)
    finally:
        os.close(file)
    return content


def _checked(secrets: list[str], where: str) -> list[bytes]:
    if not 0 < len(secrets) <= _MOST:
        raise SettingError(f"{where}: expected 1 to {_MOST} secrets, got {len(secrets)}")
    for position, secret in enumerate(secrets, 1):
        if len(secret) < SHORTEST:
            raise SettingError(
                f"{where}: secret {position} has {len(secret)} characters; "
                f"expected at least {SHORTEST}, such as the output of `openssl rand -hex 32`"
            )
    return [secret.encode() for secret in secrets]
