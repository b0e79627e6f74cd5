"""The progress of a retraining request: its first open step and the waiting time."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.presenter.retrain_loop import (
    NAMES,
    RequestFacts,
    RetrainLoop,
    loop_wait,
    retrain_loop,
)
from monitoring.results import Delivery, RetrainRequest
from monitoring.webhooks.body import read_retrain_request
from registry.history.lifecycle import reduce_rows
from registry.history.rows import (
    ApprovalRule,
    ApprovalSubject,
    GateResult,
    HistoryRow,
    Registration,
    ReleasePolicy,
    RolloutStep,
    encode_detail,
)
from tests.monitoring.web.conftest import a_delivery, an_alarm

HOUR = 3_600_000_000
DELIVERY = a_delivery("rr_1", state="delivered", attempts=1)
ASKED = DELIVERY.created
POLICY = ReleasePolicy(gates={"small": {"kind": "size"}}, approvals={"champion": ApprovalRule()})
START = RolloutStep(rollout="r", action="start", steps=[0.25, 1.0], bake_s=60)


def row(kind: str, hours: float, number: str = "2", **fields: Any) -> HistoryRow:
    """Return a row so many hours after the request."""
    detail = fields.pop("detail", None)
    return HistoryRow(
        0,
        "flights",
        kind,
        number,
        ASKED + int(hours * HOUR),
        fields.pop("actor", "ann"),
        digest=f"d{number}",
        detail=encode_detail(detail) if detail is not None else "",
        **fields,
    )


BEFORE = [
    row("registered", -9, "1", detail=Registration()),
    row("promoted", -9, "1", alias="champion"),
]
POLICY_ROW = row("release_policy", -8, "", detail=POLICY)
ANSWER = row("registered", 3, evidence="rr_1")
GATED = row("gated", 4, evidence="report", detail=GateResult("passed", policy=3, champion="d1"))
SUBJECT = ApprovalSubject("report", "1", 3)
APPROVED = row("approved", 5, alias="champion", actor="bob", detail=SUBJECT)
ROLLOUT = row("rollout_step", 6, alias="champion", detail=START)
PROMOTED = row("promoted", 7, alias="champion")


def loop(
    *rows: HistoryRow,
    hours: float = 10,
    delivery: Delivery = DELIVERY,
    replaced: bool = False,
    alarm: str = "firing",
) -> RetrainLoop:
    request = read_retrain_request(delivery.body)
    assert isinstance(request, RetrainRequest)
    facts = RequestFacts(delivery, request, an_alarm(alarm, "drift", 24, 39), replaced)
    history = [
        msgspec.structs.replace(one, revision=n) for n, one in enumerate([*BEFORE, *rows], 1)
    ]
    return retrain_loop(facts, reduce_rows(history), ASKED + int(hours * HOUR), 48 * HOUR)


def states(found: RetrainLoop) -> dict[str, str]:
    assert tuple(step.name for step in found.steps) == NAMES
    return {step.name: step.state for step in found.steps}


@pytest.mark.parametrize(
    ("rows", "awaited", "since"),
    [
        ([POLICY_ROW], "candidate", 0),
        ([POLICY_ROW, ANSWER], "gates", 3),
        ([POLICY_ROW, ANSWER, GATED], "approval", 4),
        ([POLICY_ROW, ANSWER, GATED, APPROVED], "rollout", 4),
        ([POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT], "rollout", 6),
        ([POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT, PROMOTED], "", 0),
        ([ANSWER], "rollout", 3),
        ([ANSWER, PROMOTED], "", 0),
    ],
)
def test_loop_awaits_its_first_open_step(
    rows: list[HistoryRow], awaited: str, since: float
) -> None:
    found = loop(*rows)
    assert (found.awaited, found.candidate) == (awaited, "2" if ANSWER in rows else "")
    assert found.since == (ASKED + since * HOUR if awaited else 0)
    assert found.waited_s == ((10 - since) * 3600 if awaited else 0)
    assert (states(found)["now"] == "done") == (PROMOTED in rows)
    assert not found.overdue


def test_loop_steps_and_wait_are_described() -> None:
    found = loop(POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT)
    assert [step.text for step in found.steps] == [
        "drift, firing",
        "delivered, 15 Jul 2013, 00:00 UTC",
        "version 2",
        "passed",
        "by bob",
        "25%, running",
        "version 1 is champion",
    ]
    assert loop_wait(found) == "awaits rollout for 4 h"
    assert loop_wait(loop(hours=49)) == "awaits a candidate for 2 days, overdue"
    assert loop_wait(loop(ANSWER, PROMOTED)) == ""


def test_passed_steps_stay_shown_after_the_next_rollout_begins() -> None:
    later = START.rollout + "2"
    next_rollout = row(
        "rollout_step",
        9,
        "3",
        alias="champion",
        detail=msgspec.structs.replace(START, rollout=later),
    )
    released = [POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT, PROMOTED]
    for rows in (released, [*released, row("registered", 8, "3"), next_rollout]):
        steps = {step.name: step.text for step in loop(*rows).steps}
        assert (steps["approval"], steps["rollout"]) == ("by bob", "completed")


def test_only_an_unanswered_delivered_request_is_overdue() -> None:
    pending = a_delivery("rr_1")
    dead = a_delivery("rr_1", state="dead", last_error="410: no")
    assert not loop(hours=48).overdue
    assert loop(hours=48.1).overdue
    assert not loop(hours=99, delivery=pending).overdue
    assert loop(hours=99, delivery=pending).awaited == "request"
    assert states(loop(hours=99, delivery=dead))["request"] == "failed"
    assert not loop(ANSWER, hours=99).overdue


@pytest.mark.parametrize(
    "closed",
    [
        lambda: loop(hours=99, replaced=True),
        lambda: loop(hours=99, alarm="resolved"),
        lambda: loop(
            row("registered", 1, "3"), row("promoted", 1, "3", alias="champion"), hours=99
        ),
    ],
)
def test_superseded_or_resolved_request_is_not_awaited(
    closed: Callable[[], RetrainLoop],
) -> None:
    found = closed()
    assert (states(found)["candidate"], found.awaited, found.overdue) == ("ended", "", False)


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ([POLICY_ROW, ANSWER, row("gated", 4, detail=GateResult("failed", policy=3))], "gates"),
        ([POLICY_ROW, ANSWER, row("rejected", 4, why="no")], "gates"),
        (
            [ANSWER, ROLLOUT, row("rollout_step", 7, alias="champion",
             detail=RolloutStep(rollout="r", action="abort"))],
            "rollout",
        ),
        ([ANSWER, PROMOTED, row("barred", 8, why="slow")], "rollout"),
    ],
)  # fmt: skip
def test_loop_ends_at_the_step_that_its_candidate_failed(
    rows: list[HistoryRow], failed: str
) -> None:
    found = loop(*rows)
    assert states(found)[failed] == "failed"
    assert found.awaited == ""


LATER_CHAMPION = [
    row("registered", 8, "3", evidence="rr_2"),
    row("promoted", 9, "3", alias="champion"),
]


def test_expired_rollout_ends_its_loop_although_the_champion_changed() -> None:
    expired = row(
        "rollout_step", 7, alias="champion", why="nobody resumed it",
        detail=RolloutStep(rollout="r", action="abort"),
    )  # fmt: skip
    rows = [POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT, expired, *LATER_CHAMPION]
    steps = {step.name: step for step in loop(*rows, replaced=True).steps}
    assert (steps["gates"].state, steps["gates"].text) == ("done", "passed")
    assert (steps["approval"].state, steps["approval"].text) == ("done", "by bob")
    assert steps["rollout"].state == "failed"
    assert "nobody resumed it" in steps["rollout"].text
    assert loop(*rows, replaced=True).awaited == ""


def test_gates_against_an_earlier_champion_are_awaited_until_superseded() -> None:
    rows = [POLICY_ROW, ANSWER, GATED, *LATER_CHAMPION]
    assert loop(*rows).awaited == "gates"
    replaced = loop(*rows, replaced=True)
    assert (states(replaced)["gates"], replaced.awaited) == ("ended", "")


def test_later_candidate_replaces_a_failed_candidate() -> None:
    failed = row("gated", 4, detail=GateResult("failed", policy=3))
    again = row("registered", 5, "3", evidence="rr_1")
    found = loop(POLICY_ROW, ANSWER, failed, again)
    assert (found.candidate, found.awaited) == ("3", "gates")


def test_loop_without_the_registry_is_neither_awaited_nor_overdue() -> None:
    request = read_retrain_request(DELIVERY.body)
    assert request is not None
    facts = RequestFacts(DELIVERY, request, None, replaced=False)
    found = retrain_loop(facts, None, ASKED + 99 * HOUR, 48 * HOUR)
    assert (found.awaited, found.overdue, found.candidate) == ("", False, "")


@given(
    st.lists(
        st.sampled_from([POLICY_ROW, ANSWER, GATED, APPROVED, ROLLOUT, PROMOTED]), max_size=12
    ),
    st.floats(0, 99),
)
def test_at_most_one_step_is_open_for_any_history(rows: list[HistoryRow], hours: float) -> None:
    found = loop(*rows, hours=hours)
    kinds = list(states(found).values())[:-1]
    open_steps = [n for n, kind in enumerate(kinds) if kind not in {"done", "not needed"}]
    assert all(kind == "later" for kind in kinds[open_steps[0] + 1 :]) if open_steps else True
    assert (found.awaited != "") == ("awaited" in kinds)
    assert found.waited_s >= 0
