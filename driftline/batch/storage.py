"""Find and open the files of a batch job, on this machine or at a URL such as s3://."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import fs

from driftline.batch.errors import BatchError

FORMATS = (".parquet", ".csv")


class InputFile(msgspec.Struct, frozen=True):
    """One file of rows; size and time show whether it has changed since a job started."""

    path: str
    name: str  # path relative to the input folder
    size: int  # bytes
    modified: int  # nanoseconds since the epoch, 0 if the store does not state it

    @property
    def format(self) -> str:
        """The file's suffix, in lower case."""
        return suffix(self.name)


class Storage:
    """A path or URL and its file system."""

    def __init__(self, url: str) -> None:
        """Raise BatchError for a URL that needs a package which is not installed."""
        self.url = url
        self.remote = "://" in url
        self.files, self.path = _open(url) if self.remote else (fs.LocalFileSystem(), url)

    def inputs(self) -> list[InputFile]:
        """Return the file, or the folder's files sorted by name.

        Raises BatchError if there is no file of a known format.
        """
        with self._faults():
            info = self.files.get_file_info(self.path)
            if info.type == fs.FileType.File:
                _require_format(self.url)
                return [_input(info, posixpath.basename(self.path))]
            if info.type != fs.FileType.Directory:
                raise BatchError(f"{self.url}: no such file or folder")
            infos = self.files.get_file_info(fs.FileSelector(self.path, recursive=True))
        root = self.path.rstrip("/") + "/"
        inputs = [(info, info.path.removeprefix(root)) for info in infos if _is_input(info)]
        shown = [(info, name) for info, name in inputs if not _is_hidden(name)]
        if not shown:
            raise BatchError(f"{self.url}: contains no file that ends in {' or '.join(FORMATS)}")
        return [_input(info, name) for info, name in sorted(shown, key=lambda pair: pair[1])]

    def exists(self) -> bool:
        """Return whether a file or folder exists at this path."""
        with self._faults():
            exists: bool = self.files.get_file_info(self.path).type != fs.FileType.NotFound
        return exists

    def put(self, local: str, name: str = "") -> None:
        """Copy a local file to this path, or to the file `name` in this folder."""
        target = posixpath.join(self.path, name) if name else self.path
        with self._faults():
            if parent := posixpath.dirname(target):
                self.files.create_dir(parent, recursive=True)
            fs.copy_files(local, target, source_filesystem=fs.LocalFileSystem(),
                          destination_filesystem=self.files)  # fmt: skip

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except BatchError:
            raise
        except Exception as error:  # each kind of store has its own exceptions
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BatchError(f"{self.url}: {reason}") from error


def suffix(name: str) -> str:
    """Return the suffix of a name in lower case."""
    return posixpath.splitext(name)[1].lower()


def _require_format(url: str) -> None:
    if suffix(url) not in FORMATS:
        raise BatchError(f"{url}: expected a name that ends in {' or '.join(FORMATS)}")


def _open(url: str) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415 - only for URLs

    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BatchError(f"{url}: {reason}; s3:// needs pip install 'driftline[s3]'") from None
    return fs.PyFileSystem(fs.FSSpecHandler(files)), path


def _is_input(info: Any) -> bool:
    return bool(info.type == fs.FileType.File) and suffix(info.path) in FORMATS


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _input(info: Any, name: str) -> InputFile:
    return InputFile(info.path, name, int(info.size or 0), int(info.mtime_ns or 0))


# Exceptions that pyarrow raises for a file that cannot be read.
ArrowFault = (pa.ArrowException, OSError, ValueError)
