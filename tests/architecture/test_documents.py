"""Statements of the documents about the source tree are true."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def test_the_tree_in_the_architecture_names_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = page.split("## Where to find it")[1].split("```text\n")[1].split("```")[0]
    folders: list[str] = []
    named = set()
    for indent, name in re.findall(r"^( *)([\w-]+)/  +\S", tree, re.MULTILINE):
        folders = [*folders[: len(indent) // 2], name]
        named.add("/".join(folders))
    assert {folder for folder in named if not (ROOT / folder).is_dir()} == set()
    roots = [folder for folder in named if "/" not in folder and folder != "tests"]
    files = [path for root in roots for path in (ROOT / root).rglob("__init__.py")]
    packages = {str(path.parent.relative_to(ROOT)) for path in files}
    assert packages - named == set(), "name these folders in docs/architecture.md"


def test_every_test_that_holds_a_promise_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`(tests/[\w./]+)`", page)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 700


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_local_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_no_two_decisions_have_one_number() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/adr").glob("[0-9]*.md"))]
    assert len(set(numbers)) == len(numbers)
    assert numbers


def test_the_changelog_states_each_change_of_a_release_once() -> None:
    for release in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        lines = re.findall(r"^(?:- |### ).*", release, re.MULTILINE)
        doubled = sorted({line for line in lines if lines.count(line) > 1})
        assert doubled == [], "a merge doubled these in CHANGELOG.md: take main's, add your line"


def test_locks_pin_every_package_by_hash_and_name_no_host() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text
        pins = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", text, re.MULTILINE)
        assert pins
        assert len(re.findall(r"==[^\n]* \\\n    --hash=sha256:", text)) == len(pins)


def test_no_file_is_a_drawer_without_a_name_of_its_own() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    drawers = re.compile(r"(^|/)(utils?|helpers?|common|misc|manager)(\.py|/)")
    assert [path for path in listed if drawers.search(path)] == []


def test_every_question_has_a_link_a_command_or_a_place() -> None:
    rows = [
        line.strip("| ").split(" | ")
        for line in (ROOT / "docs" / "questions.md").read_text().splitlines()
        if line.startswith("| ") and line.split(" | ")[0].rstrip().endswith("?")
    ]
    assert len(rows) >= 25
    vague = [row for row in rows if not re.search(r"\]\(|`|the page of", row[1])]
    assert vague == []
