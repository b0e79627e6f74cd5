"""Start and stop shadows, by rows of the registry's history."""

import secrets
from collections.abc import Callable
from math import isfinite

from registry.errors import UnknownVersion, VersionRefused
from registry.history.lifecycle import LifecycleState
from registry.history.rows import HistoryRow, ShadowChange, encode_detail
from registry.history.shadow_state import Shadow
from registry.history.store import History
from registry.manifest import Manifest
from registry.payload import withheld


class Shadows:
    """Append changes of shadows to the history; each method returns the new revision."""

    def __init__(self, history: History, clock: Callable[[], int] | None = None) -> None:
        self._history = history
        self._clock = clock or history.time_ns

    def start(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        alias: str,
        share: float,
        *,
        actor: str,
        why: str = "",
        expected_revision: int | None = None,
    ) -> int:
        """Run a version as a shadow on a share of the alias's requests.

        Raises UnknownVersion, VersionRefused for a change that the history does not allow, or
        RegistryConflict if the model changed after `expected_revision`.
        """
        if not (isfinite(share) and 0 < share <= 1):
            raise VersionRefused(f"share {share:g}: expected a number above 0 and at most 1")
        change = ShadowChange(secrets.token_hex(8), "start", share)

        def decide(state: LifecycleState) -> list[HistoryRow]:
            _require_startable(state, model, number, alias)
            return [self._row(model, number, alias, change, actor, why)]

        return self._history.append(model, decide, expected_revision=expected_revision)

    def stop(self, model: str, number: str, *, actor: str, why: str = "") -> int:
        """Stop the shadow of a version; raises UnknownVersion if the version is not a shadow."""

        def decide(state: LifecycleState) -> list[HistoryRow]:
            now = active_shadow(state, model, number)
            change = ShadowChange(now.id, "stop", now.share)
            return [self._row(model, number, now.alias, change, actor, why)]

        return self._history.append(model, decide)

    def _row(  # noqa: PLR0913, PLR0917  # one argument per field of a row
        self, model: str, number: str, alias: str, change: ShadowChange, actor: str, why: str
    ) -> HistoryRow:
        detail = encode_detail(change)
        now = self._clock() // 1_000
        return HistoryRow(0, model, "shadow", number, now, actor, alias, detail, why=why)


def active_shadow(state: LifecycleState, model: str, number: str) -> Shadow:
    """Return the shadow of a version; raises UnknownVersion if the version is not a shadow."""
    shadow = state.shadows.get(number)
    if shadow is None:
        numbers = ", ".join(state.shadows) or "none"
        raise UnknownVersion(f"version {number} of {model} is not a shadow; shadows: {numbers}")
    return shadow


def require_shadowable(model: str, before: Manifest, after: Manifest) -> None:
    """Raise VersionRefused unless the logged requests of `before` have all features of `after`."""
    hidden = withheld(before)
    feature_names = {feature.name for feature in before.features}
    for feature in after.features:
        if feature.name not in feature_names:
            raise VersionRefused(
                f"the version needs feature {feature.name!r}, which requests of {model} do not have"
            )
        if feature.name in hidden:
            raise VersionRefused(
                f"the log of {model} does not contain feature {feature.name!r}: a payload policy "
                "hides it"
            )
    if not after.features:
        raise VersionRefused("the version has inputs that are not features")


def _require_startable(state: LifecycleState, model: str, number: str, alias: str) -> None:
    if number not in state.registered:
        numbers = ", ".join(state.registered) or "none is registered"
        raise UnknownVersion(f"model {model!r} has no version {number!r}; versions: {numbers}")
    before = state.aliases.get(alias)
    if before is None:
        raise VersionRefused(
            f"{alias} of {model} points to no version: point it at one with driftline promote"
        )
    if before == number:
        raise VersionRefused(f"{alias} of {model} is version {number}, which answers the requests")
    if number in state.shadows:
        raise VersionRefused(f"version {number} of {model} is already a shadow")
    digest = state.digest_of(number)
    if digest and digest in state.barred.keys() | state.rejected.keys():
        raise VersionRefused(f"version {number} of {model} was barred or rejected")
