"""Requests, approvals and rejections of a version for an alias, as rows of the registry's history.

An approval refers to a digest, its gate report, the version that the alias points to, and the
release policy. If one of them changes, the approval is stale: `LifecycleState.approvals` omits it.
Neither the registrant nor the requester can approve. A rejection is final for the digest.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from registry.errors import UnknownVersion, VersionRefused
from registry.history.actors import person_of
from registry.history.lifecycle import LifecycleState
from registry.history.rows import ApprovalSubject, HistoryRow, ReleasePolicy, encode_detail
from registry.history.store import History


class ReadSubject(NamedTuple):
    """Digests, or their first digits, of content that an approver has read; "" if not stated."""

    digest: str = ""  # digest of the version's content
    report: str = ""  # digest of the gate report


ANYTHING = ReadSubject()


class Approvals:
    """Append people's decisions to the history; each method returns the new revision.

    Methods raise UnknownVersion for a version that was never registered with a digest, and
    VersionRefused for a decision that the history does not allow.
    """

    def __init__(self, history: History, clock: Callable[[], int] | None = None) -> None:
        self._history = history
        self._clock = clock or history.time_ns

    def set_policy(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        policy: ReleasePolicy,
        *,
        actor: str,
        why: str,
        fields: Collection[str] | None = None,
        expected_revision: int | None = None,
    ) -> int:
        """Replace a model's release policy, or only the policy's `fields`.

        Earlier gate runs and approvals become stale. Raises RegistryConflict if the model changed
        after `expected_revision`.
        """

        def decide(state: LifecycleState) -> list[HistoryRow]:
            before = state.policy
            names = [] if fields is None else set(before.__struct_fields__) - set(fields)
            unchanged = {name: getattr(before, name) for name in names}
            detail = encode_detail(msgspec.structs.replace(policy, **unchanged))
            now = self._now()
            return [HistoryRow(0, model, "release_policy", "", now, actor, detail=detail, why=why)]

        return self._history.append(model, decide, expected_revision=expected_revision)

    def request(self, model: str, number: str, alias: str, *, actor: str, why: str) -> int:
        """Request the approval of a version for an alias."""

        def decide(state: LifecycleState) -> list[HistoryRow]:
            digest = registered_digest(state, model, number)
            _require_open(state, model, number, alias)
            _require_gates(state, model, number)
            subject, before = state.subject(alias, digest), state.requested.get((alias, digest))
            if (
                before is not None
                and (before.actor, before.decode(ApprovalSubject)) == (actor, subject)
                and before.time >= state.oldest_decision(alias, self._now())
            ):
                return []  # a repeated call
            detail = encode_detail(subject)
            return [self._row("requested", model, number, alias, digest, detail, actor, why)]

        return self._history.append(model, decide)

    def approve(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        alias: str,
        *,
        actor: str,
        why: str,
        roles: Collection[str] = (),
        read: ReadSubject = ANYTHING,
    ) -> int:
        """Approve a requested version for an alias; `roles` are the actor's roles.

        A second approval by the same person has no effect.
        """

        def decide(state: LifecycleState) -> list[HistoryRow]:
            digest = registered_digest(state, model, number)
            _require_open(state, model, number, alias)
            request = state.requested.get((alias, digest))
            subject = state.subject(alias, digest)
            _require_read(read, model, number, digest, subject.report)
            _require_fresh(request, subject, model, number, alias)
            _require_gates(state, model, number)
            assert request is not None
            if request.time < state.oldest_decision(alias, self._now()):
                raise VersionRefused(
                    f"the request of version {number} of {model} for {alias} has expired; repeat "
                    "it with driftline request"
                )
            if reason := state.cannot_approve(alias, number, actor, roles):
                raise VersionRefused(f"{alias} of {model}: {reason}")
            present = state.approvals(alias, number, self._now())
            if person_of(actor) in {person_of(row.actor) for row in present}:
                return []
            detail = encode_detail(subject)
            return [self._row("approved", model, number, alias, digest, detail, actor, why)]

        return self._history.append(model, decide)

    def reject(self, model: str, number: str, *, actor: str, why: str) -> int:
        """Reject the content of a version permanently."""

        def decide(state: LifecycleState) -> list[HistoryRow]:
            digest = registered_digest(state, model, number)
            if digest in state.rejected:
                return []
            if aliases := [alias for alias, of in state.aliases.items() if of == number]:
                raise VersionRefused(
                    f"version {number} of {model} is {', '.join(aliases)}: point the alias at "
                    "another version first"
                )
            return [self._row("rejected", model, number, "", digest, "", actor, why)]

        return self._history.append(model, decide)

    def _row(  # noqa: PLR0913, PLR0917  # one argument per field of a row
        self,
        kind: str,
        model: str,
        number: str,
        alias: str,
        digest: str,
        detail: str,
        actor: str,
        why: str,
    ) -> HistoryRow:
        return HistoryRow(
            0, model, kind, number, self._now(), actor, alias, detail, digest=digest, why=why
        )

    def _now(self) -> int:
        return self._clock() // 1_000


def registered_digest(state: LifecycleState, model: str, number: str) -> str:
    """Return the digest of a version; raises UnknownVersion if no row of the history states it."""
    if digest := state.digest_of(number):
        return digest
    numbers = ", ".join(state.registered) or "none is registered"
    if number in state.registered:
        raise UnknownVersion(
            f"version {number} of {model} was registered by an earlier release, without a digest: "
            "re-register its files"
        )
    raise UnknownVersion(f"model {model!r} has no version {number!r}; versions: {numbers}")


def _require_open(state: LifecycleState, model: str, number: str, alias: str) -> None:
    """Raise VersionRefused if an approval would have no effect."""
    digest = state.digest_of(number)
    for fact, rows in (("rejected", state.rejected), ("barred", state.barred)):
        if (row := rows.get(digest)) is not None:
            raise VersionRefused(
                f"version {number} of {model} was {fact} by {row.actor or 'unknown'} in revision "
                f"{row.revision}; this is final for its content"
            )
    if alias not in state.policy.approvals:
        raise VersionRefused(
            f"the release policy of {model} requires no approval for {alias}; change the policy "
            "with driftline release-policy"
        )


def _require_gates(state: LifecycleState, model: str, number: str) -> None:
    """Raise VersionRefused if there is no gate report to approve."""
    if missing := state.missing_gates(state.digest_of(number)):
        raise VersionRefused(
            f"version {number} of {model}: {missing}; an approval refers to a passed gate report"
        )


def _require_read(read: ReadSubject, model: str, number: str, digest: str, report: str) -> None:
    """Raise VersionRefused if the content or gate report changed after the approver read it."""
    for what, read_digest, now in (
        ("content", read.digest, digest),
        ("gate report", read.report, report),
    ):
        if not now.startswith(read_digest):
            raise VersionRefused(
                f"version {number} of {model}: the {what} is {now[:12] or 'missing'}, but the "
                f"approval is for {read_digest[:12]}; read the new {what} and approve again"
            )


def _require_fresh(
    request: HistoryRow | None, subject: ApprovalSubject, model: str, number: str, alias: str
) -> None:
    place = f"version {number} of {model} for {alias}"
    if request is None:
        raise VersionRefused(f"no request of {place}; expected driftline request first")
    approval_request = request.decode(ApprovalSubject)
    changed = [
        what
        for what, before, now in (
            ("its gate report", approval_request.report, subject.report),
            ("the version that it replaces", approval_request.replaces, subject.replaces),
            ("the release policy", approval_request.policy, subject.policy),
        )
        if before != now
    ]
    if changed:
        raise VersionRefused(
            f"the request of {place} is stale: {' and '.join(changed)} changed after revision "
            f"{request.revision}; repeat it with driftline request"
        )
