"""Call the registry server of `--server URL` over HTTP."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click
import httpx
import msgspec

from driftline.local_actor import KEY, KEY_FILE, read_key
from driftline.registry_change import ChangeResult, RegistryChange
from driftline.remote.work import GateWork, JobResult, JobView, RegisterWork, SchedulePage
from driftline.version_summaries import ModelPage, ModelQuery
from eventlog.errors import DriftlineError, SettingError
from registry.errors import RegistryConflict
from registry.gates.outcomes import GateReport
from registry.history.rows import HistoryRow
from registry.manifest import Version
from registry.worker_reports import WorkerReport

_TIMEOUT = httpx.Timeout(90.0, connect=10.0)  # longer than the server waits for its database
_TRIES = 4  # attempts if the server lacks capacity or the connection fails
_PAUSE_S = 0.5  # before the first retry, doubled for each further retry
_CHUNK = 1 << 20
_WAIT_S = 10  # seconds that the server waits for new lines of a job

_Reply = TypeVar("_Reply")


class RemoteError(DriftlineError):
    """A registry server replied with an error, or did not reply."""


class RemoteRegistry:
    """The registry on another machine."""

    def __init__(
        self,
        url: str,
        key: str,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a client for a URL; raises SettingError for an invalid URL."""
        base = url.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise SettingError(f"--server {url!r}: expected http://HOST:PORT or https://HOST")
        self._url = base
        self._sleep = sleep
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=base, headers=headers, timeout=_TIMEOUT, transport=transport
        )

    @classmethod
    def from_environment(cls, url: str) -> "RemoteRegistry":
        """Create a client with the key in the environment; raises SettingError without a key."""
        key = read_key()
        if not key:
            raise SettingError(
                f"--server {url}: expected a key in {KEY}, or its file in {KEY_FILE}"
            )
        return cls(url, key)

    def change(self, model: str, change: RegistryChange) -> ChangeResult:
        """Apply a change; raises RemoteError."""
        return self._call(ChangeResult, "POST", f"{_path(model)}/{change.name}", change)

    def history(self, model: str) -> Sequence[HistoryRow]:
        """Return every history row of a model."""
        return self._call(list[HistoryRow], "GET", f"{_path(model)}/history")

    def read(self) -> list[WorkerReport]:
        """Return the reports of all running workers."""
        return self._call(list[WorkerReport], "GET", "/v1/registry/workers")

    def models(self, query: ModelQuery) -> ModelPage:
        """Return one page of models with all their versions."""
        fields = urlencode(msgspec.structs.asdict(query))
        return self._call(ModelPage, "GET", f"/v1/registry/models?{fields}")

    def versions(self, model: str) -> Sequence[Version]:
        """Return the readable versions of a model, without their files."""
        return self._call(list[Version], "GET", f"{_path(model)}/versions")

    def rows(self) -> Iterator[HistoryRow]:
        """Yield every row of the history, page by page."""
        after = 0
        while page := self._call(list[HistoryRow], "GET", f"/v1/registry/rows?after={after}"):
            yield from page
            after = page[-1].revision

    def schedules(self) -> Iterator[HistoryRow]:
        """Yield the history rows that set retraining schedules, up to 1,000 per request."""
        after = ""
        while True:
            query = urlencode({"after": after})
            page = self._call(SchedulePage, "GET", f"/v1/registry/schedules?{query}")
            yield from page.rows
            if not (after := page.next):
                return

    def report(self, digest: str) -> tuple[GateReport, str]:
        """Return a gate report, and the URL of its page."""
        path = f"/v1/registry/reports/{digest}"
        return self._call(GateReport, "GET", path), f"{self._url}{path}"

    def report_page(self, digest: str) -> bytes:
        """Return the HTML page of a gate report."""
        path = f"/v1/registry/reports/{digest}"
        return self._send("GET", path, headers={"accept": "text/html"}).content

    def register(  # noqa: PLR0913  # one argument per option of the command
        self,
        model: str,
        onnx: Path,
        manifest: Mapping[str, Any],
        reference: Path | None,
        *,
        target: str,
        promote: bool,
        answers: str = "",
    ) -> JobResult:
        """Upload files, register them and print the server's report; raises RemoteError."""
        work = RegisterWork(
            files={name: self._upload(path) for name, path in _files(onnx)},
            manifest=dict(manifest),
            reference=self._upload(reference) if reference is not None else "",
            target=target,
            promote=promote,
            answers=answers,
        )
        return self._follow(self._call(JobView, "POST", f"{_path(model)}/versions", work))

    def gate(self, model: str, number: str, why: str) -> JobResult:
        """Run the gates of a version and print their outcomes; raises RemoteError."""
        work = GateWork(number=number, why=why)
        result = self._follow(self._call(JobView, "POST", f"{_path(model)}/gate", work))
        click.echo(f"report: {self._url}/v1/registry/reports/{result.report}")
        return result

    def _upload(self, path: Path) -> str:
        """Upload a file unless the server has it; return its digest."""
        digest, size = hashlib.sha256(), path.stat().st_size
        for chunk in _chunks(path):
            digest.update(chunk)
        name = digest.hexdigest()
        self._send(
            "PUT",
            f"/v1/registry/uploads/{name}",
            headers={"content-length": str(size)},
            content=lambda: _chunks(path),
        )
        return name

    def _follow(self, job: JobView) -> JobResult:
        """Print a job's output until it ends; return its result."""
        lines_shown = 0
        while not job.ended:
            query = f"after={lines_shown}&wait={_WAIT_S}"
            job = self._call(JobView, "GET", f"/v1/registry/jobs/{job.id}?{query}")
            for line in job.lines:
                click.echo(line)
            lines_shown += len(job.lines)
        assert job.result is not None
        if job.result.error:
            raise RemoteError(f"{self._url}: {job.result.error}")
        return job.result

    def _call(
        self, kind: type[_Reply], method: str, path: str, body: msgspec.Struct | None = None
    ) -> _Reply:
        content = None if body is None else msgspec.json.encode(body)
        reply = self._send(method, path, content=None if content is None else lambda: content)
        try:
            return msgspec.json.decode(reply.content, type=kind)
        except msgspec.DecodeError as error:
            raise RemoteError(
                f"{self._url}{path}: {error}; expected a registry server of this release"
            ) from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        content: Callable[[], Any] | None = None,
    ) -> httpx.Response:
        for attempt in range(_TRIES):
            last = attempt + 1 == _TRIES
            try:
                body = None if content is None else content()
                reply = self._http.request(method, path, headers=headers, content=body)
            except httpx.ConnectError as error:  # nothing was sent
                if last:
                    raise RemoteError(f"{self._url}: cannot connect ({error})") from None
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise RemoteError(
                    f"{self._url}: no reply ({reason}); the change may have been made: see "
                    "driftline history"
                ) from None
            else:
                if reply.is_success:
                    return reply
                if reply.status_code not in {429, 503} or last:
                    raise self._error(reply)
            self._sleep(_PAUSE_S * 2**attempt)
        raise AssertionError

    def _error(self, reply: httpx.Response) -> DriftlineError:
        """Return a reply's error; a conflict as RegistryConflict, because callers retry it."""
        try:
            body = msgspec.json.decode(reply.content, type=_ErrorBody)
        except msgspec.DecodeError:
            body = _ErrorBody(f"status {reply.status_code}; expected a registry server")
        message = f"{self._url}: {body.error}"
        if body.kind == RegistryConflict.__name__:
            return RegistryConflict(message)
        return RemoteError(message)


def _path(model: str) -> str:
    return f"/v1/registry/models/{quote(model, safe='')}"


class _ErrorBody(msgspec.Struct):
    error: str
    kind: str = ""


def _files(onnx: Path) -> list[tuple[str, Path]]:
    """Return the name and path of a model's file, or of each file in its folder."""
    if onnx.is_dir():
        return [
            (path.relative_to(onnx).as_posix(), path)
            for path in sorted(onnx.rglob("*"))
            if path.is_file()
        ]
    return [(onnx.name, onnx)]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
