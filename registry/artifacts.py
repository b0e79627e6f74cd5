"""Files of versions in a store that machines share, named by their SHA-256.

`DRIFTLINE_ARTIFACTS` is a URL of fsspec: `file:///...`, `s3://BUCKET/...`, `gs://...` or `abfs://...`.
A file is written once and never changed, and hashed on arrival at this machine.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.errors import ArtifactsUnavailable, ChangedFile, RegistryError

_CHUNK = 1 << 20  # bytes read at once
_S3_ACTIONS = {"list": "s3:ListBucket", "read": "s3:GetObject", "write": "s3:PutObject"}


class ArtifactStore:
    """The shared files below one URL; safe across threads and processes."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet; raises ArtifactsUnavailable for a URL of an unknown kind."""
        import fsspec  # noqa: PLC0415 - imported only where it is used

        self.url = url
        with self._faults("cannot be opened"):
            self._files, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in self._files.protocol

    def put(self, folder: Path, files: Mapping[str, str]) -> None:
        """Store the files of a folder, by name and SHA-256; raises ArtifactsUnavailable."""
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
                if not self._local:  # shows only whole objects
                    self._files.put_file(str(folder / name), place)
                    continue
                self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
                part = f"{place}.{secrets.token_hex(4)}.part"
                self._files.put_file(str(folder / name), part)
                self._files.mv(part, place)

    def fetch(self, name: str, digest: str, target: Path) -> None:
        """Write a file to `target`, hashed as it arrives.

        Raises ChangedFile for missing or other bytes, and ArtifactsUnavailable.
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
        """Return whether every file is there; raises ArtifactsUnavailable."""
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
        """Raise errors of this module for those of the store; `rights` are what the block needs."""
        try:
            yield
        except FileNotFoundError as error:
            raise missing(f"{what}: nothing is there in {self.url}") from error
        except PermissionError as error:
            raise ArtifactsUnavailable(
                f"artefacts {self.url}: {what}: access denied ({_line(error)}); expected the "
                f"rights to {self._names(rights)}"
            ) from error
        except Exception as error:  # each kind of store raises its own
            raise ArtifactsUnavailable(f"artefacts {self.url}: {what}: {_line(error)}") from error

    def _names(self, rights: Iterable[str]) -> str:
        """Return rights as words, and as the actions of S3 policies where the store is S3."""
        if "s3" not in self._files.protocol:
            return ", ".join(rights)
        return ", ".join(f"{right} ({_S3_ACTIONS[right]})" for right in rights)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def open_artifacts(url: str) -> ArtifactStore | None:
    """Return the shared store at a URL; None: files stay on the registering machine."""
    return ArtifactStore(url) if url else None
