"""The documentation site is complete and current, and its code runs."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from benchmarks.scaling_plan import LOADS, Costs, plan, table
from driftline import Client
from eventlog.settings import Home
from registry.store import Registry
from tests.service.conftest import Service

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path]
    made = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(r'(?:src|<link[^>]*href)="(https?://[^"]+)"', page.read_text())
        assert fetched == [], page


def test_every_document_is_in_the_navigation() -> None:
    named = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_the_reference_pages_equal_the_code(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "deploy" / "reference_pages.py", tmp_path], check=True, cwd=ROOT
    )
    for name in ("settings.md", "commands.md"):
        hint = "run: python deploy/reference_pages.py"
        assert (DOCS / "reference" / name).read_text() == (tmp_path / name).read_text(), hint


def test_the_plan_for_scale_is_computed_and_grows() -> None:
    assert table(Costs()) in (DOCS / "scaling.md").read_text(), (
        "run: python -m benchmarks.scaling_plan"
    )
    plans = [plan(load, Costs()) for load in LOADS]
    assert [one.workers for one in plans] == sorted(one.workers for one in plans)
    costs, largest = Costs(), plans[-1]
    assert largest.workers == pytest.approx(costs.serve / costs.busy, abs=1)  # µs a prediction
    assert largest.gigabytes_a_day == pytest.approx(81_648)


@pytest.mark.parametrize("page", sorted(DOCS.glob("how-to/*.md")), ids=lambda page: page.stem)
def test_python_in_the_how_tos_is_python(page: Path) -> None:
    for number, code in enumerate(_python(page)):
        compile(code, f"{page.name}, block {number + 1}", "exec")


def test_the_own_model_page_works_step_by_step(
    tmp_path: Path, free_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    service = Service(tmp_path, free_port)
    monkeypatch.setenv("DRIFTLINE_HOME", service.environment["DRIFTLINE_HOME"])
    making, asking, _ = _python(DOCS / "how-to" / "own-model.md")
    names: dict[str, Any] = {}
    exec(making, names)
    page = (DOCS / "how-to" / "own-model.md").read_text()
    commands = re.findall(r"^driftline (.*)$", page, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["up"]
    service.start()
    try:
        exec(asking.replace("http://127.0.0.1:3000", service.url), names)
        with Client(service.url) as client:
            rows = names["reference"].drop(columns="benign").head(2)
            assert client.predict("tumours", rows).version == "1"
    finally:
        service.stop()


def test_the_page_on_tables_with_strings_dates_and_ids_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    *_, pipeline = _python(DOCS / "how-to" / "own-model.md")
    exec(pipeline, {})
    features = Registry(Home(tmp_path / "home")).version("returns", "1").manifest.features
    assert {feature.name for feature in features if feature.nullable} == {"age", "channel"}
    categorical = {feature.name for feature in features if feature.kind == "categorical"}
    assert categorical == {"country", "channel", "weekday"}


def test_the_webhook_pages_verification_works() -> None:
    (code,) = _python(DOCS / "how-to" / "webhooks.md")
    secret, body, now = (
        "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        '{"id": "1"}',
        datetime.now(UTC),
    )
    signature = Webhook(secret).sign("msg-1", now, body)
    stamp = str(int(now.timestamp()))
    headers = {
        "webhook-id": "msg-1",
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
    }
    names: dict[str, Any] = {"secret": secret, "body": body, "headers": headers}
    exec(code, names)
    assert names["request"] == {"id": "1"}
    with pytest.raises(WebhookVerificationError):
        exec(code, names | {"body": '{"id": "2"}'})


def test_manifests_in_the_documents_are_yaml() -> None:
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            yaml.safe_load(block)


def _python(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
