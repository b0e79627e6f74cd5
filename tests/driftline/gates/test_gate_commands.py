"""`driftline gates` and `driftline gate` on real versions, up to the promotion."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from driftline.gates.run import Progress, gate_version
from eventlog.settings import Home
from registry.errors import ChangedFile, InvalidGates, UnknownModel, VersionRefused
from registry.history.store import History
from registry.store import Registry
from tests.tiny_model import register_tiny

GATES = """
gates:
  known-answers:
    kind: answers
    requests:
      - inputs: {price: [[0.0], [null]], colour: [["blue"], ["red"]]}
        outputs: {probabilities: [[0.5, 0.5], [0.26894, 0.73106]], label: [0, 1]}
  finite: {kind: finite, random_rows: 50}
  accurate: {kind: metric, metric: accuracy, at_least: 0.6, worse_by: 0.01}
  small: {kind: size, at_most_mb: 1, ratio: 2}
  origin: {kind: lineage, fields: [data], blocking: false}
"""


class Desk:
    """A home with a champion, version 1, and a candidate, version 2, of the tiny classifier."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = Home(root / "home")
        registry = Registry(self.home)
        register_tiny(registry, root / "files")
        registry.promote("tiny", "1")
        register_tiny(registry, root / "files", lineage={"data": "spring"})

    @property
    def history(self) -> History:
        return History(self.home.registry)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(driftline, arguments)

    def set(self, gates: str) -> Result:
        (self.root / "gates.yaml").write_text(gates)
        return self.run("gates", "tiny", "--file", str(self.root / "gates.yaml"), "--why", "agreed")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("gates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        patch.setenv("DRIFTLINE_HOME", str(root / "home"))
        yield Desk(root)


def test_a_failed_gate_is_named_and_prevents_the_promotion(desk: Desk) -> None:
    desk.set(GATES.replace("0.26894", "0.3").replace("label: [0, 1]", "label: [0]"))
    gated = desk.run("gate", "tiny", "--version", "2")
    assert gated.exit_code == 1
    assert "known-answers: failed: request 1: output 'probabilities' is 0.268941" in gated.output
    assert "at [1, 0], expected 0.3" in gated.output
    assert "finite: passed" in gated.output
    with pytest.raises(VersionRefused, match="its gates: failed"):
        desk.history.promote("tiny", "champion", "2", time=0, actor="ann")


def test_the_memory_of_a_gate_is_bounded(desk: Desk) -> None:
    desk.set("gates: {origin: {kind: lineage, fields: [data], memory_mb: 512}}")
    script = (
        "from driftline.gates import __main__, content\n"
        "content.check_lineage = lambda gate, context: bytearray(1 << 30)\n"
        "__main__.main()\n"
    )
    silent = Progress(lambda *_: None, lambda *_: None, lambda _: None)
    run = gate_version(
        desk.home, "tiny", "2", actor="ann", why="", progress=silent,
        command=(sys.executable, "-c", script),
    )  # fmt: skip
    (outcome,) = run.report.gates
    assert (run.report.verdict, outcome.reason) == ("failed", "the gate needs more than 512 MB")


def test_a_gate_that_cannot_run_is_named(desk: Desk) -> None:
    desk.set("gates: {}")
    assert "no gates" in desk.run("gates", "tiny").output
    found = desk.run("gate", "tiny", "--version", "2").exception
    assert isinstance(found, InvalidGates)
    assert "set them with driftline gates tiny --file" in str(found)
    assert isinstance(desk.run("gate", "bus", "--version", "1").exception, UnknownModel)
    assert "expected --why" in desk.run("gates", "tiny", "--file", __file__).output


def test_a_version_is_promoted_once_its_gates_passed(desk: Desk) -> None:
    assert "5 gates of tiny are set" in desk.set(GATES).output
    with pytest.raises(VersionRefused, match="it was not gated"):
        desk.history.promote("tiny", "champion", "2", time=0, actor="ann")
    gated = desk.run("gate", "tiny", "--version", "2", "--html", str(desk.root / "r.html"))
    assert gated.exit_code == 0, gated.output
    assert "known-answers (answers) ..." in gated.output  # progress
    assert "tiny version 2: passed" in gated.output
    row = desk.history.rows("tiny")[-1]
    assert (row.kind, row.number) == ("gated", "2")
    page = (desk.root / "r.html").read_text()
    assert "Gates of tiny version 2" in page
    assert "<svg" in page
    shown = desk.run("gates", "tiny", "--version", "2").output
    assert "rows not finite, random rows: 0 (at most 0; 50 rows)" in shown
    assert "1 golden requests" in desk.run("gates", "tiny").output
    report = desk.home.gate_reports / f"{row.evidence}.json"
    whole = report.read_bytes()
    report.write_bytes(whole.replace(b"passed", b"failed"))
    assert isinstance(desk.run("gates", "tiny", "--version", "2").exception, ChangedFile)
    report.write_bytes(whole)
    desk.history.promote("tiny", "champion", "2", time=0, actor="ann")


def test_golden_requests_get_the_answers_of_the_champion(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "requests.json"

    def golden(*arguments: str) -> Result:
        return desk.run("golden", "tiny", *arguments, "--why", "agreed")

    desk.set("gates: {small: {kind: size, at_most_mb: 1}}")
    file.write_text('[{"inputs": {"price": [[0.0]], "colour": [["blue"]]}}]')
    assert "gate golden of tiny has 1 requests" in golden("--add", str(file)).output
    file.write_text(
        '{"inputs": {"price": [[0.0]], "colour": [["red"]]}, "outputs": {"label": [0]}}'
    )
    assert "has 2 requests" in golden("--add", str(file), "--tolerance", "0.01").output
    gates = desk.history.state("tiny").policy.gates
    assert gates.keys() == {"small", "golden"}
    assert gates["golden"]["requests"][0]["outputs"]["probabilities"] == [[0.5, 0.5]]
    shown = desk.run("golden", "tiny").output
    assert '{"label":[0]}' in shown
    assert "tolerance 0.01" in shown
    gated = desk.run("gate", "tiny", "--version", "2")
    assert "golden: failed: request 2: output 'label' is 1 at [0], expected 0" in gated.output
    assert "has 1 requests" in golden("--remove", "2").output
    assert "golden: passed" in desk.run("gate", "tiny", "--version", "2").output


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "expected JSON as"),
        ('[{"input": {}}]', "unknown field `input`"),
        ('[{"inputs": {"price": [[1]]}}]', "inputs are price; expected price, colour"),
        ("[]", "expected at least one request"),
    ],
)
def test_impossible_golden_requests_are_refused(
    desk: Desk, tmp_path: Path, content: str, fault: str
) -> None:
    (tmp_path / "requests.json").write_text(content)
    before = desk.history.revision()
    done = desk.run("golden", "tiny", "--add", str(tmp_path / "requests.json"), "--why", "x")
    assert fault in str(done.exception)
    assert desk.history.revision() == before
