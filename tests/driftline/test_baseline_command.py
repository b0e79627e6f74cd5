"""An image model registered from its file: its baseline is learned, then chosen."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from driftline.baseline import baseline
from driftline.chosen_baseline import InvalidBaseline
from eventlog.log import Record
from eventlog.settings import Home
from monitoring.baselines.announcement import recorder
from monitoring.baselines.files import BaselineFiles
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.store import Store
from monitoring.windows.policy_source import RegistryPolicies
from registry.manifest import Version
from registry.store import Registry
from registry.summaries import Summarizer
from tests.monitoring.log_in_memory import HOUR, T0, FakeScorer, Log, Monitor
from tests.tiny_model import as_model, register_tiny

_MANIFEST = """
summaries:
  - {name: "image: brightness", tensor: image, statistic: mean}
  - {name: "image: contrast", tensor: image, statistic: std}
  - {name: "embedding: norm", tensor: embedding, statistic: l2_norm}
monitoring:
  window: {length: 3600, grace: 600}
  alarms: {min_rows: 50}
  baseline: {windows: 2, min_rows: 200}
"""
_BRIGHTER_FROM = 5  # hour


class _RealScorer(FakeScorer):
    def __init__(self, registry: Registry, home: Home) -> None:
        super().__init__()
        recent = ScorerCache(registry, baselines=BaselineFiles(home.baselines))
        self._scoring = WindowScorer(recent, home.reports)

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        self._replies.append(self._scoring.score(job))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Seven hours of an image model were monitored: learned, calm, brighter."""
    folder = tmp_path_factory.mktemp("image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(folder / "home"))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        home = Home(folder / "home")
        registry = Registry(home)
        (folder / "model.onnx").write_bytes(_image_model())
        (folder / "manifest.yaml").write_text(_MANIFEST)
        version = registry.register(
            folder / "model.onnx", model="tiny", manifest=folder / "manifest.yaml"
        )
        registry.promote("tiny", "1")
        policies = RegistryPolicies(registry)
        Monitor(
            home.monitor,
            _log(version),
            scorer=_RealScorer(registry, home),
            find=registry.version,
            policies=policies,
            baselines=BaselineFiles(home.baselines),
            announce=recorder(registry),
        ).drain()
        yield home


def _image_model() -> bytes:
    """The means of the three channels of [N, 3, 8, 8], as an embedding."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 3, 8, 8])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, 3])
    return as_model(helper.make_graph(nodes, "image", [image], [embedding])).SerializeToString()


def _log(version: Version) -> list[Record]:
    """Events without payload, as the service logs large images; the summaries are the service's."""
    log, random, summarizer = Log(), np.random.default_rng(5), Summarizer(version.manifest)
    for hour in range(8):
        for n in range(120):
            image = random.uniform(0, 1, (1, 3, 8, 8)) * random.uniform(0.6, 1.0)
            image = image.astype(np.float32) + (0.4 if hour >= _BRIGHTER_FROM else 0.0)
            tensors = {"image": image, "embedding": image.mean(axis=(2, 3))}
            log.predict(
                T0 + hour * HOUR + n,
                f"{hour}-{n}",
                payload="digest",
                inputs={},
                outputs={},
                summaries=summarizer.summarize(tensors, 1),
            )
    log.pass_time(T0 + 9 * HOUR)
    return log.records


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(baseline, list(arguments))


def test_changed_brightness_raises_the_alarm(home: Home) -> None:
    store = Store(home.monitor)
    verdicts = [result.verdict for result in store.results("tiny", "1")]
    assert verdicts[:2] == ["learning", "learning"]
    assert verdicts[5:7] == ["drifted", "drifted"]
    (alarm,) = [alarm for alarm in store.alarms() if alarm.rule == "drift"]
    assert alarm.state == "firing"
    assert "image: brightness" in alarm.columns


def test_the_learned_baseline_is_in_the_history(home: Home) -> None:
    registry = Registry(home)
    ((row, record),) = [
        (one.row, one.record) for one in registry.baselines(registry.version("tiny", "1"))
    ]
    assert (row.kind, row.actor) == ("baseline", "monitor")
    assert (record.origin, record.rows, record.start) == ("learned", 240, T0)
    assert (home.baselines / f"{record.digest}.parquet").is_file()
    listed = _run("tiny")
    assert "learned" in listed.output
    assert "240" in listed.output
    recorder(registry)(registry.version("tiny", "1"), record)
    assert len(registry.baselines(registry.version("tiny", "1"))) == 1, "recorded once"


def test_a_chosen_period_replaces_the_learned_baseline(home: Home) -> None:
    chosen = _run("tiny", "--from", "2013-07-01T05:00:00", "--to", "2013-07-01T07:00:00")
    assert chosen.exit_code == 0, chosen.output
    assert "240 rows" in chosen.output
    registry = Registry(home)
    last = registry.baselines(registry.version("tiny", "1"))[-1].record
    assert last.origin == "chosen"
    rows = BaselineFiles(home.baselines).read(last.digest)
    assert rows["image: brightness"].mean() > 0.7


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--from", "2012-01-01", "--to", "2012-01-02"], "0 sampled rows; expected at least 100"),
        (["--from", "2012-01-01"], "expected both --from and --to"),
        (["--from", "2012-01-02", "--to", "2012-01-01"], "expected --from before --to"),
    ],
)
def test_an_unusable_baseline_period_is_refused(
    home: Home, arguments: list[str], reason: str
) -> None:
    refused = _run("tiny", *arguments)
    assert refused.exit_code
    assert reason in refused.output + str(refused.exception)


def test_a_registered_reference_is_not_replaced(home: Home, tmp_path: Path) -> None:
    register_tiny(Registry(home), tmp_path, "tabular")
    refused = _run("tabular", "--from", "2013-07-01", "--to", "2013-07-02")
    assert isinstance(refused.exception, InvalidBaseline)
    assert "has a registered reference" in str(refused.exception)
