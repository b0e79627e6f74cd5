"""The page and the API of the review queue, in which people label rows."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast
from urllib.parse import parse_qs

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from eventlog.errors import LogUnavailable
from eventlog.events import Label
from monitoring.presenter.links import review_path
from monitoring.review_desk.items import ReviewItem, checked_label, item_of
from monitoring.review_desk.leases import MOST, Decision, ReviewConflict, ReviewDesk, UnknownReview
from monitoring.reviews.rows import PickedRow
from monitoring.web.api import json_response, whole_number
from monitoring.web.forms import read_body
from monitoring.web.pages import page
from registry.catalogue import Catalogue
from registry.errors import RegistryError, UnknownModel
from registry.manifest import Manifest

_LEASED = 10  # rows that are leased if a request states no limit
_SHOWN_CLASSES = 9  # classes with a button and a keyboard shortcut
_MOST_BYTES = 1 << 20  # bytes of a request body
_LONGEST_WHY = 2_000  # characters of a reason

Outcome = TypeVar("Outcome")


class _Form(msgspec.Struct, frozen=True):
    """The fields of the page's form."""

    action: str = "correct"  # the default, because a class button sends no action
    prediction_id: str = ""
    row: int = 0
    place: int | None = None  # index of the class in the manifest
    value: str = ""  # typed label of a regression
    why: str = ""


_decisions = msgspec.json.Decoder(Decision | list[Decision])


def routes() -> list[Route]:
    """Return the routes of the review queue."""
    return [
        Route("/review", overview),
        Route("/review/{model}", queue),
        Route("/review/{model}", decide_on_page, methods=["POST"]),
        Route("/v1/review", rows),
        Route("/v1/review", decide, methods=["POST"]),
    ]


async def overview(request: Request) -> Response:
    """Show the number of unlabelled rows of each model's queue."""
    return page(request, "reviews.html", waiting=await _run(_desk(request).waiting))


async def queue(request: Request) -> Response:
    """Lease the next row of a model to the caller and show it."""
    model, desk = request.path_params["model"], _desk(request)
    leased = await _run(lambda: desk.lease(model, _actor(request), 1))
    waiting = (await _run(desk.waiting)).get(model)
    if waiting is None and not leased:
        raise HTTPException(
            404,
            f"no row of {model} was picked for review; the manifest's field monitoring.review "
            "configures the queue",
        )
    items = await _items(request, leased)
    return page(
        request,
        "review.html",
        model=model,
        item=items[0] if items else None,
        waiting=waiting or 0,
        shown_classes=_SHOWN_CLASSES,
    )


async def decide_on_page(request: Request) -> Response:
    """Record the form's decision, and redirect to the next row."""
    model, desk = request.path_params["model"], _desk(request)
    fields = parse_qs((await read_body(request, _MOST_BYTES)).decode(errors="replace"))
    try:
        form = msgspec.convert(
            {name: texts[0] for name, texts in fields.items()}, _Form, strict=False
        )
    except msgspec.ValidationError as error:
        raise HTTPException(400, f"the decision cannot be read: {error}") from None
    if form.action == "undo":
        await _run(
            lambda: desk.undo(model, _actor(request), form.why[:_LONGEST_WHY].replace("\0", ""))
        )
    else:
        decision = msgspec.convert(
            {
                "prediction_id": form.prediction_id,
                "row": form.row,
                "action": _one_of(form.action),
                "label": await _label(request, form) if form.action == "correct" else None,
                "why": form.why,
            },
            Decision,
        )
        await _decide_one(request, model, decision)
    return RedirectResponse(review_path(model), status_code=303)


async def rows(request: Request) -> Response:
    """Lease rows of a model to the caller; earlier leases of the caller are included."""
    model, limit = _model(request), whole_number(request, "limit")
    if limit is not None and not 1 <= limit <= MOST:
        raise HTTPException(400, f"limit is {limit}; expected 1 to {MOST}")
    desk = _desk(request)
    leased = await _run(lambda: desk.lease(model, _actor(request), limit or _LEASED))
    waiting = (await _run(desk.waiting)).get(model)
    if waiting is None and not leased:
        await asyncio.to_thread(_require_known, request, model)
    items = await _items(request, leased)
    return json_response({"model": model, "waiting": waiting or 0, "rows": items})


async def decide(request: Request) -> Response:
    """Record decisions in order; decisions before a refused decision stay recorded."""
    model = _model(request)
    body = await read_body(request, _MOST_BYTES)
    try:
        content = _decisions.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(
            400, f'expected {{"prediction_id": ..., "action": ...}}, or a list of them: {error}'
        ) from None
    decisions = content if isinstance(content, list) else [content]
    if len(decisions) > MOST:
        raise HTTPException(413, f"{len(decisions)} decisions; expected at most {MOST}")
    for number, decision in enumerate(decisions):
        try:
            await _decide_one(request, model, decision)
        except HTTPException as error:
            raise HTTPException(
                error.status_code, f"decision {number}: {error.detail}; {number} were recorded"
            ) from None
    return json_response({"recorded": len(decisions), "actor": _actor(request)})


async def _decide_one(request: Request, model: str, decision: Decision) -> None:
    desk, actor = _desk(request), _actor(request)
    if len(decision.why) > _LONGEST_WHY or "\0" in decision.why:
        raise HTTPException(400, f"why: expected at most {_LONGEST_WHY} characters, and no NUL")
    if decision.action == "undo":
        await _run(lambda: desk.undo(model, actor, decision.why))
        return
    if not decision.prediction_id:
        raise HTTPException(400, f"{decision.action}: expected prediction_id")
    picked = await _run(lambda: desk.find(decision.prediction_id, decision.row))
    if picked.model != model:
        raise HTTPException(404, f"the row does not belong to {model}")
    if decision.action == "correct":
        if decision.label is None:
            raise HTTPException(400, "expected label: the correct value")
        manifest = await asyncio.to_thread(_manifest, request, picked)
        try:
            label = checked_label(decision.label, manifest)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        decision = msgspec.structs.replace(decision, label=label)
    await _run(lambda: desk.decide(picked, decision, actor))


def _one_of(action: str) -> str:
    if action not in {"accept", "correct", "skip"}:
        raise HTTPException(400, f"action {action[:20]!r}: expected accept, correct, skip or undo")
    return action


async def _label(request: Request, form: _Form) -> Label:
    """Return the label that the form sends: a class by its index, or a typed value."""
    if form.place is None:
        if not form.value.strip():
            raise HTTPException(400, "expected the correct value")
        return form.value
    desk = _desk(request)
    picked = await _run(lambda: desk.find(form.prediction_id, form.row))
    classes = (await asyncio.to_thread(_manifest, request, picked)).prediction.classes
    if not 0 <= form.place < len(classes):
        raise HTTPException(400, f"class {form.place}: expected 0 to {len(classes) - 1}")
    return classes[form.place]


async def _items(request: Request, picked: Sequence[PickedRow]) -> list[ReviewItem]:
    return [item_of(row, await asyncio.to_thread(_manifest, request, row)) for row in picked]


def _require_known(request: Request, model: str) -> None:
    """Raise HTTPException 404 if the registry does not have the model."""
    catalogue: Catalogue | None = request.app.state.catalogue
    try:
        if catalogue is not None:
            catalogue.versions(model)
    except UnknownModel as error:
        raise HTTPException(404, str(error)) from None
    except RegistryError as error:
        raise HTTPException(503, str(error)) from None


def _manifest(request: Request, picked: PickedRow) -> Manifest:
    catalogue: Catalogue | None = request.app.state.catalogue
    try:
        versions = [] if catalogue is None else catalogue.versions(picked.model)
    except RegistryError as error:
        raise HTTPException(503, str(error)) from None
    for version in versions:
        if version.number == picked.version:
            return version.manifest
    raise HTTPException(409, f"version {picked.version} of {picked.model} is not registered here")


def _desk(request: Request) -> ReviewDesk:
    desk: ReviewDesk | None = getattr(request.state, "reviews", None)
    if desk is None:
        raise HTTPException(404, "this monitor has no review queue")
    return desk


def _model(request: Request) -> str:
    model = request.query_params.get("model", "")
    if not model or "\0" in model:
        raise HTTPException(400, "expected parameter model, as in /v1/review?model=flights")
    return model


def _actor(request: Request) -> str:
    return cast("str", getattr(request.state, "actor", ""))


async def _run(work: Callable[[], Outcome]) -> Outcome:
    """Run a call in a thread; convert conflicts and missing rows into HTTPException."""
    try:
        return await asyncio.to_thread(work)
    except UnknownReview as error:
        raise HTTPException(404, str(error)) from None
    except ReviewConflict as error:
        raise HTTPException(409, str(error)) from None
    except LogUnavailable as error:
        raise HTTPException(503, f"the decision could not be logged: {error}") from None
