"""Store the keys in a file: `keys.json` in the home, or the path in DRIFTLINE_KEYS_FILE."""

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


Roles = dict[str, list[str]]  # scopes by the name of the role
_SCHEMA = 1
_WITH_ROLES = 2  # which earlier releases refuse, rather than give such keys less than they had


class _Contents(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    schema: int
    keys: list[Key]
    roles: Roles = {}


class KeyFile:
    """The keys of one installation; replaced as a whole, so readers never see half of a change."""

    def __init__(self, path: Path, *, configured: bool = False) -> None:
        """`configured`: whether the environment names this file."""
        self.path = path
        self._configured = configured

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str] = os.environ) -> "KeyFile":
        """Return the file that the environment names, or the home's."""
        path = environ.get("DRIFTLINE_KEYS_FILE", "")
        if path:
            return cls(Path(path).expanduser().absolute(), configured=True)
        return cls(home.keys)

    def stamp(self) -> Stamp | None:
        """Return something that differs after every change; None while there is no file.

        Raises SettingError if it cannot be looked at.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self.path} cannot be read: {error.strerror}") from None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> list[Key] | None:
        """Return the keys with the scopes of their roles, also those that are revoked or expired.

        None while there is no file. Raises SettingError if there is a file that cannot be read.
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
        """Return the keys as `read` returns them, before a server starts.

        Raises SettingError if the environment names a file that is missing: a mount that failed
        must not open the server to everyone.
        """
        keys = self.read()
        if keys is None and self._configured:
            raise SettingError(
                f"DRIFTLINE_KEYS_FILE: {self.path} does not exist; expected the file that "
                "driftline keys create writes, or no such variable"
            )
        return keys

    def roles(self) -> Roles:
        """Return the scopes of every role; raises as `read`."""
        contents = self._contents()
        return {} if contents is None else contents.roles

    def change(self, edit: Callable[[list[Key]], list[Key]]) -> None:
        """Replace the keys by the result of `edit`; concurrent changes are serialized."""
        self._change(lambda contents: replace(contents, keys=edit(contents.keys)))

    def change_roles(self, edit: Callable[[Roles, list[Key]], Roles]) -> None:
        """Replace the roles by the result of `edit(roles, keys)`; raises InvalidKey."""

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
            replace_file(self.path, msgspec.json.format(data, indent=2), 0o600)  # its owner's alone

    def _contents(self) -> _Contents | None:
        try:
            contents = msgspec.json.decode(self.path.read_bytes(), type=_Contents)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self.path} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingError(
                f"{self.path}: {error}; expected what driftline keys writes"
            ) from None
        if contents.schema not in {_SCHEMA, _WITH_ROLES}:
            raise SettingError(f"{self.path}: schema {contents.schema}; expected 1 or 2")
        return contents
