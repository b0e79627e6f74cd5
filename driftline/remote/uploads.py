"""Uploaded files that are not registered yet, named by their SHA-256.

An upload is stored completely or not at all. A repeated upload of the same bytes changes nothing.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from eventlog.durable_files import make_folder
from eventlog.errors import DriftlineError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidUpload(DriftlineError):
    """An upload has an invalid name, or its bytes do not match the stated digest or size."""


class UploadTooLarge(DriftlineError):
    """An upload exceeds the server's limits."""


class Uploads:
    """The uploaded files of one server."""

    def __init__(
        self,
        folder: Path,
        *,
        largest: int,
        total: int,
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Limit each file to `largest` bytes, all files to `total` bytes, ages to `seconds`."""
        self._folder = folder
        self._largest = largest
        self._total = total
        self._seconds = seconds
        self._clock = clock
        self._active: set[Upload] = set()

    def has(self, digest: str) -> bool:
        """Return whether the file exists; if it does, restart its time until it expires."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def path(self, digest: str) -> Path:
        """Return the path of a file; raises InvalidUpload for an invalid SHA-256."""
        if not _DIGEST.fullmatch(digest):
            raise InvalidUpload(f"upload {digest[:70]!r}: expected the SHA-256 of a file, in hex")
        return self._folder / digest

    def begin(self, digest: str, size: int) -> "Upload":
        """Start an upload of `size` bytes; raises InvalidUpload or UploadTooLarge."""
        place = self.path(digest)
        if size > self._largest:
            raise UploadTooLarge(
                f"the file has {size:,} bytes; expected at most {self._largest:,} "
                "(DRIFTLINE_REGISTRY_SERVER_MAX_UPLOAD_BYTES)"
            )
        make_folder(self._folder)
        self.expire()
        expected = sum(upload.expected for upload in self._active)
        if (total := self._stored_bytes() + expected + size) > self._total:
            raise UploadTooLarge(
                f"all uploads would have {total:,} bytes; expected at most {self._total:,} "
                "(DRIFTLINE_REGISTRY_SERVER_MAX_UPLOADS_BYTES); try again later"
            )
        return Upload(place, size, self._active)

    def expire(self) -> None:
        """Delete expired files and folders."""
        oldest = self._clock() - self._seconds
        for path in self._folder.glob("*"):
            try:
                if path.stat().st_mtime >= oldest:
                    continue
                if path.is_dir():  # left by a job of a killed server
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except FileNotFoundError:
                continue  # deleted by another process

    def _stored_bytes(self) -> int:
        sizes = 0
        for path in self._folder.glob("*"):
            try:
                sizes += path.stat().st_size
            except FileNotFoundError:
                continue
        return sizes


class Upload:
    """An upload in progress, used in a `with` block; if the block fails, no file is left."""

    def __init__(self, place: Path, size: int, active: "set[Upload]") -> None:
        self._place = place
        self._active = active
        self._size = size
        self._received = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes]

    @property
    def expected(self) -> int:
        """The number of bytes that have not arrived yet."""
        return self._size - self._received

    def __enter__(self) -> "Upload":
        self._file = tempfile.NamedTemporaryFile(  # closed by __exit__
            dir=self._place.parent, prefix=".part-", delete=False
        )
        self._active.add(self)
        return self

    def write(self, chunk: bytes) -> None:
        """Add bytes; raises InvalidUpload if there are more bytes than stated."""
        self._received += len(chunk)
        if self._received > self._size:
            raise InvalidUpload(f"more than the stated {self._size:,} bytes arrived")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> None:
        """Store the file under its digest; raises InvalidUpload if size or digest differ."""
        if self._received != self._size:
            raise InvalidUpload(
                f"{self._received:,} of {self._size:,} bytes arrived; send it again"
            )
        if (digest := self._hash.hexdigest()) != self._place.name:
            raise InvalidUpload(
                f"the bytes have the SHA-256 {digest}; expected the SHA-256 in the path"
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        Path(self._file.name).replace(self._place)

    def __exit__(self, *_: object) -> None:
        self._active.discard(self)
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)
