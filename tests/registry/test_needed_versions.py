"""A version that an alias, a rollout or a pending approval names is never deleted.

A number of another type or spelling is refused, or recorded as the version was registered.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.changes import CHANGES
from eventlog.settings import Home
from registry.approvals import Approvals
from registry.errors import RegistryError
from registry.history.audit import chain_faults
from registry.history.rows import ApprovalRule, HistoryRow, ReleasePolicy, encode_detail
from registry.history.store import History
from registry.model_cache import CachedVersion, evictions, needed_numbers
from registry.rollouts import Rollouts
from registry.store import Registry
from tests.tiny_model import register_tiny

NOW = 1_700_000_000_000_000
SPELLINGS: list[Any] = ["2", 2, 2.0, "02", " 2", "2.0", "+2", "\u0662", True, None]


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "registry.db")
    for number in "123":
        history.register("taxi", number, time=NOW, actor="ann", digest=f"d{number}")
    history.promote("taxi", "champion", "1", time=NOW, actor="ann")
    return history


def deleted(history: History) -> set[str]:
    """Return the versions of which a machine without workers deletes its copies, if it must."""
    now = history.time_ns() // 1_000
    needed = needed_numbers("taxi", history.state("taxi"), [], now)
    cached = [CachedVersion("taxi", number, Path(number), 1, 0.0) for number in "123"]
    return {version.number for version in evictions(cached, 0, lambda v: v.number not in needed)}


def name(history: History, way: str, number: Any) -> None:
    """Let a rollout or a request name a version."""
    if way == "rollout":
        Rollouts(history).start("taxi", number, "champion", [0.5], bake_s=60, actor="ann")
    else:
        policy = encode_detail(ReleasePolicy(approvals={"champion": ApprovalRule()}))
        row = HistoryRow(0, "taxi", "release_policy", "", NOW, "ann", detail=policy)
        history.append("taxi", lambda _: [row])
        Approvals(history).request("taxi", number, "champion", actor="ann", why="better")


@pytest.mark.parametrize("way", ["rollout", "approval"])
@pytest.mark.parametrize("number", SPELLINGS)
def test_named_versions_are_not_deleted(history: History, way: str, number: Any) -> None:
    assert deleted(history) == {"2", "3"}
    try:
        name(history, way, number)
    except (RegistryError, TypeError):
        assert number != "2"
        assert deleted(history) == {"2", "3"}
    else:
        assert deleted(history) == {"3"}
    assert list(chain_faults(history.all_rows())) == []


def test_an_alias_names_a_version_by_its_number_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    for description in ("one", "two"):
        register_tiny(registry, tmp_path / "files", description=description)
    for number in SPELLINGS[1:]:
        with pytest.raises((RegistryError, TypeError)):
            registry.promote("tiny", number, alias="challenger")
        assert registry.aliases("tiny") == {}
    registry.promote("tiny", "2", alias="challenger")
    state = History(Home(tmp_path / "home").registry).state("tiny")
    assert needed_numbers("tiny", state, [], NOW) == {"2"}


@pytest.mark.parametrize("kind", CHANGES.values(), ids=CHANGES)
def test_a_remote_change_names_versions_by_text(kind: Any) -> None:
    if "number" in kind.__struct_fields__:
        with pytest.raises(msgspec.ValidationError, match="Expected `str`, got `int`"):
            msgspec.json.decode(b'{"number": 2}', type=kind)
