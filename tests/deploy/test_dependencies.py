"""Licences, bills of materials and workflows: generated, complete and pinned."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOSTS = re.compile(
    r"\b(?:ghcr|docker|quay|gcr|azurecr|amazonaws|pypi|pythonhosted|npmjs)\.(?:io|com|org)\b"
)


@pytest.fixture(scope="module")
def dependencies() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "deploy"))
        return importlib.import_module("dependencies")


def test_the_notice_names_every_package_and_its_licence(dependencies: Any) -> None:
    assert (ROOT / "NOTICE").read_text() == dependencies.notice()
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_the_page_lists_every_package_with_a_reason(dependencies: Any) -> None:
    def without_sizes(page: str) -> str:  # which differ between platforms
        return re.sub(r"\| \d+\.\d \|", "| |", page)

    written = (ROOT / "docs" / "dependencies.md").read_text()
    assert without_sizes(written) == without_sizes(dependencies.page())


def test_an_unreviewed_licence_is_refused(
    dependencies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "STATED", {})
    with pytest.raises(KeyError, match="jinja2: no licence is known"):
        dependencies.licence("jinja2")
    monkeypatch.setattr(dependencies, "LGPL", set())
    with pytest.raises(KeyError, match="psycopg: no licence"):
        dependencies.licence("psycopg")


@pytest.mark.parametrize("lock", ["service", "monitoring"])
def test_a_bill_names_every_pinned_package(dependencies: Any, lock: str, tmp_path: Path) -> None:
    dependencies.main(["sbom", str(tmp_path)])
    bill = json.loads((tmp_path / f"driftline-{lock}.cdx.json").read_text())
    pins = re.findall(
        r"^([\w.-]+)(?:\[\S+\])?==(\S+)",
        (ROOT / f"requirements/{lock}.lock").read_text(),
        re.MULTILINE,
    )
    assert [(one["name"], one["version"]) for one in bill["components"]] == pins
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert all(one["licenses"] and one["properties"] for one in bill["components"])
    assert len({one["bom-ref"] for one in bill["components"]}) == len(pins)


WITHOUT = """
import sys, warnings
warnings.simplefilter("ignore")
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: an import fails
from pathlib import Path
import pandas as pd
from monitoring.scoring.drift.evidently_adapter import ColumnTest, write_report
frame = pd.DataFrame({"word": ["a", "b"] * 50, "number": range(100)})
tests = [ColumnTest("word", True, "psi", 0.1), ColumnTest("number", False, "wasserstein", 0.1)]
write_report(tests, frame, frame, Path(sys.argv[2]))
"""


def test_evidently_needs_nothing_that_the_monitors_lock_leaves_out(tmp_path: Path) -> None:
    """In a process of its own, because others may have imported what is left out: 6 s of CPU."""
    unused = re.findall(
        r"^([\w-]+) ;", (ROOT / "requirements/unused.txt").read_text(), re.MULTILINE
    )
    lock = (ROOT / "requirements/monitoring.lock").read_text()
    assert [name for name in unused if f"\n{name}==" in lock] == []
    modules = ",".join(name.replace("python-", "").replace("-", "_") for name in unused)
    report = tmp_path / "report.html"
    subprocess.run([sys.executable, "-c", WITHOUT, modules, str(report)], cwd=ROOT, check=True)
    assert report.stat().st_size > 1_000_000


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_valid_pinned_and_calls_make_alone(path: Path) -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    subprocess.run([check, "--builtin-schema", "vendor.github-workflows", path], check=True)
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"])
            else:
                words = step["run"].split()
                assert words[0] == "git" or (words[0] == "make" and words[1] in targets)
                assert "${{" not in step["run"], "an expression there is an injection"


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        (".github/dependabot.yml", "vendor.dependabot"),
        (".pre-commit-config.yaml", ""),
        (".github/ISSUE_TEMPLATE/bug.yml", "vendor.github-issue-forms"),
        (".github/ISSUE_TEMPLATE/idea.yml", "vendor.github-issue-forms"),
    ],
)
def test_other_configuration_is_valid(path: str, schema: str) -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    if schema:
        subprocess.run([check, "--builtin-schema", schema, ROOT / path], check=True)
    assert yaml.safe_load((ROOT / path).read_text())


def test_every_image_is_published_by_its_digest_with_its_bill() -> None:
    command = [sys.executable, "deploy/publish_images.py", "--dry-run", "--sbom", "sbom"]
    stated = ["--registry", "registry.example/o/", "--tag", "1.2.3"]
    lines = subprocess.run(
        [*command, *stated], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert len(lines) == 4 * 4
    for target, bill in (("monitor", "monitoring"), ("tools", "service")):
        image = f"registry.example/o/driftline-{target}@sha256:{'0' * 64}"
        assert f"cosign sign --yes {image}" in lines
        predicate = f"sbom/driftline-{bill}.cdx.json"
        attest = "cosign attest --yes --type cyclonedx --predicate"
        assert f"{attest} {predicate} {image}" in lines
    refused = subprocess.run(
        [*command, "--registry", "r", "--tag", "--rm"], cwd=ROOT, check=False, capture_output=True
    )
    assert refused.returncode != 0


def test_no_file_names_the_host_of_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    found = [
        name
        for name in listed
        if (ROOT / name).is_file()
        and name != "tests/deploy/test_dependencies.py"
        and HOSTS.search((ROOT / name).read_text(errors="ignore"))
    ]
    assert found == []
