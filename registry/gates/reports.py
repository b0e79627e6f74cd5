"""Store reports of gate runs by their digest, and record runs in the registry's history."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from eventlog.durable_files import make_folder, replace_file
from eventlog.settings import Home
from registry.artifacts import ArtifactStore, open_artifacts
from registry.errors import ChangedFile, RegistryConflict, UnknownReport
from registry.gates.outcomes import GateReport, encode_report, report_digest
from registry.history.lifecycle import LifecycleState
from registry.history.rows import GateResult, HistoryRow, encode_detail
from registry.history.store import History
from registry.settings import artifacts_url


class GateReports:
    """The gate reports in one folder and, if configured, in the store that machines share."""

    def __init__(self, folder: Path, artifacts: ArtifactStore | None) -> None:
        """Store the arguments; neither folder nor store is accessed yet."""
        self.folder = folder
        self._artifacts = artifacts

    def add(self, report: GateReport, page: str) -> str:
        """Store a report and its HTML page, durably; return the report's digest."""
        stored = encode_report(report)
        digest = report_digest(stored)
        make_folder(self.folder)
        replace_file(self.page(digest), page.encode())
        replace_file(self._file(digest), stored)
        self.share(digest)
        return digest

    def share(self, digest: str) -> None:
        """Copy a local report to the shared store, if one is configured."""
        if self._artifacts is not None:
            self._artifacts.put(self.folder, {self._file(digest).name: digest})

    def read(self, digest: str) -> GateReport:
        """Return a report; raises UnknownReport, or ChangedFile if its bytes changed."""
        place = self._file(digest)
        if not place.exists() and self._artifacts is not None:
            return self._fetch(self._artifacts, digest)
        try:
            stored = place.read_bytes()
        except FileNotFoundError:
            raise UnknownReport(f"no gate report has the digest {digest}") from None
        except OSError as error:
            raise ChangedFile(f"gate report {place} cannot be read: {error.strerror}") from None
        if report_digest(stored) != digest:
            raise ChangedFile(f"gate report {place} was changed: re-run driftline gate")
        return msgspec.json.decode(stored, type=GateReport)

    def _fetch(self, artifacts: ArtifactStore, digest: str) -> GateReport:
        """Copy a report from the shared store, which also contains files that are not reports."""
        make_folder(self.folder)
        with TemporaryDirectory(dir=self.folder) as folder:
            arrived = Path(folder) / f"{digest}.json"
            if not artifacts.has([digest]):
                raise UnknownReport(f"no gate report has the digest {digest}")
            artifacts.fetch(f"gate report {arrived.name}", digest, arrived)
            try:
                report = msgspec.json.decode(arrived.read_bytes(), type=GateReport)
            except msgspec.DecodeError:
                raise UnknownReport(f"no gate report has the digest {digest}") from None
            arrived.replace(self._file(digest))
        return report

    def page(self, digest: str) -> Path:
        """Return the file of a report's HTML page."""
        return self.folder / f"{digest}.html"

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def open_reports(home: Home) -> GateReports:
    """Return the gate reports of a home."""
    return GateReports(home.gate_reports, open_artifacts(artifacts_url()))


def record_run(history: History, report: GateReport, evidence: str, why: str) -> int:
    """Append the row of a run, whose report has the digest `evidence`; return the revision.

    Raises RegistryConflict if the version's content has changed since the run.
    """
    result = GateResult(
        verdict=report.verdict,
        policy=report.policy,
        gates={gate.name: gate.outcome for gate in report.gates},
        champion=report.compared_with,
    )

    def decide(state: LifecycleState) -> list[HistoryRow]:
        if state.digest_of(report.number) != report.digest:
            raise RegistryConflict(
                f"version {report.number} of {report.model} was not gated with its current content"
            )
        return [
            HistoryRow(
                0,
                report.model,
                "gated",
                report.number,
                history.time_ns() // 1_000,
                report.actor,
                digest=report.digest,
                evidence=evidence,
                why=why,
                detail=encode_detail(result),
            )
        ]

    return history.append(report.model, decide)
