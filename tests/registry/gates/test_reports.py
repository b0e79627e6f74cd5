"""Gate reports on this machine and in the shared store."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from registry.artifacts import ArtifactStore
from registry.errors import ChangedFile, RegistryConflict, UnknownReport
from registry.gates.outcomes import Champion, GateFigure, GateOutcome, GateReport
from registry.gates.reports import GateReports, record_run
from registry.history.rows import GateResult
from registry.history.store import History

_FIGURE = GateFigure("size in MB", 0.5, "passed", at_most=1.0)
REPORT = GateReport(
    "m", "1", "d1", 2, "passed",
    [GateOutcome("small", "size", "passed", "", [_FIGURE], against_champion=True)],
    Champion("4", "d4"), 1, 2, "ann",
)  # fmt: skip


def test_machines_share_reports(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path / 'shared'}")
    digest = GateReports(tmp_path / "one", store).add(REPORT, "<p>")
    other = GateReports(tmp_path / "other", store)
    assert other.read(digest) == REPORT
    assert other.read(digest) == REPORT  # from its own folder


def test_a_report_that_is_missing_or_changed_is_named(tmp_path: Path) -> None:
    reports = GateReports(tmp_path, None)
    digest = reports.add(REPORT, "<p>")
    (tmp_path / f"{digest}.json").write_text("{}")
    with pytest.raises(ChangedFile, match="was changed: re-run driftline gate"):
        reports.read(digest)
    with pytest.raises(UnknownReport, match=f"no gate report has the digest {'0' * 64}"):
        reports.read("0" * 64)


def test_a_run_is_recorded_for_the_content_that_it_tested(tmp_path: Path) -> None:
    history = History(tmp_path / "registry.db")
    history.register("m", "1", time=0, actor="ann", digest="d1")
    assert record_run(history, REPORT, "e1", "spring") == 2
    row = history.rows("m")[-1]
    assert (row.kind, row.digest, row.evidence, row.why) == ("gated", "d1", "e1", "spring")
    expected = GateResult("passed", 2, {"small": "passed"}, "d4")
    assert row.decode(GateResult) == expected
    history.register("n", "1", time=0, actor="ann", digest="other")
    with pytest.raises(RegistryConflict, match="was not gated with its current content"):
        record_run(history, replace(REPORT, model="n"), "e1", "")
