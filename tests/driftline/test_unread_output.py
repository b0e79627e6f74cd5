"""Commands of several steps finish although their output has no reader."""

import os
import sys
from pathlib import Path

import pytest

from driftline.cli import driftline
from driftline.terminal import finish_unread
from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import tiny_classifier


def _without_reader(patch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    patch.setattr(sys, "stdout", os.fdopen(writing, "w", buffering=1))


def test_a_registration_is_complete_although_its_output_is_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    for variable in ("DRIFTLINE_REGISTRY", "DRIFTLINE_ARTIFACTS", "DRIFTLINE_REGISTRY_SERVER"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "model.onnx").write_bytes(tiny_classifier().SerializeToString())
    words = ["register", str(tmp_path / "model.onnx"), "--name", "tiny", "--tag", "tier-1"]
    with monkeypatch.context() as patch:
        _without_reader(patch)
        driftline(words, standalone_mode=False)
        sys.stdout.close()
    registry = Registry(Home(tmp_path / "home"))
    assert registry.aliases("tiny") == {"champion": "1"}
    assert [row.kind for row in registry.history("tiny")][-1] == "description"


def test_output_with_a_reader_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with finish_unread():
        print("one")
    print("two")
    assert capsys.readouterr().out == "one\ntwo\n"


def test_the_stream_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _without_reader(patch)
        before = sys.stdout
        with pytest.raises(ValueError, match="wrong"), finish_unread():
            _fail()
        assert sys.stdout is before
        before.close()


def _fail() -> None:
    print("x" * 100_000)
    raise ValueError("wrong")
