"""Start, advance and end rollouts, by rows of the registry's history."""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict, Unpack

from msgspec.structs import replace

from registry.errors import RegistryConflict, UnknownVersion, VersionRefused
from registry.history.lifecycle import LifecycleState
from registry.history.rollout_state import Rollout
from registry.history.rows import (
    HistoryRow,
    RolloutStep,
    RolloutVerdict,
    StepAction,
    VerdictPolicy,
    encode_detail,
)
from registry.history.store import History
from registry.manifest import Manifest

_SHARE = re.compile(r"\d+(\.\d+)?%?")


def parse_steps(text: str) -> list[float]:
    """Return the shares in a list of percentages such as `5,25,50,100`.

    Raises VersionRefused unless they increase and are above 0 and at most 100.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(map(_SHARE.fullmatch, words)):
        raise VersionRefused(f"steps {text!r}: expected percentages such as 5,25,50,100")
    steps = [float(word.removesuffix("%")) / 100 for word in words]
    if not steps[0] > 0 or steps[-1] > 1 or steps != sorted(set(steps)):
        raise VersionRefused(
            f"steps {text!r}: expected increasing percentages, above 0 and at most 100"
        )
    return steps


def require_same_requests(model: str, before: Manifest, after: Manifest) -> None:
    """Raise VersionRefused unless both versions accept the same requests.

    The new version can have additional outputs, because clients only know the old outputs.
    """
    for what, old, other in (
        ("inputs", _inputs(before), _inputs(after)),
        ("features", _features(before), _features(after)),
        ("outputs", _outputs(before), _outputs(before) & _outputs(after)),
    ):
        if old != other:
            changed = sorted(name for name, _ in old ^ other)
            raise VersionRefused(
                f"the versions of {model} differ in their {what} ({', '.join(changed)}), so they "
                "accept different requests: promote the new version when its clients are ready"
            )


def _inputs(manifest: Manifest) -> set[tuple[str, object]]:
    signature = manifest.signature
    assert signature is not None
    required = {spec.name for spec in signature.inputs}
    return {
        (spec.name, (spec.datatype, tuple(spec.shape), spec.name in required))
        for spec in signature.accepted
    }


def _outputs(manifest: Manifest) -> set[tuple[str, object]]:
    signature = manifest.signature
    assert signature is not None
    return {(spec.name, spec.datatype) for spec in signature.outputs}


def _features(manifest: Manifest) -> set[tuple[str, object]]:
    return {(feature.name, (feature.input, feature.index)) for feature in manifest.features}


class Cause(TypedDict):
    """The actor and the evidence of a rollout's change."""

    actor: str
    expected: NotRequired[str]  # id of the rollout to change; by default, the active rollout
    verdict: NotRequired[RolloutVerdict]  # verdict that is recorded with the change


class Rollouts:
    """Append changes of rollouts to the history; each method returns the new revision.

    Methods raise UnknownVersion if the alias has no active rollout, VersionRefused for a change
    that the history does not allow, and RegistryConflict if the active rollout is not the expected.
    """

    def __init__(self, history: History, clock: Callable[[], int] | None = None) -> None:
        self._history = history
        self._clock = clock or history.time_ns

    def start(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        alias: str,
        steps: Sequence[float],
        *,
        bake_s: float,
        actor: str,
        why: str = "",
        feature: str = "",
        policy: VerdictPolicy | None = None,
        evidence: str = "",
        expected_revision: int | None = None,
    ) -> int:
        """Start a rollout of a version with the first share of an alias's requests.

        Raises RegistryConflict if the model changed after `expected_revision`.
        """
        change = RolloutStep(secrets.token_hex(8), "start", 0, list(steps), bake_s, feature, policy)

        def decide(state: LifecycleState) -> list[HistoryRow]:
            now = self._now()
            _require_startable(state, model, number, alias, now)
            detail = encode_detail(change)
            return [
                HistoryRow(
                    0, model, "rollout_step", number, now, actor, alias, detail, why=why,
                    evidence=evidence,
                )
            ]  # fmt: skip

        return self._history.append(model, decide, expected_revision=expected_revision)

    def advance(self, model: str, alias: str, *, why: str = "", **cause: Unpack[Cause]) -> int:
        """Begin the next step; raises VersionRefused after the last step, or while paused."""

        def decide(state: LifecycleState, now: Rollout) -> list[HistoryRow]:
            if now.phase == "paused":
                raise VersionRefused(f"the rollout of {model} is paused; resume it first")
            _require_loaded(state, model, now.number)
            if now.step + 1 == len(now.steps):
                raise VersionRefused(
                    f"the rollout of {model} is at its last step; driftline rollout promote ends it"
                )
            _require_present_step(now, model, cause)
            return [self._step(model, now, "step", why, cause)]

        return self._change(model, alias, why, cause, decide)

    def pause(self, model: str, alias: str, *, why: str = "", **cause: Unpack[Cause]) -> int:
        """Pause the rollout at its current share."""

        def decide(_: LifecycleState, now: Rollout) -> list[HistoryRow]:
            return [] if now.phase == "paused" else [self._step(model, now, "pause", why, cause)]

        return self._change(model, alias, why, cause, decide)

    def resume(self, model: str, alias: str, *, why: str = "", **cause: Unpack[Cause]) -> int:
        """Resume the rollout, and restart the bake time of the current step."""

        def decide(_: LifecycleState, now: Rollout) -> list[HistoryRow]:
            return [] if now.phase == "running" else [self._step(model, now, "resume", why, cause)]

        return self._change(model, alias, why, cause, decide)

    def expire(self, model: str, alias: str, *, why: str, **cause: Unpack[Cause]) -> int:
        """End a paused rollout that nobody resumed, without barring its version.

        Raises RegistryConflict if the rollout is no longer paused.
        """

        def decide(_: LifecycleState, now: Rollout) -> list[HistoryRow]:
            if now.phase != "paused":
                raise RegistryConflict(f"the rollout of {model} was resumed")
            return [self._step(model, now, "abort", why, cause)]

        return self._change(model, alias, why, cause, decide)

    def abort(
        self, model: str, alias: str, *, why: str, bar: bool = False, **cause: Unpack[Cause]
    ) -> int:
        """End a rollout without changing the alias; if `bar`, bar the new version's content."""

        def decide(state: LifecycleState, now: Rollout) -> list[HistoryRow]:
            rows = [self._step(model, now, "abort", why, cause)]
            digest = state.digest_of(now.number)
            if bar and digest and digest != state.digest_of(now.before):
                row = self._row(model, "barred", now, why, cause)
                rows.append(replace(row, digest=digest, evidence=now.id))
            return rows

        return self._change(model, alias, why, cause, decide)

    def promote(self, model: str, alias: str, *, why: str = "", **cause: Unpack[Cause]) -> int:
        """Point the alias at the new version, which completes the rollout."""

        def decide(state: LifecycleState, now: Rollout) -> list[HistoryRow]:
            if reason := state.refusal(alias, now.number, self._now()):
                raise VersionRefused(f"{alias} of {model} cannot be version {now.number}: {reason}")
            _require_loaded(state, model, now.number)
            _require_present_step(now, model, cause)
            row = self._row(model, "promoted", now, why, cause)
            return [replace(row, alias=alias, evidence=now.id)]

        return self._change(model, alias, why, cause, decide)

    def _change(
        self,
        model: str,
        alias: str,
        why: str,
        cause: Cause,
        decide: Callable[[LifecycleState, Rollout], list[HistoryRow]],
    ) -> int:
        """Append the verdict, if any, and the rows that `decide` returns for the active rollout."""

        def rows(state: LifecycleState) -> list[HistoryRow]:
            now = active(state, model, alias, cause.get("expected", ""))
            changes, verdict = decide(state, now), cause.get("verdict")
            if not changes or verdict is None:
                return changes
            row = self._row(model, "verdict", now, why, cause)
            detail = encode_detail(verdict)
            return [replace(row, alias=alias, detail=detail, evidence=now.id), *changes]

        return self._history.append(model, rows)

    def _step(
        self, model: str, now: Rollout, action: StepAction, why: str, cause: Cause
    ) -> HistoryRow:
        change = RolloutStep(now.id, action, now.step + (action == "step"))
        row = self._row(model, "rollout_step", now, why, cause)
        return replace(row, alias=now.alias, detail=encode_detail(change))

    def _row(self, model: str, kind: str, now: Rollout, why: str, cause: Cause) -> HistoryRow:
        return HistoryRow(0, model, kind, now.number, self._now(), cause["actor"], why=why)

    def _now(self) -> int:
        return self._clock() // 1_000


def active(state: LifecycleState, model: str, alias: str, expected: str = "") -> Rollout:
    """Return the active rollout of an alias.

    Raises UnknownVersion if there is none, and RegistryConflict if it has another id.
    """
    now = state.rollouts.get(alias)
    if now is None or not now.active:
        raise UnknownVersion(f"{alias} of {model} has no active rollout")
    if expected and now.id != expected:
        raise RegistryConflict(
            f"{alias} of {model}: rollout {expected} has ended; the active rollout is {now.id} of "
            f"version {now.number}, started by {now.actor}"
        )
    return now


def _require_present_step(now: Rollout, model: str, cause: Cause) -> None:
    """Raise RegistryConflict if the verdict is not about the current step."""
    verdict = cause.get("verdict")
    if verdict is not None and verdict.step != now.step:
        raise RegistryConflict(
            f"the rollout of {model} is already at step {now.step + 1}; the verdict is about step "
            f"{verdict.step + 1}"
        )


def _require_startable(
    state: LifecycleState, model: str, number: str, alias: str, now: int
) -> None:
    if number not in state.registered:
        numbers = ", ".join(state.registered) or "none is registered"
        raise UnknownVersion(f"model {model!r} has no version {number!r}; versions: {numbers}")
    before = state.aliases.get(alias)
    if before is None:
        raise VersionRefused(
            f"{alias} of {model} points to no version: point it at one with driftline promote"
        )
    if before == number:
        raise VersionRefused(f"{alias} of {model} is already version {number}")
    rollout = state.rollouts.get(alias)
    if rollout is not None and rollout.active:
        raise VersionRefused(
            f"{alias} of {model}: {rollout.actor} already rolls out version {rollout.number}, at "
            f"{rollout.share:.0%}; end that rollout first"
        )
    if reason := state.refusal(alias, number, now):
        raise VersionRefused(f"{alias} of {model} cannot be version {number}: {reason}")
    _require_loaded(state, model, number)


def _require_loaded(state: LifecycleState, model: str, number: str) -> None:
    if state.is_unloaded(number):
        raise VersionRefused(f"version {number} of {model} is unloaded: load it first")
