"""The state of one model as a pure function of the rows of its history.

`reduce_rows` accepts any rows in the order of their revisions. A row that does not fit the state,
such as an approval of a rejected digest, has no effect. A row of an unknown kind is skipped; the
state contains the first such row.
"""

from collections.abc import Collection, Iterable
from typing import Self

import msgspec
from msgspec.structs import replace

from registry.errors import DamagedRow
from registry.history.actors import person_of
from registry.history.barred_digests import after_bar, refusing_row, why_refused
from registry.history.rollout_state import Rollout, after_alias, after_refusal, after_step
from registry.history.rows import (
    ALIAS_KINDS,
    KINDS,
    NO_CHAMPION,
    ApprovalSubject,
    GateResult,
    HistoryRow,
    ModelDescription,
    Registration,
    ReleasePolicy,
    ScheduleChange,
)
from registry.history.shadow_state import Shadow, after_answering, after_shadow, without
from registry.limits import LimitChange, sum_up
from telemetry.clock import DAY

_MOST_NAMED = 5  # gates that a message lists
NO_POLICY = ReleasePolicy()
NO_DESCRIPTION = ModelDescription()


class DesiredState(msgspec.Struct, frozen=True):
    """The versions of one model that must be served, and their limits."""

    aliases: dict[str, str]  # alias -> version number
    unloaded: set[str]  # numbers of the versions that must not be loaded
    limits: dict[str, LimitChange]  # number -> sum of the changes of its limits, if any
    candidates: dict[str, str] = {}  # number -> reason why the version cannot be champion
    refused: set[str] = set()  # numbers of candidates whose content was barred or rejected
    # Number -> revision of the version's latest promotion, rollback, load or unload, if any.
    operated: dict[str, int] = {}
    rollouts: dict[str, Rollout] = {}  # alias -> active rollout


class LifecycleState(msgspec.Struct):
    """The state of one model that follows from the history."""

    revision: int = 0  # revision of the model's latest row
    registered: dict[str, HistoryRow] = {}  # keyed by number
    answers: dict[str, HistoryRow] = {}  # retraining request -> latest version trained for it
    aliases: dict[str, str] = {}  # alias -> version number
    alias_changes: list[HistoryRow] = []  # promotions and rollbacks, oldest first
    loading: dict[str, HistoryRow] = {}  # number, or "" for all versions -> latest load or unload
    limit_changes: list[HistoryRow] = []
    baselines: list[HistoryRow] = []
    gated: dict[str, HistoryRow] = {}  # latest gate run by digest
    policy_row: HistoryRow | None = None  # the release policy
    requested: dict[tuple[str, str], HistoryRow] = {}  # latest request by alias and digest
    approved: dict[tuple[str, str], list[HistoryRow]] = {}  # keyed by alias and digest
    rejected: dict[str, HistoryRow] = {}  # keyed by digest
    barred: dict[str, HistoryRow] = {}  # keyed by digest
    rollouts: dict[str, Rollout] = {}  # alias -> latest rollout
    # Alias and number -> latest rollout that a later rollout of the alias has replaced.
    earlier_rollouts: dict[tuple[str, str], Rollout] = {}
    shadows: dict[str, Shadow] = {}  # number -> active shadow
    schedule: HistoryRow | None = None  # row of the retraining schedule
    description_row: HistoryRow | None = None  # row of owner and tags
    verdicts: list[HistoryRow] = []
    unknown: HistoryRow | None = None  # first row of a kind that this release does not know

    def include(self, row: HistoryRow) -> Self:
        """Apply the next row."""
        self.revision = row.revision
        if row.kind not in KINDS:
            self.unknown = self.unknown or row
            return self
        match row.kind:
            case "registered":
                self._include_registration(row)
            case "promoted" | "rolled_back":
                self.aliases[row.alias] = row.number
                self.alias_changes.append(row)
                after_alias(self.rollouts, row)
                after_answering(self.shadows, row)
            case "loaded" | "unloaded":
                self.loading[row.number] = row
            case "limits":
                self.limit_changes.append(row)
            case "baseline":
                self.baselines.append(row)
            case "release_policy":
                self.policy_row = row
            case "description":
                self.description_row = row
            case "schedule":
                self.schedule = current_schedule(row)
            case _:
                self._include_review(row)
        return self

    def _include_registration(self, row: HistoryRow) -> None:
        if row.evidence:
            self.answers[row.evidence] = row
        first = self.registered.setdefault(row.number, row)
        if not first.digest:  # from an earlier release; a later row adds the digest
            self.registered[row.number] = replace(first, digest=row.digest, detail=row.detail)
        self._refuse_known(row.number)

    def _include_review(self, row: HistoryRow) -> None:
        if row.kind == "gated":
            self.gated[row.digest] = row
        elif row.kind in {"rejected", "barred", "unbarred"}:
            if after_bar(self.rejected, self.barred, row):
                self._refuse(row)
        elif row.kind == "rollout_step":
            if (ended := self.rollouts.get(row.alias)) is not None and not ended.active:
                self.earlier_rollouts[row.alias, ended.number] = ended
            after_step(self.rollouts, self.aliases, row)
            self._refuse_known(row.number)
        elif row.kind == "shadow":
            after_shadow(self.shadows, row)
            self._refuse_known(row.number)
        elif row.kind == "verdict":
            self.verdicts.append(row)
        elif row.kind == "requested":
            self.requested[row.alias, row.digest] = row
        elif row.kind == "approved":
            self.approved.setdefault((row.alias, row.digest), []).append(row)

    def _refuse_known(self, number: str) -> None:
        """End a rollout or shadow that an edited history starts for refused content."""
        refusal = refusing_row(self.rejected, self.barred, self.digest_of(number))
        if refusal is not None:
            self._refuse(refusal)

    def _refuse(self, row: HistoryRow) -> None:
        numbers = self._numbers(row.digest)
        after_refusal(self.rollouts, numbers, row)
        without(self.shadows, numbers)

    def _numbers(self, digest: str) -> set[str]:
        return {number for number, row in self.registered.items() if row.digest == digest}

    def alias_row(self, alias: str) -> HistoryRow | None:
        """Return the row that pointed an alias at its version, or None if the alias is unset."""
        rows = (row for row in reversed(self.alias_changes) if row.alias == alias)
        return next(rows, None)

    def rolled_out_since(self, alias: str, revision: int) -> bool:
        """Return whether a rollout of an alias started or changed its step after a revision."""
        return alias in self.rollouts and self.rollouts[alias].revision > revision

    def digest_of(self, number: str) -> str:
        """Return the digest of a registered version, or "" if no row states it."""
        return self.registered[number].digest if number in self.registered else ""

    @property
    def description(self) -> ModelDescription:
        """Return owner and tags, which are empty if they are not set or cannot be read."""
        row = self.description_row
        return NO_DESCRIPTION if row is None else description_of(row)

    @property
    def policy(self) -> ReleasePolicy:
        """Return the release policy, which is empty if it is not set."""
        return self.policy_row.decode(ReleasePolicy) if self.policy_row else NO_POLICY

    @property
    def policy_revision(self) -> int:
        """Return the revision of the release policy, or 0 if it is not set."""
        return self.policy_row.revision if self.policy_row else 0

    def subject(self, alias: str, digest: str) -> ApprovalSubject:
        """Return the current subject of an approval of a digest for an alias."""
        report = self.gated[digest].evidence if digest in self.gated else ""
        return ApprovalSubject(report, self.aliases.get(alias, ""), self.policy_revision)

    def approvals(self, alias: str, number: str, now: int) -> list[HistoryRow]:
        """Return the valid approvals: not stale, not expired, and one per person.

        Approvals by the registrant and the requester are not valid (four-eyes principle).
        """
        digest = self.digest_of(number)
        rule = self.policy.approvals.get(alias)
        if not digest or rule is None or digest in self.rejected:
            return []
        involved = self.involved(alias, number)
        subject, oldest = self.subject(alias, digest), self.oldest_decision(alias, now)
        by_actor = {
            person_of(row.actor): row
            for row in self.approved.get((alias, digest), [])
            if person_of(row.actor) not in involved
            and row.time >= oldest
            and row.decode(ApprovalSubject) == subject
        }
        return list(by_actor.values())

    def oldest_decision(self, alias: str, now: int) -> float:
        """Return the time before which all requests and approvals for an alias have expired."""
        return now - self.policy.approvals[alias].expire_days * DAY

    def involved(self, alias: str, number: str) -> set[str]:
        """Return the people who cannot approve a version: registrants, trainer, last requester.

        There can be several registrants, if the same content has several numbers.
        """
        digest, actors = self.digest_of(number), set()
        for row in self.registered.values():
            if row.number == number or row.digest == digest:
                actors |= {row.actor, _trainer(row)}
        if (request := self.requested.get((alias, digest))) is not None:
            actors.add(request.actor)
        return {person_of(actor) for actor in actors - {""}}

    def cannot_approve(self, alias: str, number: str, actor: str, roles: Collection[str]) -> str:
        """Return why an actor with these roles cannot approve a version, or "" if they can."""
        if person_of(actor) in self.involved(alias, number):
            return (
                f"{actor} registered, trained or requested version {number}: expected the approval "
                "of another person"
            )
        allowed = self.policy.approvals[alias].roles
        if allowed and not set(allowed) & set(roles):
            return (
                f"expected an approval from {' or '.join(allowed)}; {actor} is in "
                f"{', '.join(sorted(roles)) or 'no role'}"
            )
        return ""

    def refusal(self, alias: str, number: str, now: int) -> str:
        """Return why an alias cannot be pointed at a version, or "" if it can."""
        digest = self.digest_of(number)
        if refused := why_refused(self.rejected, self.barred, digest):
            return refused
        if not self.protected(alias) or self._served_before(alias, number):
            return ""
        return self.missing_gates(digest) or self._missing_approvals(alias, number, now)

    def missing_gates(self, digest: str) -> str:
        """Return why a digest has not passed the gates of the policy, or "" if it has."""
        if not self.policy.gates:
            return ""
        gated = self.gated.get(digest)
        if gated is None:
            return "it was not gated under the model's release policy"
        try:
            result = gated.decode(GateResult)
        except DamagedRow:
            return f"its gate run in revision {gated.revision} cannot be read; run driftline gate"
        if result.policy != self.policy_revision:
            return "it was not gated under the model's release policy"
        champion = self.digest_of(self.aliases.get("champion", "")) or NO_CHAMPION
        if result.champion not in {"", champion} and champion != digest:
            return "its gates compared it with another champion; re-run driftline gate"
        return "" if result.verdict == "passed" else self._outcome(result)

    def _outcome(self, result: GateResult) -> str:
        """Return the verdict of a gate run and the names of the gates that did not pass."""
        names = [
            name
            for name, outcome in result.gates.items()
            if outcome != "passed" and self.policy.gates.get(name, {}).get("blocking", True)
        ]
        shown = ", ".join(names[:_MOST_NAMED]) + ", ..." * (len(names) > _MOST_NAMED)
        return f"its gates: {result.verdict}" + f" ({shown})" * bool(names)

    def _missing_approvals(self, alias: str, number: str, now: int) -> str:
        rule = self.policy.approvals.get(alias)
        if rule is None:
            return ""
        approvals = len(self.approvals(alias, number, now))
        short = f"it has {approvals} of {rule.required} approvals for {alias}"
        return short if approvals < rule.required else ""

    def replaced_by(self, rollout: Rollout) -> str:
        """Return the version that has replaced a completed rollout's version, or ""."""
        number = self.aliases.get(rollout.alias, "")
        return number if rollout.phase == "completed" and number != rollout.number else ""

    def protected(self, alias: str) -> bool:
        """Return whether the release policy applies to an alias."""
        policy = self.policy
        return alias in policy.approvals or (alias == "champion" and bool(policy.gates))

    def _served_before(self, alias: str, number: str) -> bool:
        """Return whether the alias has pointed to the version under the current policy.

        A rollback to such a version needs no new gate run or approval.
        """
        return any(
            row.alias == alias and row.number == number and row.revision > self.policy_revision
            for row in self.alias_changes
        )

    def desired(self, numbers: Collection[str]) -> DesiredState:
        """Return the desired state of a model whose versions are `numbers`."""
        return DesiredState(
            dict(sorted(self.aliases.items())),
            {number for number in numbers if self.is_unloaded(number)},
            self.limits(numbers),
            self.candidates(numbers),
            {number for number in numbers if self._is_refused(number)},
            {number: operated for number in numbers if (operated := self._operated(number))},
            {alias: rollout for alias, rollout in sorted(self.rollouts.items()) if rollout.active},
        )

    def _is_refused(self, number: str) -> bool:
        return refusing_row(self.rejected, self.barred, self.digest_of(number)) is not None

    def candidates(self, numbers: Collection[str]) -> dict[str, str]:
        """Return which versions cannot be champion, with the reason: policy, bar or rejection.

        Versions to which champion or another protected alias points are omitted. Expired approvals
        count here, so that callers of an approved version keep access to it.
        """
        alias_numbers = {
            number
            for alias, number in self.aliases.items()
            if alias == "champion" or self.protected(alias)
        }
        reasons = {n: self.refusal("champion", n, 0) for n in numbers if n not in alias_numbers}
        return {number: reason for number, reason in reasons.items() if reason}

    def _operated(self, number: str) -> int:
        loads = [self.loading[key] for key in ("", number) if key in self.loading]
        aliases = [row for row in self.alias_changes if row.number == number]
        return max((row.revision for row in [*loads, *aliases]), default=0)

    def is_unloaded(self, number: str) -> bool:
        """Return whether the latest load or unload of a version or its whole model is an unload."""
        rows = [self.loading[key] for key in {"", number} if key in self.loading]
        return bool(rows) and max(rows, key=lambda row: row.revision).kind == "unloaded"

    def limits(self, numbers: Collection[str]) -> dict[str, LimitChange]:
        """Return number -> sum of the changes of limits for this version and for all versions."""
        changes = [(row.number, row.limits()) for row in self.limit_changes]
        sums = {n: sum_up(change for of, change in changes if of in {"", n}) for n in numbers}
        return {number: change for number, change in sums.items() if change.changes()}


def reduce_rows(rows: Iterable[HistoryRow]) -> LifecycleState:
    """Return the state after rows in the order of their revisions."""
    state = LifecycleState()
    for row in rows:
        state.include(row)
    return state


def alias_at(rows: Iterable[HistoryRow], alias: str, time: int) -> HistoryRow | None:
    """Return the row that determines an alias at `time`, or None if the alias was not set."""
    alias_row = None
    for row in rows:
        if row.kind in ALIAS_KINDS and row.alias == alias and row.time <= time:
            alias_row = row
    return alias_row


def misdated(rows: Iterable[HistoryRow], alias: str, time: int) -> HistoryRow | None:
    """Return a change of an alias after `time`, if a later row has a time up to `time`.

    Such a row shows that a clock was wrong, so `alias_at` can be wrong too. Return None otherwise.
    """
    changes = [row for row in rows if row.kind in ALIAS_KINDS and row.alias == alias]
    latest = max((row.revision for row in changes if row.time <= time), default=0)
    return next((row for row in changes if row.time > time and row.revision < latest), None)


def current_schedule(row: HistoryRow) -> HistoryRow | None:
    """Return a row of kind `schedule` if it sets a schedule, or None if it removes one."""
    try:
        return row if row.decode(ScheduleChange).action == "set" else None
    except DamagedRow:  # driftline audit verify reports it
        return None


def description_of(row: HistoryRow) -> ModelDescription:
    """Return the description in a row, or an empty one if the row cannot be read."""
    try:
        return row.decode(ModelDescription)
    except DamagedRow:  # driftline audit verify reports it
        return NO_DESCRIPTION


def _trainer(row: HistoryRow) -> str:
    try:
        return row.decode(Registration).trained_by
    except DamagedRow:  # the version cannot be loaded either
        return ""
