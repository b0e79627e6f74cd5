"""Write, list and delete people's notes on windows and alarms."""

from collections.abc import Iterable

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitoring.notes import LONGEST_NOTE, MOST_NOTES, new_note_id
from monitoring.presenter.links import model_path, window_path
from monitoring.results import Alarm, Note, Result
from monitoring.web.api import json_response, result_of, store_of
from monitoring.web.forms import read_change
from telemetry.clock import now_us


class NoteRequest(msgspec.Struct, frozen=True):
    """The text of a new note; the URL names the window or alarm."""

    text: str


def routes() -> list[Route]:
    """Return the routes of notes."""
    version = "/api/models/{model}/versions/{version}"
    return [
        Route(f"{version}/notes", of_version),
        Route(f"{version}/windows/{{start:whole}}/notes", write_on_window, methods=["POST"]),
        Route("/api/alarms/{alarm_id}/notes", write_on_alarm, methods=["POST"]),
        Route("/api/notes/{note_id}/delete", delete, methods=["POST"]),
    ]


def notes_on_window(request: Request, result: Result) -> list[Note]:
    """Return the notes on a window, oldest first."""
    notes = store_of(request).notes(result.model, result.version)
    return [note for note in notes if note.start == result.window.start]


def notes_on_alarms(request: Request, alarms: Iterable[Alarm]) -> dict[str, list[Note]]:
    """Return the notes on these alarms by alarm id, oldest first."""
    return store_of(request).notes_on_alarms([alarm.alarm_id for alarm in alarms])


def notes_by_window(request: Request, model: str, version: str) -> dict[int, list[Note]]:
    """Return the notes on a version's windows, by the window's start."""
    by_start: dict[int, list[Note]] = {}
    for note in store_of(request).notes(model, version):
        if note.start is not None:
            by_start.setdefault(note.start, []).append(note)
    return by_start


async def of_version(request: Request) -> Response:
    """Return the notes on a version's windows and alarms, oldest first."""
    params = request.path_params
    return json_response(store_of(request).notes(params["model"], params["version"]))


async def write_on_window(request: Request) -> Response:
    """Write a note on a closed window; a browser is redirected to the window's page."""
    result, text = result_of(request), await _text(request)
    note = _note(request, result, text, start=result.window.start)
    return _add(request, note, len(notes_on_window(request, result)))


async def write_on_alarm(request: Request) -> Response:
    """Write a note on an alarm; a browser is redirected to the version's page."""
    store, alarm_id = store_of(request), request.path_params["alarm_id"]
    text = await _text(request)
    alarm = next((alarm for alarm in store.alarms() if alarm.alarm_id == alarm_id), None)
    if alarm is None:
        raise HTTPException(404, f"no alarm {alarm_id[:64]!r}; GET /api/alarms lists all alarms")
    note = _note(request, alarm, text, alarm_id=alarm_id)
    return _add(request, note, len(store.notes_on_alarms([alarm_id]).get(alarm_id, [])))


async def delete(request: Request) -> Response:
    """Delete a note; a browser is redirected to the status page."""
    if not store_of(request).delete_note(request.path_params["note_id"]):
        raise HTTPException(404, f"no note {request.path_params['note_id'][:64]!r}")
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/", status_code=303)
    return json_response({"deleted": request.path_params["note_id"]})


def _note(
    request: Request, of: Result | Alarm, text: str, *, start: int | None = None, alarm_id: str = ""
) -> Note:
    """Return a new note by the caller on a window (`start`) or an alarm (`alarm_id`)."""
    return Note(
        note_id=new_note_id(),
        model=of.model,
        version=of.version,
        start=start,
        alarm_id=alarm_id,
        text=text,
        actor=getattr(request.state, "actor", ""),
        created=now_us(),
    )


def _add(request: Request, note: Note, present: int) -> Response:
    if present >= MOST_NOTES:
        raise HTTPException(
            409, f"there are already {MOST_NOTES} notes, the limit: delete one first"
        )
    store_of(request).add_note(note)
    if "text/html" not in request.headers.get("accept", ""):
        return json_response(note)
    if note.start is not None:
        place = f"{window_path(note.model, note.version, note.start)}#notes"
    else:
        place = model_path(note.model, note.version)
    return RedirectResponse(place, status_code=303)


async def _text(request: Request) -> str:
    text = (await read_change(request, NoteRequest, "note")).text.strip()
    if not text or len(text) > LONGEST_NOTE or "\0" in text:
        raise HTTPException(400, f"expected text: 1 to {LONGEST_NOTE} characters, without NUL")
    return text
