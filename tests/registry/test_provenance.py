"""The history's explanation of a prediction, whatever happened afterwards."""

from typing import Any

import pytest

from registry.history.provenance import StatedAnswer, provenance_of
from registry.history.rows import (
    ApprovalRule,
    ApprovalSubject,
    HistoryRow,
    Registration,
    ReleasePolicy,
    RolloutStep,
    encode_detail,
)

POLICY = ReleasePolicy(approvals={"champion": ApprovalRule()})
SUBJECT = ApprovalSubject(replaces="1", policy=3)


def _rows(*facts: tuple[str, str, str, Any]) -> list[HistoryRow]:
    """Rows of (kind, number, actor, detail), one a second; their digest is that of the number."""
    return [
        HistoryRow(
            revision, "taxi", kind, number, revision * 1_000_000, actor,
            alias="champion" if kind not in {"registered", "barred"} else "",
            digest=f"d{number}", detail=encode_detail(detail) if detail else "",
        )
        for revision, (kind, number, actor, detail) in enumerate(facts, 1)
    ]  # fmt: skip


ROWS = _rows(
    ("registered", "1", "ann", Registration()),
    ("promoted", "1", "ann", None),
    ("release_policy", "", "risk", POLICY),
    ("registered", "2", "tom", Registration()),
    ("requested", "2", "ann", SUBJECT),
    ("approved", "2", "ann", SUBJECT),
    ("approved", "2", "bob", SUBJECT),
    ("rollout_step", "2", "cyd", RolloutStep("r1", "start", steps=[0.1, 1.0])),
    ("promoted", "2", "cyd", None),
    ("rolled_back", "1", "dan", None),
    ("barred", "2", "dan", None),
)


def _answer(**fields: Any) -> StatedAnswer:
    usual = {"number": "2", "received": 0, "digest": "d2", "alias": "champion", "revision": 9}
    return StatedAnswer(**usual | fields)


def test_provenance_uses_the_rows_at_the_time_of_the_prediction() -> None:
    found = provenance_of(ROWS, _answer())
    assert found.pointed is not None
    assert (found.pointed.kind, found.pointed.actor) == ("promoted", "cyd")
    assert [(one.row.actor, one.counted) for one in found.approvals] == [
        ("ann", False),  # who asked
        ("bob", True),
    ]
    assert [row.kind for row in found.later] == ["rolled_back", "barred"]
    assert found.differences == []


def test_the_version_of_a_rollout_is_explained_by_its_start() -> None:
    found = provenance_of(ROWS, _answer(revision=8, rollout="r1", by_rollout=True))
    assert found.pointed is not None
    assert found.pointed.kind == "rollout_step"
    assert [one.counted for one in found.approvals] == [False, True]


def test_the_version_before_a_rollout_is_explained_by_its_promotion() -> None:
    found = provenance_of(ROWS, _answer(number="1", digest="d1", revision=8, rollout="r1"))
    assert found.pointed is not None
    assert found.pointed.revision == 2
    assert found.differences == []


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"digest": "ee"}, "revision 4 registered digest d2..., but ee... answered"),
        ({"revision": 8}, "no row before the answer points champion at version 2"),
        ({"revision": 3}, "no row before the answer registers version 2"),
        ({"revision": 8, "rollout": "r2", "by_rollout": True}, "points champion at version 2"),
    ],
)
def test_contradictions_between_event_and_history_are_named(fields: Any, difference: str) -> None:
    assert any(difference in one for one in provenance_of(ROWS, _answer(**fields)).differences)


def test_without_a_revision_the_time_decides() -> None:
    found = provenance_of(ROWS, _answer(revision=0, received=9_500_000))
    assert found.pointed is not None
    assert found.pointed.revision == 9
    assert [row.kind for row in found.later] == ["rolled_back", "barred"]


def test_damaged_rows_do_not_prevent_an_explanation() -> None:
    broken = [
        HistoryRow(
            row.revision, row.model, row.kind, row.number, row.time, row.actor, row.alias,
            '{"required": 1' if row.kind in {"approved", "gated", "rollout_step"} else row.detail,
            row.digest,
        )
        for row in ROWS
    ]  # fmt: skip
    found = provenance_of(broken, _answer())
    assert [one.counted for one in found.approvals] == [False, False]
