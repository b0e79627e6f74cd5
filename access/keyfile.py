"""Store API keys in `keys.json` in the home, or in the file that DRIFTLINE_KEYS_FILE names."""

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from access.keys import Key, check_role, scopes_of
from eventlog.durable_files import make_folder, open_private, replace_file
from eventlog.errors import SettingError
from eventlog.settings import Home

Stamp = tuple[int, int, int]


Roles = dict[str, list[str]]  # name of a role -> scopes
_SCHEMA = 1
_WITH_ROLES = 2  # earlier releases refuse this schema; they would ignore the scopes of roles


class _Contents(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    schema: int
    keys: list[Key]
    roles: Roles = {}


class KeyFile:
    """The keys of one installation; every change replaces the file atomically."""

    def __init__(self, path: Path, *, configured: bool = False) -> None:
        """`configured` states whether the environment names this file."""
        self.path = path
        self._configured = configured

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str] = os.environ) -> "KeyFile":
        """Return the file that the environment names, or `keys.json` in the home."""
        path = environ.get("DRIFTLINE_KEYS_FILE", "")
        if path:
            return cls(Path(path).expanduser().absolute(), configured=True)
        return cls(home.keys)

    def stamp(self) -> Stamp | None:
        """Return a value that differs after every change, or None if there is no file.

        Raises SettingError if the file's status cannot be read.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self.path} cannot be read: {error.strerror}") from None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> list[Key] | None:
        """Return all keys, including revoked and expired keys, with the scopes of their roles.

        Return None if there is no file. Raises SettingError if the file cannot be read.
        """
        contents = self._contents()
        if contents is None:
            return None
        roles = contents.roles
        return [
            replace(key, scopes=sorted({*key.scopes, *scopes_of(key.roles, roles)}))
            for key in contents.keys
        ]

    def require(self) -> list[Key] | None:
        """Return the keys as `read` does, but require a file that the environment names.

        Raises SettingError if that file is missing, because a failed mount must not open the
        server to everyone.
        """
        keys = self.read()
        if keys is None and self._configured:
            raise SettingError(
                f"DRIFTLINE_KEYS_FILE: {self.path} does not exist; expected a file written by "
                "driftline keys create; create a key, or unset the variable"
            )
        return keys

    def roles(self) -> Roles:
        """Return the scopes of every role; raises SettingError like `read`."""
        contents = self._contents()
        return {} if contents is None else contents.roles

    def change(self, edit: Callable[[list[Key]], list[Key]]) -> None:
        """Replace the keys with the result of `edit`; concurrent changes are serialized."""
        self._change(lambda contents: replace(contents, keys=edit(contents.keys)))

    def change_roles(self, edit: Callable[[Roles, list[Key]], Roles]) -> None:
        """Replace the roles with the result of `edit(roles, keys)`; raises InvalidKey."""

        def edited(contents: _Contents) -> _Contents:
            roles = edit(dict(contents.roles), contents.keys)
            for name, scopes in roles.items():
                check_role(name, scopes)
            return replace(contents, roles=roles)

        self._change(edited)

    def _change(self, edit: Callable[[_Contents], _Contents]) -> None:
        make_folder(self.path.parent)
        with os.fdopen(open_private(self.path.with_suffix(".lock")), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contents = edit(self._contents() or _Contents(_SCHEMA, []))
            schema = _WITH_ROLES if contents.roles else _SCHEMA
            data = msgspec.json.encode(replace(contents, schema=schema))
            replace_file(self.path, msgspec.json.format(data, indent=2), 0o600)

    def _contents(self) -> _Contents | None:
        try:
            contents = msgspec.json.decode(self.path.read_bytes(), type=_Contents)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self.path} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingError(
                f"{self.path}: {error}; expected a file written by driftline keys"
            ) from None
        if contents.schema not in {_SCHEMA, _WITH_ROLES}:
            raise SettingError(f"{self.path}: schema {contents.schema}; expected 1 or 2")
        return contents
