"""Requests for approval: their list, the page of one, gate reports, and the decision."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from access.keys import Grant
from monitoring.web.api import json_response
from monitoring.web.gate_report_page import report_page
from monitoring.web.manifest_diff import FieldChange, manifest_diff
from monitoring.web.pages import page
from registry.approvals import Approvals, ReadSubject
from registry.catalogue import Catalogue
from registry.errors import ChangedFile, RegistryError, UnknownVersion
from registry.gates.outcomes import GateReport
from registry.gates.reports import GateReports
from registry.history.store import History
from registry.manifest import Manifest
from registry.pending_approvals import PendingApproval, PendingApprovals

_LARGEST_FORM = 65_536  # bytes
_MOST_CHANGES = 300
# A report's page is made by us and holds a style of its own; nothing in it runs.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class ApprovalDesk(NamedTuple):
    """What the pages of approvals need of the registry."""

    history: History
    reports: GateReports
    pending: PendingApprovals


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    decision: str
    why: str = ""
    digest: str = ""
    report: str = ""


def routes() -> list[Route]:
    """Return every address of approvals."""
    one = "/approvals/{model}/{number}/{alias}"
    return [
        Route("/approvals", overview),
        Route(one, approval),
        Route("/gate-reports/{digest}", report),
        Route("/api/approvals", pending),
        Route("/api/gate-reports/{digest}", report_data),
        Route(f"/api{one}", decide, methods=["POST"]),
    ]


async def overview(request: Request) -> Response:
    """Show every request that waits."""
    return page(request, "approvals.html", pending=await _pending(request))


async def pending(request: Request) -> Response:
    """Return every request that waits, as JSON."""
    return json_response(await _pending(request))


async def approval(request: Request) -> Response:
    """Show what is asked for: differences of the manifests, gate report, and the decision."""
    desk, found = _desk(request), await _asked(request)
    catalogue: Catalogue | None = request.app.state.catalogue
    changes, missing = await asyncio.to_thread(_changes, catalogue, found)
    state = await asyncio.to_thread(desk.history.state, found.model)
    grant: Grant | None = getattr(request.state, "grant", None)
    refusal = _refusal(grant, found)
    if grant is not None and not refusal:
        refusal = state.cannot_approve(found.alias, found.number, grant.actor, grant.roles)
    return page(
        request,
        "approval.html",
        one=found,
        changes=changes[:_MOST_CHANGES],
        more=max(0, len(changes) - _MOST_CHANGES),
        missing=missing,
        gates=await asyncio.to_thread(_report, desk.reports, found.report),
        refusal=refusal,
        rejects=grant is not None and grant.allows("approve", found.model),
    )


async def report(request: Request) -> Response:
    """Show a gate report as its page."""
    found = await asyncio.to_thread(_report, _desk(request).reports, request.path_params["digest"])
    if found is None:
        raise HTTPException(404, "no such gate report")
    headers = {"content-security-policy": _REPORT_POLICY}
    return Response(report_page(found), media_type="text/html", headers=headers)


async def report_data(request: Request) -> Response:
    """Return a gate report as JSON."""
    found = await asyncio.to_thread(_report, _desk(request).reports, request.path_params["digest"])
    if found is None:
        raise HTTPException(404, "no such gate report")
    return json_response(found)


async def decide(request: Request) -> Response:
    """Approve or reject what the caller has read; a browser is sent back to the list."""
    desk, stated = _desk(request), await _decision(request)
    grant: Grant | None = getattr(request.state, "grant", None)
    if grant is None:
        raise HTTPException(403, "an approval names its approver: expected a key (driftline keys)")
    if not stated.why.strip():
        raise HTTPException(400, "expected why: the reason is recorded with the decision")
    named = request.path_params
    book, model, number = Approvals(desk.history), named["model"], named["number"]
    about: dict[str, Any] = {"actor": grant.actor, "why": stated.why.strip()}
    try:
        if stated.decision == "reject":
            revision = await asyncio.to_thread(lambda: book.reject(model, number, **about))
        else:
            read = ReadSubject(stated.digest, stated.report)
            about |= {"roles": grant.roles, "read": read}
            revision = await asyncio.to_thread(
                lambda: book.approve(model, number, named["alias"], **about)
            )
    except UnknownVersion as error:
        raise HTTPException(404, str(error)) from None
    except RegistryError as error:
        raise HTTPException(409, str(error)) from None
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/approvals", status_code=303)
    return json_response({"revision": revision, "actor": grant.actor})


def _desk(request: Request) -> ApprovalDesk:
    desk: ApprovalDesk | None = request.app.state.approvals
    if desk is None:
        raise HTTPException(404, "this monitor has no registry")
    return desk


async def _pending(request: Request) -> list[PendingApproval]:
    return await asyncio.to_thread(_desk(request).pending.read)


async def _asked(request: Request) -> PendingApproval:
    named = request.path_params
    wanted = named["model"], named["number"], named["alias"]
    for one in await _pending(request):
        if (one.model, one.number, one.alias) == wanted:
            return one
    raise HTTPException(404, "nobody waits for this approval: it was decided, expired or is stale")


def _refusal(grant: Grant | None, found: PendingApproval) -> str:
    if grant is None:
        return "an approval names its approver: create a key with driftline keys create"
    if not grant.allows("approve", found.model):
        return f"{grant.actor} lacks the scope approve or approve:{found.model}"
    return ""


def _changes(catalogue: Catalogue | None, found: PendingApproval) -> tuple[list[FieldChange], str]:
    """Return the differences of the manifests, and why they are not known, "" if they are."""
    try:
        versions = (
            {} if catalogue is None else {v.number: v for v in catalogue.versions(found.model)}
        )
    except RegistryError as error:
        return [], str(error)
    if found.number not in versions:
        return [], f"the files of version {found.number} are not on this machine"
    before: Manifest | None = None
    if found.replaces in versions:
        before = versions[found.replaces].manifest
    return manifest_diff(before, versions[found.number].manifest), ""


def _report(reports: GateReports, digest: str) -> GateReport | None:
    """Return a gate report, None without one; raises HTTPException for a changed one."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        return None
    try:
        return reports.read(digest)
    except ChangedFile as error:
        if "was changed" in str(error):
            raise HTTPException(409, str(error)) from None
        return None
    except RegistryError:
        return None


async def _decision(request: Request) -> _Decision:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, f"expected at most {_LARGEST_FORM} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        if kind == "application/json":
            found = msgspec.json.decode(bytes(body), type=_Decision)
        else:
            fields = parse_qs(body.decode(), max_num_fields=20)
            found = msgspec.convert({name: one[0] for name, one in fields.items()}, _Decision)
    except (ValueError, msgspec.DecodeError) as error:
        raise HTTPException(400, f"the decision cannot be read: {error}") from None
    if found.decision not in {"approve", "reject"}:
        raise HTTPException(400, f"decision {found.decision[:20]!r}: expected approve or reject")
    return found
