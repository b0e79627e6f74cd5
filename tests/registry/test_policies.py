"""Monitoring policies that are changed after registration."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.settings import Home
from registry.errors import InvalidPolicy, UnknownModel, UnknownVersion
from registry.history.rows import HistoryRow
from registry.manifest import Manifest, Monitoring, ReviewPolicy, Version
from registry.manifest_file import read_policy, read_stated
from registry.policies import (
    DatedPolicy,
    PolicyChange,
    changed,
    differences,
    digest,
    encode,
    flat,
    origins,
    policies_of,
)
from registry.store import Registry
from tests.tiny_model import MANIFEST, register_tiny

numbers = st.integers(1, 5)
stated = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "alarms": st.fixed_dictionaries(
            {},
            optional={
                "min_rows": numbers,
                "false_alarms": st.fixed_dictionaries({}, optional={"windows": numbers}),
            },
        ),
        "window": st.fixed_dictionaries({}, optional={"grace": numbers}),
        "drift_methods": st.dictionaries(
            st.sampled_from(["price", "colour"]), st.sampled_from(["psi", "kl_div"]) | st.none()
        ),
    },
)


def version(**monitoring: Any) -> Version:
    manifest = msgspec.convert(MANIFEST | {"monitoring": monitoring}, Manifest)
    return Version(model="tiny", number="1", digest="", created=0, manifest=manifest, path="")


def _policy_row(revision: int, number: str, time: int, change: PolicyChange) -> HistoryRow:
    return HistoryRow(revision, "tiny", "policy", number, time, "ada", detail=encode(change))


def rows_of(changes: list[PolicyChange]) -> list[HistoryRow]:
    """One a second, all of version 1."""
    return [_policy_row(n, "1", n * 1_000_000, change) for n, change in enumerate(changes, start=1)]


@given(st.lists(stated, max_size=6))
def test_a_field_has_its_latest_value_since_the_last_reset(
    stated: list[dict[str, Any] | None],
) -> None:
    subject = version(alarms={"min_rows": 9})
    rows = 9
    for fields in stated:
        if fields is None:
            rows = 9
        elif "min_rows" in fields.get("alarms", {}):
            rows = fields["alarms"]["min_rows"]
    last = policies_of(subject, rows_of([PolicyChange(fields) for fields in stated]))[-1]
    assert last.policy.alarms.min_rows == rows


@given(st.lists(stated, max_size=6))
def test_every_field_is_traced_to_the_change_that_gave_it_its_value(
    stated: list[dict[str, Any] | None],
) -> None:
    held = policies_of(version(), rows_of([PolicyChange(fields) for fields in stated]))
    found = origins(held)
    assert set(found) == set(flat(held[-1].policy))
    for field, source in found.items():
        since = held.index(source)
        assert flat(source.policy)[field] == flat(held[-1].policy)[field]
        if since:  # it was another value before, or not there
            assert flat(held[since - 1].policy).get(field, ()) != flat(source.policy)[field]


def test_a_field_that_goes_back_to_the_manifest_is_the_manifests_again() -> None:
    changes = [PolicyChange({"alarms": {"min_rows": 7}}), PolicyChange(None)]
    held = policies_of(version(), rows_of(changes))
    assert origins(held[:2])["alarms.min_rows"].row == held[1].row
    assert origins(held)["alarms.min_rows"].row is None


def test_null_is_a_value_and_takes_a_features_own_method_away() -> None:
    subject = version(drift_methods={"price": "psi", "colour": "psi"})
    stated = {"drift_methods": {"price": None}, "window": {"length": None, "rows": 5}}
    after = changed(subject.manifest, subject.manifest.monitoring, PolicyChange(stated))
    assert after.drift_methods == {"colour": "psi"}
    assert (after.window.length, after.window.rows) == (None, 5)


def test_policies_are_identified_by_their_deviations_from_the_defaults() -> None:
    usual = Monitoring()
    other = changed(version().manifest, usual, PolicyChange({"alarms": {"min_rows": 7}}))
    assert digest(usual) == "44136fa355b3"  # of {}: a field that a later release adds changes none
    assert digest(other) != digest(usual)
    assert differences(usual, other) == {"alarms.min_rows": (500, 7)}


def test_a_new_version_starts_with_its_models_policy() -> None:
    before = _policy_row(1, "", 5, PolicyChange({"alarms": {"min_rows": 7}}))
    registered = HistoryRow(2, "tiny", "registered", "1", 6, "")
    after = _policy_row(3, "", 7, PolicyChange({"rerun": {"rows": 0}}))
    held = policies_of(version(), [before, registered, after])
    assert [one.at for one in held] == [0, 0, 7]
    assert [one.policy.alarms.min_rows for one in held] == [500, 7, 7]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Holds `tiny`, version 1; its clock stands at 3 s."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"), lambda: 3_000_000_000)
    register_tiny(registry, tmp_path / "files", monitoring={"alarms": {"min_rows": 50}})
    return registry


def _held(registry: Registry, number: str = "1") -> DatedPolicy:
    return registry.policies(registry.version("tiny", number))[-1]


def test_changes_are_recorded_with_actor_time_and_reason(
    registry: Registry, tmp_path: Path
) -> None:
    before = registry.version("tiny", "1")
    registry.change_policy("tiny", "", PolicyChange({"rerun": {"rows": 0}}, "slow"), actor="ada")
    change = PolicyChange({"alarms": {"min_rows": 7}}, "quiet nights")
    revision = registry.change_policy("tiny", "1", change, actor="bob")
    held = _held(registry)
    assert held.row is not None
    assert (held.row.revision, held.row.actor, held.at) == (revision, "bob", 3_000_000)
    assert held.change.why == "quiet nights"
    assert (held.policy.alarms.min_rows, held.policy.rerun.rows) == (7, 0)
    assert registry.version("tiny", "1") == before
    register_tiny(registry, tmp_path / "files", description="a later one")
    assert (_held(registry, "2").policy.rerun.rows, _held(registry, "2").at) == (0, 0)
    assert registry.aliases("tiny") == {}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"alarms": {"min_rows": 0}}, r">= 1 - at `\$.alarms.min_rows`"),
        ({"alarm": {}}, "unknown field `alarm`"),
        ({"alarms": 3}, r"Expected `object`, got `int` - at `\$.alarms`"),
        ({"alarms": {"score": "mae"}}, "tiny version 1: monitoring.alarms.score is 'mae'"),
        ({"drift_thresholds": {"cost": 1}}, "not a feature: 'cost'"),
        (
            {"drift_methods": {"price": "chisquare"}},
            "'chisquare' is not a method for 'price', which is numeric",
        ),
        ({"drift_methods": {"prediction": "ks"}}, "'prediction', which is categorical"),
        ({"segments": ["cost"]}, "'cost' is not a feature"),
        ({"alarms": {"smallest_drift": float("inf")}}, "expected finite numbers"),
        ({"window": {"length": None}}, "state length, rows or both"),
        ({"alarms": {"min_rows": None}}, "Expected `int`, got `null`"),
    ],
)
def test_impossible_policies_are_refused_and_not_recorded(
    registry: Registry, stated: dict[str, Any], message: str
) -> None:
    before = registry.revision()
    with pytest.raises(InvalidPolicy, match=message):
        registry.change_policy("tiny", "", PolicyChange(stated))
    with pytest.raises(UnknownVersion):
        registry.change_policy("tiny", "9", PolicyChange(None))
    with pytest.raises(UnknownModel):
        registry.change_policy("none", "", PolicyChange(None))
    assert registry.revision() == before


def test_a_version_that_its_models_policy_does_not_fit_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    limit = {"alarms": {"score": "roc_auc", "min_score": 0.6}}
    registry.change_policy("tiny", "", PolicyChange(limit))
    with pytest.raises(InvalidPolicy, match=r"not computed.*driftline policy tiny --reset"):
        register_tiny(registry, tmp_path / "files", prediction={"label": "label"})
    assert len(registry.versions("tiny")) == 1


def test_a_file_states_some_fields_alone_or_as_part_of_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("monitoring: {alarms: {min_rows: 7}}")
    assert read_stated(path) == {"alarms": {"min_rows": 7}}
    assert read_policy(path).alarms.min_rows == 7
    path.write_text("alarms: {min_rows: 7}")
    assert read_stated(path) == {"alarms": {"min_rows": 7}}


@pytest.mark.parametrize("content", ["", "[1]", "7", "monitoring: {}", "a: [", "\xff"])
def test_an_empty_policy_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidPolicy, match=r"policy policy\.yaml"):
        read_stated(path)
    with pytest.raises(InvalidPolicy, match="No such file"):
        read_stated(tmp_path / "none.yaml")


def test_a_policy_that_was_null_differs_only_in_the_fields_that_it_has_now() -> None:
    changed = differences(Monitoring(), Monitoring(review=ReviewPolicy(per_day=7)))
    assert changed["review.per_day"] == (None, 7)
    assert all(before != after for before, after in changed.values()), changed
