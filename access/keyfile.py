"""The file that keeps the keys: `keys.json` in the home, or where DRIFTLINE_KEYS_FILE says."""

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from access.keys import Key
from eventlog.durable_files import make_folder, replace_file
from eventlog.errors import SettingError
from eventlog.settings import Home

Stamp = tuple[int, int, int]


class _Contents(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    keys: list[Key]


class KeyFile:
    """The keys of one installation; replaced as a whole, so nobody reads half of a change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str] = os.environ) -> "KeyFile":
        """The file that the environment names, or the home's."""
        named = environ.get("DRIFTLINE_KEYS_FILE", "")
        return cls(Path(named).expanduser().absolute() if named else home.keys)

    def stamp(self) -> Stamp | None:
        """Something that differs after every change; None while there is no file.

        Raises SettingError where it cannot be looked at.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self.path} cannot be read: {error.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> list[Key] | None:
        """The keys, also those that are revoked or expired; None while there is no file.

        Raises SettingError where there is a file that cannot be read.
        """
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
        if contents.schema != 1:
            raise SettingError(f"{self.path}: schema {contents.schema}; expected 1")
        return contents.keys

    def change(self, edit: Callable[[list[Key]], list[Key]]) -> None:
        """Replace the keys by what `edit` makes of them, one change after another."""
        make_folder(self.path.parent)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contents = _Contents(schema=1, keys=edit(self.read() or []))
            data = msgspec.json.format(msgspec.json.encode(contents), indent=2)
            replace_file(self.path, data, 0o600)  # for its owner alone
