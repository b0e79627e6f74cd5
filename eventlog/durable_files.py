"""Write files and folders that survive a power loss.

The content is flushed first, then its folder, then every new parent folder. In any other order, a
power loss can leave an empty file.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from eventlog.errors import SettingError

_PRIVATE = 0o700


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder to disk, then the folders, innermost first."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(place, name), os.O_RDONLY)
        sync_folder(Path(place))


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents durably, accessible only to this user."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was first
            path.mkdir(_PRIVATE)
        sync_folder(path.parent)


def open_private(path: Path) -> int:
    """Open or create a file that only this user can access; return its descriptor.

    Symbolic links are not followed, because another user could have planted them. Raises OSError.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def create_private(path: Path) -> None:
    """Create an empty file that only this user can access, unless it exists; raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def close_to_others(folder: Path) -> None:
    """Remove the permissions of other users on an existing folder, except its group.

    Raises SettingError if others can write to the folder and this cannot be changed, because they
    could replace files or plant symbolic links.
    """
    with suppress(OSError):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & stat.S_IRWXO:
            folder.chmod(mode & ~stat.S_IRWXO)
    if folder.exists() and folder.stat().st_mode & stat.S_IWOTH:
        raise SettingError(f"{folder}: every user can write to it; run chmod o-rwx {folder}")


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically and durably; by default, only its owner can read it.

    After a crash, the file has either the old or the new content. Raises OSError.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # `open` takes a file descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.filename is None:  # for example after a write to a full disk
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
