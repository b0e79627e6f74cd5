"""The state of a model as a pure function of its rows."""

from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from registry.errors import DamagedRow
from registry.history.lifecycle import LifecycleState, alias_at, reduce_rows
from registry.history.rows import (
    KINDS,
    ApprovalRule,
    ApprovalSubject,
    GateResult,
    HistoryRow,
    Registration,
    ReleasePolicy,
    RolloutStep,
    encode_detail,
)
from registry.limits import LimitChange

DAY = 86_400_000_000
_DETAILS: dict[str, st.SearchStrategy[Any]] = {
    "registered": st.just(Registration()),
    "gated": st.builds(
        GateResult, verdict=st.sampled_from(["passed", "failed"]), policy=st.integers(0, 9)
    ),
    "release_policy": st.just(ReleasePolicy({"finite": {}}, {"champion": ApprovalRule()})),
    "requested": st.just(ApprovalSubject()),
    "approved": st.builds(ApprovalSubject, report=st.sampled_from(["", "r"]), policy=st.just(3)),
    "limits": st.just(LimitChange(max_requests=3)),
    "rollout_step": st.builds(
        RolloutStep,
        rollout=st.sampled_from(["a", "b"]),
        action=st.sampled_from(["start", "step", "step", "pause", "resume", "abort"]),
        step=st.integers(0, 3),
        steps=st.just([0.05, 0.5, 1.0]),
    ),
}


@st.composite
def _rows(draw: st.DrawFn) -> list[HistoryRow]:
    kinds = draw(st.lists(st.sampled_from([*sorted(KINDS), "quarantined"]), max_size=30))
    rows = []
    for revision, kind in enumerate(kinds, 1):
        number = draw(st.sampled_from(["1", "2", "3"]))
        detail = _DETAILS.get(kind)
        rows.append(
            HistoryRow(
                revision, "flights", kind, number, revision, draw(st.sampled_from(["ann", "bob"])),
                alias=draw(st.sampled_from(["champion", "challenger"])),
                digest=f"d{number}",
                detail="" if detail is None else encode_detail(draw(detail)),
                evidence=draw(st.sampled_from(["", "r"])),
            )
        )  # fmt: skip
    return rows


def _refused_before() -> list[HistoryRow]:
    """A rollout of content that was barred before it was registered."""
    start = RolloutStep("a", "start", 0, [0.05, 0.5, 1.0])
    kinds: list[tuple[str, str, str]] = [
        ("barred", "1", ""), ("registered", "1", ""), ("promoted", "2", ""),
        ("rollout_step", "1", encode_detail(start)),
    ]  # fmt: skip
    return [
        HistoryRow(
            revision, "flights", kind, number, revision, "ann",
            alias="champion", digest=f"d{number}", detail=detail,
        )
        for revision, (kind, number, detail) in enumerate(kinds, 1)
    ]  # fmt: skip


@given(_rows())
@example(_refused_before())
def test_every_prefix_gives_a_legal_state(rows: list[HistoryRow]) -> None:
    for end in range(len(rows) + 1):
        _require_legal(reduce_rows(rows[:end]), rows[:end])


def _require_legal(state: LifecycleState, rows: list[HistoryRow]) -> None:
    assert state.revision == len(rows)
    for alias, number in state.aliases.items():
        last = alias_at(rows, alias, state.revision)
        assert last is not None
        assert last.number == number
    for number, registered in state.registered.items():
        refused = registered.digest in state.rejected.keys() | state.barred.keys()
        assert not refused or state.refusal("champion", number, state.revision)
        for row in state.approvals("champion", number, state.revision):
            assert registered.digest not in state.rejected
            assert row.actor != registered.actor
    for alias, rollout in state.rollouts.items():
        assert rollout.share in {0.0, *rollout.steps}
        assert rollout.active == (rollout.share > 0)
        if rollout.active:
            assert state.aliases[alias] == rollout.before != rollout.number
            assert state.digest_of(rollout.number) not in state.rejected.keys() | state.barred
    state.desired(["1", "2", "3"])


@given(_rows(), st.integers(0, 30))
def test_a_replay_gives_the_same_state(rows: list[HistoryRow], end: int) -> None:
    state = reduce_rows(rows[:end])
    for row in rows[end:]:
        state.include(row)
    assert state == reduce_rows(rows)


@given(_rows())
def test_rows_of_unknown_kinds_are_ignored(rows: list[HistoryRow]) -> None:
    known = [row for row in rows if row.kind in KINDS]
    state, expected = reduce_rows(rows), reduce_rows(known)
    state.unknown, state.revision = None, expected.revision
    assert state == expected


def _release(*more: tuple[str, str, dict[str, Any]]) -> LifecycleState:
    """A model with a policy, version 1 registered by ann, and further rows."""
    policy = ReleasePolicy({"finite": {}}, {"champion": ApprovalRule()})
    rows = [
        HistoryRow(1, "m", "release_policy", "", 0, "rik", detail=encode_detail(policy)),
        HistoryRow(2, "m", "registered", "1", 0, "ann", digest="d1"),
    ]
    for kind, actor, fields in more:
        rows.append(
            HistoryRow(len(rows) + 1, "m", kind, "1", 0, actor, **({"digest": "d1"} | fields))
        )
    return reduce_rows(rows)


_PASSED = ("gated", "ci", {"evidence": "r1", "detail": encode_detail(GateResult("passed", 1))})
_SUBJECT = encode_detail(ApprovalSubject(report="r1", policy=1))
_REQUEST = ("requested", "cyd", {"alias": "champion", "detail": _SUBJECT})


def _approval(actor: str, detail: str = _SUBJECT) -> tuple[str, str, dict[str, Any]]:
    return "approved", actor, {"alias": "champion", "detail": detail}


def test_a_champion_with_a_policy_needs_gates_and_an_approval() -> None:
    assert "not gated" in _release().refusal("champion", "1", 0)
    assert "0 of 1 approvals" in _release(_PASSED).refusal("champion", "1", 0)
    assert not _release(_PASSED, _REQUEST, _approval("bob")).refusal("champion", "1", 0)
    assert not _release().refusal("challenger", "1", 0)


def test_neither_registrant_nor_requester_approves() -> None:
    for actor in ("ann", "cyd"):
        state = _release(_PASSED, _REQUEST, _approval(actor))
        assert state.approvals("champion", "1", 0) == []


def test_a_later_gate_run_makes_an_approval_stale() -> None:
    again = ("gated", "ci", {"evidence": "r2", "detail": encode_detail(GateResult("passed", 1))})
    state = _release(_PASSED, _approval("bob"), again)
    assert "0 of 1" in state.refusal("champion", "1", 0)


def test_an_approval_expires() -> None:
    state = _release(_PASSED, _approval("bob"))
    assert not state.refusal("champion", "1", 29 * DAY)
    assert "0 of 1" in state.refusal("champion", "1", 31 * DAY)


def test_a_rejection_is_final_for_the_digest() -> None:
    state = _release(_PASSED, ("rejected", "rik", {"why": "unfair"}), _approval("bob"))
    assert "rejected by rik in revision 4: unfair" in state.refusal("champion", "1", 0)


def test_a_gate_run_that_did_not_pass_is_named() -> None:
    detail = encode_detail(GateResult("not enough data", 1))
    state = _release(("gated", "ci", {"detail": detail}))
    assert state.refusal("champion", "1", 0) == "its gates: not enough data"


def test_the_release_policy_is_written_in_the_terms_of_its_file() -> None:
    policy = ReleasePolicy(approvals={"champion": ApprovalRule(2, ["risk"])})
    assert msgspec.json.decode(encode_detail(policy)) == {
        "approvals": {"champion": {"required": 2, "from": ["risk"]}}
    }


def test_an_alias_can_be_resolved_at_a_past_time() -> None:
    rows = [
        HistoryRow(1, "m", "promoted", "1", 10, "ann", "champion"),
        HistoryRow(2, "m", "promoted", "2", 20, "bob", "champion"),
        HistoryRow(3, "m", "rolled_back", "1", 30, "cyd", "champion"),
    ]
    found = [alias_at(rows, "champion", time) for time in (9, 10, 25, 99)]
    assert [row and row.revision for row in found] == [None, 1, 2, 3]


def test_barred_content_is_not_served_even_without_a_policy() -> None:
    rows = [HistoryRow(n, "m", "registered", str(n), 0, "ann", digest=f"d{n}") for n in (1, 2)] + [
        HistoryRow(3, "m", "barred", "2", 0, "bob", digest="d2", why="slow")
    ]
    expected = {"2": "its content was barred by bob in revision 3: slow"}
    assert reduce_rows(rows).desired(["1", "2"]).candidates == expected
    free = HistoryRow(4, "m", "promoted", "2", 0, "bob", "challenger")
    assert reduce_rows([*rows, free]).desired(["1", "2"]).candidates == expected
    named = HistoryRow(4, "m", "promoted", "2", 0, "bob", "champion")
    assert reduce_rows([*rows, named]).desired(["1", "2"]).candidates == {}


def _missing(champion: str, *, replaced: bool) -> str:
    """Why version 1 misses gates after a run that compared it with a champion."""
    detail = encode_detail(GateResult("passed", 1, champion=champion))
    state = _release(("gated", "ci", {"detail": detail}))
    if replaced:
        state.include(HistoryRow(5, "m", "registered", "2", 0, "ann", digest="d2"))
        state.include(HistoryRow(6, "m", "promoted", "2", 0, "ann", alias="champion"))
    return state.missing_gates("d1")


def test_gates_that_compared_with_another_champion_do_not_count() -> None:
    assert not _missing("none", replaced=False)
    assert not _missing("", replaced=True)
    assert not _missing("d2", replaced=True)
    assert "another champion" in _missing("none", replaced=True)
    assert "another champion" in _missing("d2", replaced=False)


def test_a_gate_run_that_cannot_be_read_has_not_passed() -> None:
    for detail in ("{", '{"verdict":"fine"}', '{"verdict":1}'):
        state = _release(("gated", "ci", {"detail": detail}))
        assert "cannot be read" in state.refusal("champion", "1", 0)


@given(_rows(), st.sampled_from(["{", "[]", "1", '{"gates":1,"policy":"x","files":3}', "null"]))
def test_an_edited_detail_is_an_error_that_names_its_row(
    rows: list[HistoryRow], detail: str
) -> None:
    edited = [msgspec.structs.replace(row, detail=detail) for row in rows]
    state = reduce_rows(edited)
    for number in ("1", "2", "3"):
        with suppress(DamagedRow):
            state.desired([number])
        with suppress(DamagedRow):
            assert "passed" not in state.missing_gates(f"d{number}")
