"""Restore a backup as a new home."""

import shutil
from pathlib import Path

from driftline.backups.contents import MODELS, BackupFault, BackupRecord, read_verified
from eventlog.durable_files import make_folder, sync_folder, sync_tree
from eventlog.settings import Home
from registry.store import store_folder

_DRAFT = ".restoring"


def restore_backup(folder: Path, home: Home) -> BackupRecord:
    """Verify a backup, then copy it to a home that does not exist yet or is empty.

    After a killed restore, the next call starts again. Raises BackupFault before anything is
    written, or OSError.
    """
    record = read_verified(folder)
    models = store_folder(home)
    draft = home.root / _DRAFT
    if not draft.exists():
        _require_empty(home.root, "DRIFTLINE_HOME")
        if not models.is_relative_to(home.root):
            _require_empty(models, "BENTOML_HOME")
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    for name in record.files:
        target = draft / name
        make_folder(target.parent)
        shutil.copyfile(folder / name, target)
        target.chmod(0o444 if name.startswith(f"{MODELS}/") else 0o600)
    sync_tree(draft)
    if not models.is_relative_to(home.root) and (draft / MODELS).exists():
        make_folder(models.parent)
        shutil.rmtree(models, ignore_errors=True)
        shutil.move(draft / MODELS, models)
    for path in sorted(draft.iterdir()):
        target = home.root / path.name
        if target.is_dir():  # left by a killed restore
            shutil.rmtree(target)
        path.replace(target)
    sync_folder(home.root)
    draft.rmdir()
    return record


def _require_empty(folder: Path, setting: str) -> None:
    if folder.exists() and (names := sorted(path.name for path in folder.iterdir())):
        raise BackupFault(
            f"{folder} is not empty: it contains {names[0]}; set {setting} to a new folder"
        )
