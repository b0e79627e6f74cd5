"""Approval requests: their list, the page of each request, gate reports, and decisions."""

import asyncio
import logging
from typing import Any, NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from access.keys import Grant
from monitoring.web.api import json_response
from monitoring.web.forms import read_change
from monitoring.web.gate_report_page import report_page
from monitoring.web.manifest_diff import FieldChange, manifest_diff
from monitoring.web.pages import page
from registry.approvals import Approvals, ReadSubject
from registry.catalogue import Catalogue, VersionSource
from registry.errors import ChangedFile, RegistryError, UnknownReport, UnknownVersion
from registry.gates.outcomes import GateReport
from registry.gates.reports import GateReports
from registry.history.store import History
from registry.manifest import Manifest
from registry.pending_approvals import PendingApproval, PendingApprovals
from registry.rollout_start import RolloutSubject, start_approved

_logger = logging.getLogger(__name__)

_MOST_CHANGES = 300
# A report's page contains its style, and needs no scripts.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class ApprovalDesk(NamedTuple):
    """The approval pages' access to the registry."""

    history: History
    reports: GateReports
    pending: PendingApprovals
    versions: VersionSource | None = None  # needed to start rollouts after approvals


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    decision: str
    why: str = ""
    digest: str = ""
    report: str = ""


def routes() -> list[Route]:
    """Return the routes of approvals."""
    path = "/approvals/{model}/{number}/{alias}"
    return [
        Route("/approvals", overview),
        Route(path, approval),
        Route("/gate-reports/{digest}", report),
        Route("/api/approvals", pending),
        Route("/api/gate-reports/{digest}", report_data),
        Route(f"/api{path}", decide, methods=["POST"]),
    ]


async def overview(request: Request) -> Response:
    """Show every pending approval request."""
    return page(request, "approvals.html", pending=await _pending(request))


async def pending(request: Request) -> Response:
    """Return every pending approval request."""
    return json_response(await _pending(request))


async def approval(request: Request) -> Response:
    """Show one approval request: manifest differences, gate report and decision form."""
    desk, pending_approval = _desk(request), await _pending_approval(request)
    catalogue: Catalogue | None = request.app.state.catalogue
    changes, missing = await asyncio.to_thread(_changes, catalogue, pending_approval)
    state = await asyncio.to_thread(desk.history.state, pending_approval.model)
    grant: Grant | None = getattr(request.state, "grant", None)
    refusal = _refusal(grant, pending_approval)
    if grant is not None and not refusal:
        refusal = state.cannot_approve(
            pending_approval.alias, pending_approval.number, grant.actor, grant.roles
        )
    return page(
        request,
        "approval.html",
        approval=pending_approval,
        changes=changes[:_MOST_CHANGES],
        more=max(0, len(changes) - _MOST_CHANGES),
        missing=missing,
        gates=await asyncio.to_thread(_report, desk.reports, pending_approval.report),
        refusal=refusal,
        rejects=grant is not None and grant.allows("approve", pending_approval.model),
    )


async def report(request: Request) -> Response:
    """Show a gate report."""
    gate_report = await asyncio.to_thread(
        _report, _desk(request).reports, request.path_params["digest"]
    )
    if gate_report is None:
        raise HTTPException(404, _no_report(request))
    headers = {"content-security-policy": _REPORT_POLICY}
    return Response(report_page(gate_report), media_type="text/html", headers=headers)


async def report_data(request: Request) -> Response:
    """Return a gate report as JSON."""
    gate_report = await asyncio.to_thread(
        _report, _desk(request).reports, request.path_params["digest"]
    )
    if gate_report is None:
        raise HTTPException(404, _no_report(request))
    return json_response(gate_report)


async def decide(request: Request) -> Response:
    """Approve or reject a version for an alias; a browser is redirected to the list."""
    desk, decision = _desk(request), await _decision(request)
    grant: Grant | None = getattr(request.state, "grant", None)
    if grant is None:
        raise HTTPException(
            403, "an approval names its approver: expected an API key (driftline keys create)"
        )
    if not decision.why.strip():
        raise HTTPException(400, "expected why: a reason, which is recorded with the decision")
    params = request.path_params
    approvals, model, number = Approvals(desk.history), params["model"], params["number"]
    author: dict[str, Any] = {"actor": grant.actor, "why": decision.why.strip()}
    note = ""
    try:
        if decision.decision == "reject":
            revision = await asyncio.to_thread(lambda: approvals.reject(model, number, **author))
        else:
            read = ReadSubject(decision.digest, decision.report)
            author |= {"roles": grant.roles, "read": read}
            revision = await asyncio.to_thread(
                lambda: approvals.approve(model, number, params["alias"], **author)
            )
            subject = RolloutSubject(model, number, params["alias"])
            note = await asyncio.to_thread(_start_rollout, desk, subject, grant.actor)
    except UnknownVersion as error:
        raise HTTPException(404, str(error)) from None
    except RegistryError as error:
        raise HTTPException(409, str(error)) from None
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/approvals", status_code=303)
    return json_response(
        {"revision": revision, "actor": grant.actor} | ({"note": note} if note else {})
    )


def _start_rollout(desk: ApprovalDesk, subject: RolloutSubject, actor: str) -> str:
    """Start the rollout that the release policy requires; return the reason if none starts."""
    if desk.versions is None:
        return ""
    note = start_approved(desk.history, desk.versions, subject, actor)
    if note:
        _logger.warning("version %s of %s: %s", subject.number, subject.model, note)
    return note


def _desk(request: Request) -> ApprovalDesk:
    desk: ApprovalDesk | None = request.app.state.approvals
    if desk is None:
        raise HTTPException(404, "this monitor has no registry")
    return desk


async def _pending(request: Request) -> list[PendingApproval]:
    return await asyncio.to_thread(_desk(request).pending.read)


async def _pending_approval(request: Request) -> PendingApproval:
    params = request.path_params
    key = params["model"], params["number"], params["alias"]
    for pending_approval in await _pending(request):
        if (pending_approval.model, pending_approval.number, pending_approval.alias) == key:
            return pending_approval
    raise HTTPException(
        404, "this approval is not pending: it was decided, has expired or is stale"
    )


def _refusal(grant: Grant | None, pending_approval: PendingApproval) -> str:
    if grant is None:
        return "an approval names its approver: create an API key with driftline keys create"
    if not grant.allows("approve", pending_approval.model):
        return f"{grant.actor} lacks the scope approve or approve:{pending_approval.model}"
    return ""


def _changes(
    catalogue: Catalogue | None, pending_approval: PendingApproval
) -> tuple[list[FieldChange], str]:
    """Return the differences of the manifests, and the reason if they are unknown, else ""."""
    try:
        versions = (
            {}
            if catalogue is None
            else {v.number: v for v in catalogue.versions(pending_approval.model)}
        )
    except RegistryError as error:
        return [], str(error)
    if pending_approval.number not in versions:
        return [], f"the files of version {pending_approval.number} are not on this machine"
    before: Manifest | None = None
    if pending_approval.replaces in versions:
        before = versions[pending_approval.replaces].manifest
    return manifest_diff(before, versions[pending_approval.number].manifest), ""


def _no_report(request: Request) -> str:
    return f"no gate report has the digest {request.path_params['digest'][:64]!r}"


def _report(reports: GateReports, digest: str) -> GateReport | None:
    """Return a gate report; None if it does not exist.

    Raises HTTPException 409 if the file was changed or cannot be read.
    """
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        return None
    try:
        return reports.read(digest)
    except UnknownReport:
        return None
    except ChangedFile as error:
        raise HTTPException(409, str(error)) from None
    except RegistryError:
        return None


async def _decision(request: Request) -> _Decision:
    decision = await read_change(request, _Decision, "decision")
    if decision.decision not in {"approve", "reject"}:
        raise HTTPException(400, f"decision {decision.decision[:20]!r}: expected approve or reject")
    return decision
