"""Rows of the registry's history, and the chain of hashes over them.

A row records one change with actor, time, reason and evidence. `History.append` appends rows, for
example the result of a gate run:

    history.append(model, lambda state: [
        HistoryRow(
            0, model, "gated", number, now, actor,
            digest=state.digest_of(number), evidence=report_digest, why=why,
            detail=encode_detail(GateResult(verdict="passed", policy=state.policy_revision)),
        )
    ])

Other kinds are appended in the same way; the structs below define their `detail`. The append sets
the revision.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from registry.errors import DamagedRow
from registry.limits import LimitChange

KINDS = frozenset({
    "registered",  # number, digest; detail: Registration; evidence: a retraining request's id
    "gated",  # number, digest; evidence: digest of the report; detail: GateResult
    "release_policy",  # detail: ReleasePolicy, which replaces the previous policy
    "requested",  # number, alias, digest; detail: ApprovalSubject
    "approved",  # number, alias, digest; detail: ApprovalSubject
    "rejected",  # number, digest; final for the digest
    "promoted",  # number, alias
    "rolled_back",  # number and alias: the version to which the alias points again
    "barred",  # number, digest; no alias can be pointed at the digest
    "unbarred",  # number, digest; ends the bar
    "loaded",  # number, or "" for every version
    "unloaded",  # number, or "" for every version
    "limits",  # number, or "" for every version; detail: LimitChange
    "policy",  # number, or "" for every version; detail: policies.PolicyChange (monitoring)
    "baseline",  # number; detail: baselines.BaselineRecord
    "rollout_step",  # number, alias; detail: RolloutStep
    "shadow",  # number, alias; detail: ShadowChange
    "schedule",  # detail: ScheduleChange
    "description",  # detail: ModelDescription, which replaces the previous description
    "verdict",  # number, alias; evidence: id of the rollout; detail: RolloutVerdict
})  # fmt: skip
ALIAS_KINDS = frozenset({"promoted", "rolled_back"})
CHAMPION = "champion"  # the alias of requests that name no version
PROVISION = "provision"  # evidence of promotions that `driftline provision` can replace
NO_CHAMPION = "none"  # champion of a gate run for a model without a champion
FIRST = "0" * 64  # chain before the first row

GateVerdict = Literal["passed", "failed", "not enough data"]
StepAction = Literal["start", "step", "pause", "resume", "abort"]
VerdictMetric = Literal["errors", "latency", "outputs", "labels"]
CatchUp = Literal["latest", "none"]  # which due times are made up if no monitor ran then

Detail = TypeVar("Detail", bound=msgspec.Struct)


class HistoryRow(msgspec.Struct, frozen=True):
    """One change of the registry."""

    revision: int
    model: str
    kind: str  # one of KINDS, or a kind of a newer release
    number: str  # number of the version; "" for all versions of the model, including future ones
    time: int  # microseconds since the epoch
    actor: str
    alias: str = ""
    detail: str = ""  # JSON of the struct that belongs to the kind
    digest: str = ""  # digest of the version's content
    why: str = ""
    evidence: str = ""  # digest of a report, or an id
    chain: str = ""  # SHA-256 over the previous chain (in hex) and `row_bytes`; set by the append

    def limits(self) -> LimitChange:
        """Decode the detail of a row of kind `limits`."""
        return self.decode(LimitChange)

    def decode(self, kind: type[Detail]) -> Detail:
        """Decode the detail, or return the defaults if it is empty. Raises DamagedRow."""
        try:
            return msgspec.json.decode(self.detail or "{}", type=kind)
        except msgspec.DecodeError as error:
            raise DamagedRow(
                f"model {self.model!r}: revision {self.revision} ({self.kind.replace('_', ' ')}) "
                f"cannot be read: {error}; it was edited, or a newer release wrote it; see "
                "driftline audit verify"
            ) from None


_TYPES = tuple(HistoryRow.__annotations__.values())
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999


def read_row(record: Sequence[object]) -> HistoryRow:
    """Return the row of a database record, whose columns are in the table's order.

    An edit of the SQLite file can leave values of wrong types. They become text or 0, so that the
    other values can be read. The chain reveals such an edit.
    """
    if tuple(map(type, record)) != _TYPES:
        record = [
            value if isinstance(value, kind) else _replacement(value, kind)
            for value, kind in zip(record, _TYPES, strict=True)
        ]
    row = HistoryRow(*record)  # type: ignore[arg-type]
    if not _FIRST_TIME <= row.time <= _LAST_TIME:
        return replace(row, time=0)
    return row


def _replacement(value: object, kind: type) -> object:
    if kind is int:
        return 0
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """The stored files of a version; empty in rows of earlier releases."""

    files: dict[str, str] = {}  # name -> SHA-256
    trained_by: str = ""  # actor that the manifest's lineage states as the trainer


class GateResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict of a gate run, and the outcome of each gate."""

    verdict: GateVerdict
    policy: int = 0  # revision of the release policy during the run
    gates: dict[str, str] = {}  # gate name -> outcome
    champion: str = ""  # champion's digest, NO_CHAMPION, or "" if no gate compared with it


class VerdictPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policy of the monitor's verdicts on a rollout."""

    false_rollback: float = 0.01  # probability of rolling back a version that is not worse
    false_promotion: float = 0.05  # probability of advancing a version that is worse than allowed
    tolerate: float = 1.25  # allowed rate of bad keys, as a multiple of the old version's rate
    floor: float = 0.01  # rate of bad keys that is always allowed
    latency_ms: float = 0.0  # slower answers are bad; 0: twice the old version's 95th percentile
    patience: float = 6.0  # bake times without a result after which the rollout pauses
    expire: float = 6.0  # bake times after which a rollout paused for that reason ends
    metrics: list[VerdictMetric] = []  # required metrics; empty for all metrics with data


class RolloutPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The steps in which a version takes over the requests of an alias."""

    steps: list[float] = msgspec.field(
        default_factory=lambda: [0.05, 0.25, 0.5, 1.0]
    )  # shares of the routing keys
    bake_s: float = 600.0  # shortest duration of a step in seconds
    key_feature: str = ""  # feature whose value is the routing key
    judge: bool = True  # whether the monitor decides; False if people decide
    verdict: VerdictPolicy = VerdictPolicy()


class RolloutStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a rollout."""

    rollout: str  # id of the rollout
    action: StepAction
    step: int = 0  # index of the step that begins
    # Only with action `start`; the values apply until the rollout ends.
    steps: list[float] = []  # shares of the routing keys
    bake_s: float = 0.0  # shortest duration of a step in seconds
    feature: str = ""  # feature whose value is the routing key
    policy: VerdictPolicy | None = None  # None if people decide


class ShadowChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """The start or end of a shadow."""

    shadow: str  # id of the shadow
    action: Literal["start", "stop"]
    share: float = 1.0  # share of the alias's requests


class ScheduleChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of a model's retraining schedule."""

    action: Literal["set", "remove"]
    cron: str = ""  # cron expression of five fields
    timezone: str = "UTC"  # name in the IANA database
    catch_up: CatchUp = "latest"


class ModelDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """The owner and tags of a model."""

    owner: str = ""  # person or team
    tags: list[str] = []  # sorted


class RolloutVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The monitor's verdict on a rollout, and its evidence."""

    verdict: Literal["promote", "roll back", "pause", "expire"]
    step: int = 0
    metric: str = ""  # metric that decided
    counts: dict[str, list[int]] = {}  # metric -> bad and all keys of the new, then the old version


class ApprovalRule(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"roles": "from"},
):
    """The number of approvals that an alias needs, and the roles that can approve."""

    required: Annotated[int, msgspec.Meta(ge=1)] = 1
    roles: list[str] = []  # empty for everybody except registrant and requester
    expire_days: float = 30.0


class ReleasePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The requirements for a version before a protected alias can be pointed at it."""

    gates: dict[str, Any] = {}  # name -> unparsed fields, see gates/specification.py
    approvals: dict[str, ApprovalRule] = {}  # keyed by alias
    on_register: Literal["", "run"] = ""
    on_approve: Literal["", "rollout"] = ""
    rollout: RolloutPlan = RolloutPlan()  # rollout that an approval starts


class ApprovalSubject(msgspec.Struct, frozen=True, omit_defaults=True):
    """The subject of a request or approval; if a field changes, the approval is stale."""

    report: str = ""  # digest of the gate report
    replaces: str = ""  # version to which the alias pointed
    policy: int = 0  # revision of the release policy


def encode_detail(detail: msgspec.Struct) -> str:
    """Encode the struct that belongs to a row's kind."""
    return msgspec.json.encode(detail).decode()


def row_bytes(row: HistoryRow) -> bytes:
    """Return the bytes of a row that the chain covers, a JSON array of its columns."""
    return msgspec.json.encode([
        row.revision, row.model, row.kind, row.alias, row.number, row.time, row.actor,
        row.digest, row.why, row.evidence, row.detail,
    ])  # fmt: skip


def next_chain(before: str, row: HistoryRow) -> str:
    """Return the chain after a row, in hex."""
    return hashlib.sha256(before.encode() + row_bytes(row)).hexdigest()
