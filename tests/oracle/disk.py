"""A separate disk for the log, which can fill up and lose power."""

import shutil
import subprocess
from pathlib import Path

from tests.small_disk import fill

_SIZE = 24 << 20  # bytes


class Disk:
    """An ext4 file system in a file, mounted at a folder; needs root and loop devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._image = folder.with_suffix(".ext4")
        self._ballast: Path | None = None
        folder.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(_SIZE)
        made = _run("mkfs.ext4", "-q", str(self._image)) and self._mount()
        self.there = made

    def fill(self) -> None:
        self._ballast = fill(self._folder)

    def empty(self) -> None:
        assert self._ballast is not None
        self._ballast.unlink()

    def cut_power(self) -> None:
        """Keep what has reached the disk; nobody may have a file open.

        The file holds what was flushed, and the page cache of the mounted file system the rest.
        """
        copy = self._image.with_suffix(".copy")
        shutil.copyfile(self._image, copy)
        self.close()
        self._image.unlink()
        self._image = copy.rename(self._image)
        assert self._mount()

    def close(self) -> None:
        if self.there and self._folder.is_mount():
            assert _run("umount", str(self._folder))

    def _mount(self) -> bool:
        return _run("mount", "-o", "loop", str(self._image), str(self._folder))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
