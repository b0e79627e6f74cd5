"""Find the rows of the registry's history that explain why a version answered. Pure."""

from collections.abc import Sequence

import msgspec

from registry.errors import DamagedRow
from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.history.rows import ALIAS_KINDS, GateResult, HistoryRow, RolloutStep

_LATER = frozenset({"rolled_back", "barred", "unbarred", "rejected"})


class StatedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The version, alias and rollout of an answer, as stated in its event."""

    number: str
    received: int  # microseconds since the epoch
    digest: str = ""
    alias: str = ""  # alias that the request named; "" if it named a version number
    revision: int = 0  # revision of the registry at the time of the answer; 0 if unknown
    rollout: str = ""  # id of the rollout
    by_rollout: bool = False  # whether the rollout's version answered


class Approval(msgspec.Struct, frozen=True):
    """An approval of the version before the answer."""

    row: HistoryRow
    counted: bool  # whether the approval was valid when the alias was pointed at the version


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """History rows that explain an answer; None or empty if there are none."""

    registered: HistoryRow | None = None
    pointed: HistoryRow | None = None  # promotion, rollback or rollout of the version
    policy: HistoryRow | None = None  # release policy when the alias was pointed at the version
    gated: HistoryRow | None = None  # gate run that was valid at that time
    verdict: str = ""  # verdict of the gate run
    gates: dict[str, str] = {}  # gate name -> outcome
    requested: HistoryRow | None = None
    approvals: list[Approval] = []
    later: list[HistoryRow] = []  # bars, rejections and rollbacks after the answer
    differences: list[str] = []  # differences between the event and the history


def provenance_of(rows: Sequence[HistoryRow], answer: StatedAnswer) -> Provenance:
    """Return the provenance of an answer; `rows` are the model's history in order."""
    earlier_rows = [row for row in rows if _before(row, answer)]
    state = reduce_rows(earlier_rows)
    registered = state.registered.get(answer.number)
    digest = answer.digest or (registered.digest if registered else "")
    pointed = _pointed(earlier_rows, answer)
    # Gates and approvals were checked before the row that points the alias at the version.
    checked = state if pointed is None else reduce_rows(_until(earlier_rows, pointed))
    gated = checked.gated.get(digest)
    result = _result(gated)
    alias = pointed.alias if pointed is not None else answer.alias
    return Provenance(
        registered=registered,
        pointed=pointed,
        policy=checked.policy_row,
        gated=gated,
        verdict=result.verdict if result is not None else "cannot be read" if gated else "",
        gates=result.gates if result is not None else {},
        requested=checked.requested.get((alias, digest)),
        approvals=_approvals(checked, alias, answer.number, digest, pointed),
        later=[
            row
            for row in rows
            if not _before(row, answer) and row.kind in _LATER and _about(row, answer, digest)
        ],
        differences=list(_differences(registered, pointed, answer)),
    )


def _before(row: HistoryRow, answer: StatedAnswer) -> bool:
    return row.revision <= answer.revision if answer.revision else row.time <= answer.received


def _until(rows: Sequence[HistoryRow], last: HistoryRow) -> list[HistoryRow]:
    return [row for row in rows if row.revision < last.revision]


def _pointed(rows: Sequence[HistoryRow], answer: StatedAnswer) -> HistoryRow | None:
    """Return the latest row that points the alias at the version."""
    if not answer.alias:
        return None
    for row in reversed(rows):
        if row.alias != answer.alias or row.number != answer.number:
            continue
        by_rollout = row.kind == "rollout_step" and _starts(row, answer.rollout)
        if by_rollout if answer.by_rollout else row.kind in ALIAS_KINDS:
            return row
    return None


def _starts(row: HistoryRow, rollout: str) -> bool:
    try:
        change = row.decode(RolloutStep)
    except DamagedRow:
        return False
    return change.rollout == rollout and change.action == "start"


def _result(gated: HistoryRow | None) -> GateResult | None:
    try:
        return None if gated is None else gated.decode(GateResult)
    except DamagedRow:
        return None


def _approvals(
    state: LifecycleState, alias: str, number: str, digest: str, pointed: HistoryRow | None
) -> list[Approval]:
    rows = state.approved.get((alias, digest), [])
    try:
        counted = state.approvals(alias, number, pointed.time) if pointed is not None else []
    except DamagedRow:
        counted = []
    return [Approval(row, row in counted) for row in rows]


def _about(row: HistoryRow, answer: StatedAnswer, digest: str) -> bool:
    if row.kind == "rolled_back":
        return row.alias == answer.alias and row.number != answer.number
    return bool(digest) and row.digest == digest


def _differences(
    registered: HistoryRow | None, pointed: HistoryRow | None, answer: StatedAnswer
) -> list[str]:
    if registered is None:
        return [f"no row before the answer registers version {answer.number}"]
    differences = []
    if registered.digest and answer.digest and registered.digest != answer.digest:
        differences.append(
            f"revision {registered.revision} registered digest {registered.digest[:12]}..., "
            f"but {answer.digest[:12]}... answered"
        )
    if answer.alias and pointed is None:
        differences.append(
            f"no row before the answer points {answer.alias} at version {answer.number}"
        )
    return differences
