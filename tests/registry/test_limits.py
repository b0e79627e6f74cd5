"""Limits that are changed after registration."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.settings import Home
from registry.errors import InvalidLimits, UnknownVersion
from registry.limits import UNCHANGED, LimitChange, limited, sum_up
from registry.store import Registry
from tests.tiny_model import register_tiny

positive = st.none() | st.integers(1, 16)
changes = st.builds(LimitChange, max_requests=positive, max_wait_ms=positive, max_bytes=positive)


@given(st.lists(changes, max_size=6))
def test_the_latest_limits_apply_and_an_empty_change_resets_them(
    stated: list[LimitChange],
) -> None:
    expected: dict[str, int] = {}
    for change in stated:
        if change == UNCHANGED:
            expected = {}
        expected.update(change.changes())
    assert sum_up(stated).changes() == expected


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Holds `tiny`, version 1."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files", queue={"max_requests": 10, "priority_levels": 2})
    return registry


def _held(registry: Registry) -> dict[str, dict[str, int]]:
    limits = registry.state("tiny").desired.limits
    return {number: change.changes() for number, change in limits.items()}


def test_changes_of_a_version_and_of_all_versions_add_up(
    registry: Registry, tmp_path: Path
) -> None:
    before = registry.version("tiny", "1")
    registry.limit("tiny", "", LimitChange(max_requests=5, max_wait_ms=9), actor="ada")
    revision = registry.limit("tiny", "1", LimitChange(max_requests=7), actor="bob")
    assert revision == registry.revision()
    assert _held(registry) == {"1": {"max_requests": 7, "max_wait_ms": 9}}
    register_tiny(registry, tmp_path / "files", description="a later one")
    assert _held(registry)["2"] == {"max_requests": 5, "max_wait_ms": 9}
    registry.limit("tiny", "1", UNCHANGED)
    assert "1" not in _held(registry)
    assert registry.version("tiny", "1") == before
    limited = [row for row in registry.history("tiny") if row.kind == "limits"]
    assert [(row.number, row.actor, row.limits().changes()) for row in limited] == [
        ("", "ada", {"max_requests": 5, "max_wait_ms": 9}),
        ("1", "bob", {"max_requests": 7}),
        ("1", "", {}),
    ]
    assert registry.aliases("tiny") == {}


def test_changed_limits_apply_as_if_the_manifest_stated_them(registry: Registry) -> None:
    manifest = registry.version("tiny", "1").manifest
    change = LimitChange(
        max_batch_size=3, max_batch_bytes=7, cache_max_bytes=4, max_wait_ms=5, priority_levels=6
    )
    changed = limited(manifest, change)
    assert (changed.max_batch_size, changed.max_batch_bytes) == (3, 7)
    assert changed.cache.max_bytes == 4
    assert (changed.queue.max_wait_ms, changed.queue.priority_levels) == (5, 6)
    assert changed.queue.max_requests == 10
    assert limited(manifest, UNCHANGED) == manifest


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"max_requests": 0}, r">= 1 - at `\$.max_requests`"),
        ({"priority_levels": 17}, "<= 16"),
        ({"cache_max_bytes": -1}, ">= 0"),
        ({"default_priority": 3}, "default_priority is 3; expected a level from 1 to"),
    ],
)
def test_impossible_limits_are_refused_and_not_recorded(
    registry: Registry, stated: dict[str, Any], message: str
) -> None:
    before = registry.revision()
    with pytest.raises(InvalidLimits, match=message):
        registry.limit("tiny", "1", LimitChange(**stated))
    with pytest.raises(UnknownVersion):
        registry.limit("tiny", "9", LimitChange(max_requests=1))
    assert registry.revision() == before


def test_only_models_with_changed_limits_are_listed(registry: Registry, tmp_path: Path) -> None:
    register_tiny(registry, tmp_path / "files", "other")
    now = registry.revision()
    assert registry.changed(now) == set()
    registry.limit("other", "", LimitChange(max_requests=1))
    assert registry.changed(now) == {"other"}
    assert registry.changed(0) == {"other", "tiny"}
