"""Rows of the registry's history: one kind for each fact, and the chain of hashes over them.

A row is a fact with actor, time, reason and evidence. It is appended by `History.append`, for
example for the result of a gate run:

    history.append(model, lambda state: [
        HistoryRow(
            0, model, "gated", number, now, actor,
            digest=state.digest_of(number), evidence=report_digest, why=why,
            detail=encode_detail(GateResult(verdict="passed", policy=state.policy_revision)),
        )
    ])

`release_policy`, `requested`, `approved` and `rejected` are appended the same way; the structs
below define their `detail`. The revision is set by the append.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from registry.errors import DamagedRow
from registry.limits import LimitChange

KINDS = frozenset({
    "registered",  # number, digest; detail: Registration; evidence: request that it answers, or ""
    "gated",  # number, digest; evidence: digest of the report; detail: GateResult
    "release_policy",  # detail: ReleasePolicy; the one before it ends
    "requested",  # number, alias, digest; detail: ApprovalSubject
    "approved",  # number, alias, digest; detail: ApprovalSubject
    "rejected",  # number, digest: final for the digest
    "promoted",  # number, alias
    "rolled_back",  # number, alias: the version that the alias names again
    "barred",  # number, digest: no alias may be pointed at it
    "unbarred",  # number, digest: the bar ends
    "loaded",  # number, or "" for every version
    "unloaded",  # number, or "" for every version
    "limits",  # number, or "" for every version; detail: LimitChange
    "policy",  # number, or "" for every version; detail: policies.PolicyChange (monitoring)
    "baseline",  # number; detail: baselines.BaselineRecord
    "rollout_step",  # number, alias; detail: RolloutStep
    "shadow",  # number, alias; detail: ShadowChange
    "schedule",  # detail: ScheduleChange
    "description",  # detail: ModelDescription, which replaces the one before
    "verdict",  # number, alias; evidence: id of the rollout; detail: RolloutVerdict
})  # fmt: skip
ALIAS_KINDS = frozenset({"promoted", "rolled_back"})
CHAMPION = "champion"  # the alias of requests that name no version
PROVISION = "provision"  # evidence of promotions that `driftline provision` may replace
NO_CHAMPION = "none"  # stands for the champion in a comparison without one
FIRST = "0" * 64  # the chain before the first row

GateVerdict = Literal["passed", "failed", "not enough data"]
StepAction = Literal["start", "step", "pause", "resume", "abort"]
VerdictMetric = Literal["errors", "latency", "outputs", "labels"]
CatchUp = Literal["latest", "none"]  # what happens to instants that passed while no monitor ran

Detail = TypeVar("Detail", bound=msgspec.Struct)


class HistoryRow(msgspec.Struct, frozen=True):
    """One change of the registry."""

    revision: int
    model: str
    kind: str  # one of KINDS, or a newer release's
    number: str  # number of the version; "" for every version of the model, future ones too
    time: int  # microseconds since the epoch
    actor: str
    alias: str = ""
    detail: str = ""  # JSON of the struct that belongs to the kind
    digest: str = ""  # digest of the version's content
    why: str = ""
    evidence: str = ""  # what the fact rests on: the digest of a report, or an id
    chain: str = ""  # set by the append: SHA-256 over the chain before it (in hex) and its bytes

    def limits(self) -> LimitChange:
        """Decode the change that a row of kind `limits` holds."""
        return self.decode(LimitChange)

    def decode(self, kind: type[Detail]) -> Detail:
        """Decode the detail; a row without one has the defaults. Raises DamagedRow."""
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
    """Return the row of a record in the table's order.

    An edit of SQLite's file can leave values that no row has. They become text, or 0, so that the
    rest can be read; the chain does not agree with them.
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
    """Name the stored files of a version by their SHA-256; empty in rows of earlier releases."""

    files: dict[str, str] = {}
    trained_by: str = ""  # actor that the manifest's lineage names as the trainer


class GateResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of a gate run: of the whole, and of each gate by its name."""

    verdict: GateVerdict
    policy: int = 0  # revision of the release policy that it ran under
    gates: dict[str, str] = {}
    champion: str = ""  # digest that gates compared with, or NO_CHAMPION; empty: none did


class VerdictPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policy of the monitor's verdicts on a rollout."""

    false_rollback: float = 0.01  # probability to roll a version back that is not worse
    false_promotion: float = 0.05  # probability to advance a version that is worse than allowed
    tolerate: float = 1.25  # rate of bad keys that is allowed, as a multiple of the other version's
    floor: float = 0.01  # rate of bad keys that is always allowed
    latency_ms: float = 0.0  # slower answers are bad; 0: twice the 95th percentile of before
    patience: float = 6.0  # bake times without a result after which the rollout pauses
    expire: float = 6.0  # bake times after which a rollout that was so paused ends
    metrics: list[VerdictMetric] = []  # required metrics; empty: all that occur


class RolloutPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The steps in which a version takes over the requests of an alias."""

    steps: list[float] = msgspec.field(
        default_factory=lambda: [0.05, 0.25, 0.5, 1.0]
    )  # shares of the routing keys
    bake_s: float = 600.0  # seconds that a step lasts at least
    key_feature: str = ""  # whose value is the routing key
    judge: bool = True  # False: people decide, not the monitor
    verdict: VerdictPolicy = VerdictPolicy()


class RolloutStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a rollout, named by its id; `start` states what holds until its end."""

    rollout: str
    action: StepAction
    step: int = 0  # index of the step that begins
    steps: list[float] = []  # with `start`: shares of the routing keys
    bake_s: float = 0.0  # with `start`: seconds that a step lasts at least
    feature: str = ""  # with `start`: whose value is the routing key
    policy: VerdictPolicy | None = None  # with `start`: None, where people decide


class ShadowChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Start or end of a shadow, named by its id."""

    shadow: str
    action: Literal["start", "stop"]
    share: float = 1.0  # share of the alias's requests


class ScheduleChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's retraining schedule, or its end."""

    action: Literal["set", "remove"]
    cron: str = ""  # five fields
    timezone: str = "UTC"  # name in the IANA database
    catch_up: CatchUp = "latest"


class ModelDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """Owner and tags of a model."""

    owner: str = ""  # a person or a team
    tags: list[str] = []  # sorted


class RolloutVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The monitor's verdict on a rollout, and its evidence."""

    verdict: Literal["promote", "roll back", "pause", "expire"]
    step: int = 0
    metric: str = ""  # metric that decided
    counts: dict[str, list[int]] = {}  # bad and all keys: new, then old version


class ApprovalRule(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"roles": "from"},
):
    """The number of approvals that an alias needs, and the roles that may give them."""

    required: Annotated[int, msgspec.Meta(ge=1)] = 1
    roles: list[str] = []  # empty: anybody but registrant and requester
    expire_days: float = 30.0


class ReleasePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The requirements of a version before a protected alias can name it."""

    gates: dict[str, Any] = {}  # name -> as its author stated it; see gates/specification.py
    approvals: dict[str, ApprovalRule] = {}  # keyed by alias
    on_register: Literal["", "run"] = ""
    on_approve: Literal["", "rollout"] = ""
    rollout: RolloutPlan = RolloutPlan()  # rollout that an approval starts


class ApprovalSubject(msgspec.Struct, frozen=True, omit_defaults=True):
    """The subject of a request or an approval; if any of it changes, the approval is stale."""

    report: str = ""  # digest of the gate report
    replaces: str = ""  # version that the alias named
    policy: int = 0  # revision of the release policy


def encode_detail(detail: msgspec.Struct) -> str:
    """Encode the struct that belongs to a row's kind."""
    return msgspec.json.encode(detail).decode()


def row_bytes(row: HistoryRow) -> bytes:
    """Return the bytes of a row that the chain covers: a JSON array of its columns."""
    return msgspec.json.encode([
        row.revision, row.model, row.kind, row.alias, row.number, row.time, row.actor,
        row.digest, row.why, row.evidence, row.detail,
    ])  # fmt: skip


def next_chain(before: str, row: HistoryRow) -> str:
    """Return the chain after a row, in hex."""
    return hashlib.sha256(before.encode() + row_bytes(row)).hexdigest()
