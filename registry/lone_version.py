"""A home with only one version of one model as its champion, for a separate service."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from eventlog.settings import Home
from registry.history.store import History
from registry.manifest import Version
from registry.stored_files import hash_folder, require_unchanged
from registry.version_folders import VersionFolders


def make_lone_home(version: Version, home: Home, bentoml: Path) -> None:
    """Register a version under its number in an empty home, whose BENTOML_HOME is `bentoml`.

    Files are hard links if the file system allows it. Raises ChangedFile if a file differs from the
    registered file.
    """
    require_unchanged(version)
    names = version.files or hash_folder(Path(version.path))
    files: dict[str, Callable[[Path], object]] = {
        name: partial(_link, Path(version.path) / name) for name in names
    }
    stored = VersionFolders(bentoml / "models").add(
        version.model, version.number, version.digest, version.created, files
    )
    history = History(home.registry)
    history.register(
        version.model,
        version.number,
        time=version.created,
        actor="",
        digest=version.digest,
        files=stored.files,
    )
    history.promote(version.model, "champion", version.number, time=version.created, actor="")
    history.close()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
