"""`bentoml models delete` of a champion, and of a version with a rollout and a pending approval."""

from pathlib import Path

import bentoml
import pytest
from bentoml._internal.models import ModelStore

from eventlog.settings import Home
from registry.approvals import Approvals
from registry.errors import InvalidManifest
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.manifest import Version
from registry.pending_approvals import PendingApprovals
from registry.rollouts import Rollouts
from registry.settings import open_history
from registry.store import Registry, store_folder
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from tests.service.test_loading_options import loader
from tests.tiny_model import register_tiny


@pytest.mark.parametrize("shared", [True, False])
async def test_a_deleted_copy_of_a_needed_version_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    if shared:
        monkeypatch.setenv("DRIFTLINE_ARTIFACTS", (tmp_path / "artifacts").as_uri())
    home = Home(tmp_path / "home")
    registry, history = Registry(home), open_history(home)
    versions = [_register(registry, tmp_path, description) for description in ("one", "two")]
    registry.promote("tiny", "1")
    Rollouts(history).start("tiny", "2", "champion", [0.5], bake_s=0, actor="ann")
    policy = ReleasePolicy(approvals={"blessed": ApprovalRule()})
    Approvals(history).set_policy("tiny", policy, actor="rik", why="agreed")
    Approvals(history).request("tiny", "2", "blessed", actor="ann", why="ready")
    early = LoadedModels(registry, loader())
    await early.start()

    for version in versions:
        tag = f"tiny:{version.number}-{version.digest[:12]}"
        bentoml.models.delete(tag, _model_store=ModelStore(store_folder(home)))
    state = history.state("tiny")
    assert (state.aliases, state.rollouts["champion"].active) == ({"champion": "1"}, True)
    assert [pending.number for pending in PendingApprovals(history).read()] == ["2"]
    registry.load("tiny")  # a change, which workers follow
    await early.refresh()
    assert _served(early) == ["1", "1", "2"], "what is loaded is served on"

    late = LoadedModels(Registry(home), loader())
    await late.start()
    if not shared:
        with pytest.raises(NotReady, match=r"folder is missing; re-register the same files"):
            late.resolve("tiny", "")
        with pytest.raises(InvalidManifest, match="driftline unload tiny --version 2"):
            registry.version("tiny", "2")
        restored = [_register(registry, tmp_path, description) for description in ("one", "two")]
        assert [version.digest for version in restored] == [v.digest for v in versions]
        registry.load("tiny")
        await late.refresh()
    assert _served(late) == ["1", "1", "2"]
    assert registry.damaged("tiny") == {}
    for worker in (early, late):
        worker.close()


def _register(registry: Registry, tmp_path: Path, description: str) -> Version:
    return register_tiny(registry, tmp_path / "files", description=description)


def _served(worker: LoadedModels) -> list[str]:
    return [worker.resolve("tiny", name)[0].version.number for name in ("champion", "1", "2")]
