"""Rollouts in pages and API: arms, evidence, and people's changes."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from access.keys import Grant
from monitoring.presenter.links import model_path
from monitoring.presenter.rollout_panel import RolloutPanel, rollback_target, rollout_panel
from monitoring.presenter.rollout_waits import CurrentJudgement
from monitoring.web.api import json_response
from monitoring.web.forms import read_change
from registry.errors import RegistryError, UnknownModel, UnknownVersion
from registry.history.lifecycle import LifecycleState
from registry.history.store import History
from registry.rollback import earlier_version, roll_back
from registry.rollouts import Cause, Rollouts
from telemetry.clock import now_us

_LONGEST_WHY = 2_000  # characters of a reason


class RolloutDesk(NamedTuple):
    """The data sources of rollouts."""

    history: History
    judgements: Callable[[], Mapping[str, CurrentJudgement]] = dict  # by rollout id


class RolloutChange(msgspec.Struct, frozen=True, kw_only=True):
    """A requested change of a rollout, or a rollback."""

    action: Literal["pause", "resume", "advance", "promote", "abort", "rollback"]
    why: str
    expected: str = ""  # id of the rollout that the person has seen; not used by `rollback`
    bar: bool | None = None  # whether to bar the content; None: True with `rollback`, else False
    number: str = ""  # with `rollback`: the version to return to; empty: the previous version
    revision: int | None = None  # with `rollback`: the model's revision that the person has seen


class AliasPanel(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a page about one alias."""

    alias: str
    panel: RolloutPanel | None
    number: str = ""  # version that the alias points to
    target: str = ""  # version to which a rollback would return; empty if none is possible
    revision: int = 0  # newest revision of the model

    @property
    def versions(self) -> set[str]:
        """The versions of the alias and of its rollout."""
        rollout = self.panel.rollout if self.panel is not None else None
        return {self.number, *((rollout.number, rollout.before) if rollout is not None else ())}


def routes() -> list[Route]:
    """Return the routes of rollouts."""
    path = "/api/models/{model}/rollouts/{alias}"
    return [Route(path, latest_rollout), Route(path, change, methods=["POST"])]


def alias_panels(request: Request, model: str, version: str) -> list[AliasPanel]:
    """Return the aliases that point to a version or have a rollout to or from it."""
    desk: RolloutDesk | None = request.app.state.rollouts
    if desk is None:
        return []
    try:
        state = desk.history.state(model)
    except RegistryError:  # show the page without rollouts
        return []
    panels = (_panel(desk, model, alias, state) for alias in sorted(state.aliases))
    return [panel for panel in panels if version in panel.versions]


async def latest_rollout(request: Request) -> Response:
    """Return the latest rollout of an alias, with its counts, evidence and verdicts."""
    desk, (model, alias) = _desk(request), _model_and_alias(request)
    state = await asyncio.to_thread(desk.history.state, model)
    if alias not in state.aliases:
        raise HTTPException(404, f"{model} has no alias {alias}")
    return json_response(_panel(desk, model, alias, state))


async def change(request: Request) -> Response:
    """Change an alias's rollout, or roll the alias back; a browser is redirected to the page."""
    desk, (model, alias) = _desk(request), _model_and_alias(request)
    rollout_change = await read_change(request, RolloutChange, "change")
    grant: Grant | None = getattr(request.state, "grant", None)
    if grant is None:
        raise HTTPException(
            403, "a change names its actor: expected an API key (driftline keys create)"
        )
    if (
        not rollout_change.why.strip()
        or len(rollout_change.why) > _LONGEST_WHY
        or "\0" in rollout_change.why
    ):
        raise HTTPException(
            400, f"expected why: a reason of at most {_LONGEST_WHY} characters, without NUL"
        )
    try:
        revision = await asyncio.to_thread(_apply, desk, model, alias, rollout_change, grant.actor)
    except (UnknownModel, UnknownVersion) as error:
        raise HTTPException(404, str(error)) from None
    except RegistryError as error:
        raise HTTPException(409, str(error)) from None
    if "text/html" in request.headers.get("accept", ""):
        state = await asyncio.to_thread(desk.history.state, model)
        back = model_path(model, state.aliases.get(alias, ""))
        return RedirectResponse(f"{back}#rollout-{alias}", status_code=303)
    return json_response({"revision": revision, "actor": grant.actor})


def _apply(
    desk: RolloutDesk, model: str, alias: str, rollout_change: RolloutChange, actor: str
) -> int:
    """Record the change in the registry; return the new revision."""
    why = rollout_change.why.strip()
    if rollout_change.action == "rollback":
        state = desk.history.state(model)
        revision = state.revision if rollout_change.revision is None else rollout_change.revision
        number = rollout_change.number or earlier_version(state, model, alias)
        rollback = roll_back(
            desk.history, model, alias, number,
            expected_revision=revision, actor=actor, why=why, bar=rollout_change.bar is not False,
        )  # fmt: skip
        return rollback.revision
    rollouts, cause = Rollouts(desk.history), Cause(actor=actor, expected=rollout_change.expected)
    if rollout_change.action == "abort":
        return rollouts.abort(model, alias, why=why, bar=bool(rollout_change.bar), **cause)
    changes: dict[str, Callable[..., int]] = {
        "pause": rollouts.pause,
        "resume": rollouts.resume,
        "advance": rollouts.advance,
        "promote": rollouts.promote,
    }
    return changes[rollout_change.action](model, alias, why=why, **cause)


def _panel(desk: RolloutDesk, model: str, alias: str, state: LifecycleState) -> AliasPanel:
    return AliasPanel(
        alias=alias,
        panel=rollout_panel(model, alias, state, desk.judgements(), now_us()),
        number=state.aliases.get(alias, ""),
        target=rollback_target(model, alias, state),
        revision=state.revision,
    )


def _desk(request: Request) -> RolloutDesk:
    desk: RolloutDesk | None = request.app.state.rollouts
    if desk is None:
        raise HTTPException(404, "this monitor has no registry")
    return desk


def _model_and_alias(request: Request) -> tuple[str, str]:
    return request.path_params["model"], request.path_params["alias"]
