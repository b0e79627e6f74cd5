"""Immutable versions in BentoML's store, and the aliases that name them."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bentoml
import onnx
import pandas as pd
import pytest
from bentoml._internal.models import ModelStore

from eventlog.settings import Home
from registry.errors import (
    InvalidManifest,
    InvalidModel,
    InvalidName,
    InvalidReference,
    RegistryError,
    RegistryUnavailable,
    UnknownModel,
    UnknownVersion,
)
from registry.history.store import History
from registry.reference import load_reference
from registry.store import Registry, store_folder

pytestmark = pytest.mark.untraced

Write = Callable[..., dict[str, Path]]


def test_the_first_version_is_number_one(registry: Registry, write: Write) -> None:
    version = registry.register(model="shop", **write())
    assert version.number == "1"
    assert registry.models() == ["shop"]
    assert registry.versions("shop") == [version]
    assert registry.version("shop", "1") == version
    assert version.manifest.signature is not None


def test_a_version_contains_the_file_and_the_reference(registry: Registry, write: Write) -> None:
    files = write()
    version = registry.register(model="shop", **files)
    assert (Path(version.path) / "model.onnx").read_bytes() == files["onnx"].read_bytes()
    frame = load_reference(version)
    assert len(frame) == 300
    assert set(frame["colour"]) == {"red", "blue", None}
    assert frame["prediction"].isin([0, 1]).all()


def test_identical_content_is_the_same_version(registry: Registry, write: Write) -> None:
    first = registry.register(model="shop", **write())
    revision = registry.revision()
    assert registry.register(model="shop", **write()) == first
    assert registry.revision() == revision


def test_a_comment_in_the_manifest_does_not_create_a_version(
    registry: Registry, write: Write
) -> None:
    files = write()
    first = registry.register(model="shop", **files)
    files["manifest"].write_text("# a remark\n" + files["manifest"].read_text())
    assert registry.register(model="shop", **files) == first


def test_any_other_content_is_the_next_version(
    registry: Registry, write: Write, manifest: dict[str, Any], rows: pd.DataFrame
) -> None:
    for content in ({}, {"manifest": manifest | {"description": "new"}}, {"frame": rows.head(200)}):
        registry.register(model="shop", **write(**content))
    versions = registry.versions("shop")
    assert [version.number for version in versions] == ["1", "2", "3"]
    assert len({version.digest for version in versions}) == 3


def test_two_models_may_share_their_content(registry: Registry, write: Write) -> None:
    registry.register(model="shop", **write())
    assert registry.register(model="kiosk", **write()).number == "1"
    assert registry.models() == ["kiosk", "shop"]


def test_bentoml_lists_registered_models(registry: Registry, write: Write) -> None:
    version = registry.register(model="shop", **write())
    listed = subprocess.run(
        [sys.executable, "-m", "bentoml", "models", "list", "-o", "json"],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert f"shop:1-{version.digest[:12]}" in listed


def test_models_are_in_the_home_unless_bentoml_home_is_set(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert store_folder(home, {}) == tmp_path / "home" / "bentoml" / "models"
    elsewhere = {"BENTOML_HOME": str(tmp_path / "elsewhere")}
    assert store_folder(home, elsewhere) == tmp_path / "elsewhere" / "models"


def test_bentomls_latest_is_the_newest(
    registry: Registry, home: Home, write: Write, manifest: dict[str, Any]
) -> None:
    registry.register(model="shop", **write())
    second = registry.register(model="shop", **write(manifest=manifest | {"description": "new"}))
    latest = bentoml.models.get("shop:latest", _model_store=ModelStore(store_folder(home)))
    assert latest.path == second.path


def test_other_models_in_bentomls_store_are_left_alone(
    registry: Registry, home: Home, write: Write
) -> None:
    with bentoml.models.create("foreign", _model_store=ModelStore(store_folder(home))):
        pass
    (store_folder(home) / "half-written" / "1").mkdir(parents=True)
    registry.register(model="shop", **write())
    assert registry.models() == ["shop"]


def test_a_version_number_is_never_reused(
    registry: Registry, home: Home, write: Write, manifest: dict[str, Any]
) -> None:
    first = registry.register(model="shop", **write())
    bentoml.models.delete(
        f"shop:1-{first.digest[:12]}", _model_store=ModelStore(store_folder(home))
    )
    assert registry.versions("shop") == []
    again = registry.register(model="shop", **write(manifest=manifest | {"description": "new"}))
    assert again.number == "2"


def test_concurrent_registrations_get_numbers_without_gaps(
    write: Write, rows: pd.DataFrame, tmp_path: Path, home: Home
) -> None:
    files = write()
    references = []
    for size in range(100, 108):
        path = tmp_path / f"{size}.parquet"
        rows.head(size).to_parquet(path)
        references.append(path)
    with ThreadPoolExecutor(4) as pool:
        registered = pool.map(
            lambda path: Registry(home).register(model="shop", **files | {"reference": path}),
            references,
        )
    assert sorted(int(version.number) for version in registered) == list(range(1, 9))


def test_an_alias_names_a_version(registry: Registry, write: Write) -> None:
    registry.register(model="shop", **write())
    before = registry.revision()
    assert registry.promote("shop", "1", actor="ann") > before
    registry.promote("shop", "1", alias="tried-in-lyon")
    assert registry.aliases("shop") == {"champion": "1", "tried-in-lyon": "1"}
    assert [row.actor for row in registry.history("shop")] == ["", "ann", ""]


@pytest.mark.parametrize("alias", ["", "1", "Champion", "a b", "x" * 64])
def test_an_ambiguous_alias_is_refused(registry: Registry, write: Write, alias: str) -> None:
    registry.register(model="shop", **write())
    with pytest.raises(InvalidName, match="expected a lowercase letter"):
        registry.promote("shop", "1", alias=alias)


def test_unknown_models_and_versions_are_refused_with_the_existing_ones(
    registry: Registry, write: Write
) -> None:
    with pytest.raises(UnknownModel, match="models: none is registered"):
        registry.versions("shop")
    registry.register(model="shop", **write())
    with pytest.raises(UnknownModel, match="no model 'chop'; models: shop"):
        registry.promote("chop", "1")
    with pytest.raises(UnknownModel, match=r"'\.\./etc'"):
        registry.versions("../etc")
    with pytest.raises(UnknownVersion, match="'shop' has no version '2'; versions: 1"):
        registry.promote("shop", "2")


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


Spoil = Callable[[dict[str, Any], pd.DataFrame, onnx.ModelProto], dict[str, Any]]


@pytest.fixture
def spoilt(
    request: pytest.FixtureRequest,
    manifest: dict[str, Any],
    rows: pd.DataFrame,
    classifier: onnx.ModelProto,
) -> dict[str, Any]:
    """What to write instead, as the parameter makes it of the good content."""
    spoil: Spoil = request.param
    return spoil(manifest, rows, classifier)


@pytest.mark.parametrize(
    ("spoilt", "error"),
    [
        (lambda _m, _r, _c: {"onnx_bytes": b"nothing"}, InvalidModel),
        (lambda _m, _r, c: {"onnx_bytes": c.SerializeToString()[:-30]}, InvalidModel),
        (lambda m, _r, _c: {"manifest": m | {"held_out": False}}, InvalidManifest),
        (lambda m, _r, _c: {"manifest": m | {"colour": "red"}}, InvalidManifest),
        (lambda _m, _r, _c: {"manifest": "task: ["}, InvalidManifest),
        (lambda _m, r, _c: {"frame": r.drop(columns="bought")}, InvalidReference),
        (lambda _m, r, _c: {"frame": r.assign(bought=5)}, InvalidReference),
    ],
    indirect=["spoilt"],
)
def test_a_refused_registration_leaves_nothing_behind(
    registry: Registry, home: Home, write: Write, spoilt: dict[str, Any], error: type[RegistryError]
) -> None:
    registry.register(model="shop", **write())
    before = _tree(store_folder(home).parent), registry.revision(), registry.history("shop")
    with pytest.raises(error):
        registry.register(model="shop", **write(**spoilt))
    assert (
        _tree(store_folder(home).parent),
        registry.revision(),
        registry.history("shop"),
    ) == before


Break = Callable[[pytest.MonkeyPatch], None]


def _full(*_args: object, **_options: object) -> None:
    raise OSError(28, "No space left on device")


def _no_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "register", _database_full)


def _database_full(*_args: object, **_options: object) -> None:
    raise RegistryUnavailable("registry: database or disk is full")


_PLACING = ("os.link", "shutil.copyfile")  # the second where the first is not possible


@pytest.mark.parametrize(
    "break_disk",
    [
        lambda patch: [patch.setattr(f"registry.store.{one}", _full) for one in _PLACING],
        lambda patch: patch.setattr("registry.version_folders.sync_tree", _full),
        lambda patch: patch.setattr(Path, "rename", _full),
        lambda patch: patch.setattr("registry.version_folders.sync_folder", _full),
        lambda patch: patch.setattr("registry.version_folders.replace_file", _full),
        _no_rows,
    ],
)
def test_a_full_disk_at_any_step_leaves_nothing_behind(
    home: Home,
    write: Write,
    manifest: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    break_disk: Break,
) -> None:
    registry = Registry(home)
    registry.register(model="shop", **write())
    before = _tree(store_folder(home)), registry.history("shop")
    files = write(manifest=manifest | {"description": "new"})
    with monkeypatch.context() as patch:
        break_disk(patch)
        with pytest.raises(RegistryUnavailable, match=r"(No space left on device|disk is full)"):
            registry.register(model="shop", **files)
    assert (_tree(store_folder(home)), registry.history("shop")) == before
    assert registry.register(model="shop", **files).number == "2"


def test_no_step_of_a_registration_needs_the_disk_of_temporary_files(
    registry: Registry, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write()
    monkeypatch.setattr(tempfile, "mkdtemp", _full)
    assert registry.register(model="shop", **files).number == "1"


def test_files_are_on_disk_before_their_names_and_names_before_the_history(
    registry: Registry, home: Home, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename, record = os.fsync, Path.rename, History.register

    def synced(descriptor: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    def recorded(*args: Any, **options: Any) -> None:
        steps.append("history")
        record(*args, **options)

    files = write()
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(History, "register", recorded)
    version = registry.register(model="shop", **files)
    staged = [Path(step).name for step in steps[: steps.index("rename")]]
    assert {path.name for path in Path(version.path).iterdir()} <= set(staged)
    store = store_folder(home)
    assert str(store) in steps
    between = steps[steps.index("rename") : steps.index("history")]
    assert str(store / "shop") in between


def test_remains_of_a_killed_registration_are_deleted(
    registry: Registry, home: Home, write: Write
) -> None:
    left = store_folder(home).parent / ".driftline-staging" / "shop" / "1-abc"
    left.mkdir(parents=True)
    version = registry.register(model="shop", **write())
    assert version.number == "1"
    assert not left.exists()


def test_a_missing_file_is_named(registry: Registry, write: Write, tmp_path: Path) -> None:
    files = write() | {"onnx": tmp_path / "nowhere.onnx"}
    with pytest.raises(InvalidModel, match=r"cannot read .*nowhere.onnx: No such file"):
        registry.register(model="shop", **files)


@pytest.mark.parametrize("name", ["", "Shop", "a/b", "-a", "a" * 64, ".."])
def test_a_name_that_bentoml_would_change_is_refused(
    registry: Registry, write: Write, name: str
) -> None:
    with pytest.raises(InvalidName, match="lowercase"):
        registry.register(model=name, **write())


def _without_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _damage(name: str, content: bytes | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _without_folder,
        _emptied,
        _damage("model.yaml", None),
        _damage("model.yaml", b""),
        _damage("model.yaml", b"\x00\xff: ["),
        _damage("model.yaml", b"name: shop"),
        _damage("manifest.json", None),
        _damage("manifest.json", b'{"task": "clas'),
        _damage("model.onnx", None),
    ],
)
def test_a_damaged_version_is_named_and_hides_no_other(
    registry: Registry,
    write: Write,
    manifest: dict[str, Any],
    damage: Callable[[Path], None],
) -> None:
    first = registry.register(model="shop", **write())
    second = registry.register(model="shop", **write(manifest=manifest | {"description": "new"}))
    registry.promote("shop", "1")
    damage(Path(second.path))
    assert registry.models() == ["shop"]
    assert registry.versions("shop") == [first]
    assert list(registry.damaged("shop")) == ["2"]
    state = registry.state("shop")
    assert (state.versions, list(state.damaged)) == ([first], ["2"])
    with pytest.raises(InvalidManifest, match=r"stored version .* damaged: .*driftline unload"):
        registry.version("shop", "2")
    with pytest.raises(InvalidManifest, match="damaged"):
        registry.promote("shop", "2")
    registry.unload("shop", "2")
    assert registry.state("shop").desired.unloaded == {"2"}
    third = registry.register(model="shop", **write(manifest=manifest | {"description": "3"}))
    assert third.number == "3"


def test_a_model_whose_versions_are_all_missing_is_still_listed(
    registry: Registry, home: Home, write: Write
) -> None:
    registry.register(model="shop", **write())
    shutil.rmtree(store_folder(home) / "shop")
    assert registry.models() == ["shop"]
    assert list(registry.state("shop").damaged) == ["1"]
