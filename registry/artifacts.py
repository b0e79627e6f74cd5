"""Files of versions in a store that several machines share, named by their SHA-256.

`DRIFTLINE_ARTIFACTS` is a URL of fsspec: `file:///...`, `s3://BUCKET/...`, `gs://...` or `abfs://...`.
A file is written once and never changed. Its hash is checked when this machine fetches it.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.errors import ArtifactsUnavailable, ChangedFile, RegistryError

_CHUNK = 1 << 20  # bytes per read
_S3_ACTIONS = {"list": "s3:ListBucket", "read": "s3:GetObject", "write": "s3:PutObject"}


class ArtifactStore:
    """The shared files below one URL; safe across threads and processes."""

    def __init__(self, url: str) -> None:
        """Do not connect yet; raises ArtifactsUnavailable for an unknown kind of URL."""
        import fsspec  # noqa: PLC0415 - imported only if a shared store is configured

        self.url = url
        with self._faults("cannot be opened"):
            self._files, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in self._files.protocol

    def put(self, folder: Path, files: Mapping[str, str]) -> None:
        """Store files of a folder; `files` maps name to SHA-256. Raises ArtifactsUnavailable."""
        for name, digest in files.items():
            place, size = self._place(digest), (folder / name).stat().st_size
            with self._faults(
                f"{name} cannot be stored",
                "list",
                "read",
                "write",
                missing=ArtifactsUnavailable,
            ):
                if self._files.exists(place) and self._files.size(place) == size:
                    continue
                if not self._local:  # object stores show only complete objects
                    self._files.put_file(str(folder / name), place)
                    continue
                self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
                part = f"{place}.{secrets.token_hex(4)}.part"
                self._files.put_file(str(folder / name), part)
                self._files.mv(part, place)

    def fetch(self, name: str, digest: str, target: Path) -> None:
        """Write a stored file to `target` and check its hash.

        Raises ChangedFile if the stored file is missing or has other bytes, or
        ArtifactsUnavailable.
        """
        arriving = hashlib.sha256()
        place = self._place(digest)
        with (
            self._faults(f"{name} cannot be fetched", "read"),
            self._files.open(place, "rb") as source,
            target.open("wb") as out,
        ):
            while chunk := source.read(_CHUNK):
                arriving.update(chunk)
                out.write(chunk)
        if (digest_received := arriving.hexdigest()) != digest:
            raise ChangedFile(
                f"{name} in {self.url} was changed: SHA-256 {digest_received[:12]}..., registered "
                f"{digest[:12]}...; restore {place}"
            )

    def has(self, digests: Iterable[str]) -> bool:
        """Return whether every file is stored; raises ArtifactsUnavailable."""
        with self._faults("cannot be listed", "list", "read"):
            return all(self._files.exists(self._place(digest)) for digest in digests)

    def require(self, name: str, digest: str) -> None:
        """Raise ChangedFile if a stored file is missing or has other bytes."""
        digest_received = hashlib.sha256()
        with (
            self._faults(f"{name} cannot be read", "read"),
            self._files.open(self._place(digest), "rb") as source,
        ):
            while chunk := source.read(_CHUNK):
                digest_received.update(chunk)
        if digest_received.hexdigest() != digest:
            raise ChangedFile(f"{name} in {self.url}: SHA-256 is not {digest[:12]}...")

    def _place(self, digest: str) -> str:
        return f"{self._root.rstrip('/')}/sha256/{digest[:2]}/{digest}"

    @contextmanager
    def _faults(
        self, what: str, *rights: str, missing: type[RegistryError] = ChangedFile
    ) -> Iterator[None]:
        """Convert the store's errors to RegistryErrors; the block needs permissions to `rights`."""
        try:
            yield
        except FileNotFoundError as error:
            raise missing(f"{what}: the file is missing in {self.url}") from error
        except PermissionError as error:
            raise ArtifactsUnavailable(
                f"artefacts {self.url}: {what}: access denied ({_line(error)}); expected the "
                f"permissions to {self._names(rights)}"
            ) from error
        except Exception as error:  # the errors of fsspec's stores have no common base class
            raise ArtifactsUnavailable(f"artefacts {self.url}: {what}: {_line(error)}") from error

    def _names(self, rights: Iterable[str]) -> str:
        """Return permissions as words; for S3, add the actions of its policies."""
        if "s3" not in self._files.protocol:
            return ", ".join(rights)
        return ", ".join(f"{right} ({_S3_ACTIONS[right]})" for right in rights)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def open_artifacts(url: str) -> ArtifactStore | None:
    """Return the shared store at a URL, or None for "", if machines share no files."""
    return ArtifactStore(url) if url else None
