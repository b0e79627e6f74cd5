"""The short form of `make attack`: all attacks at once, while an oracle compares honest replies."""

import json
from pathlib import Path

import pytest

from benchmarks.attack.__main__ import main
from benchmarks.attack.attacks import attacks
from benchmarks.attack.mixed import ProcessUsage, growth


def test_honest_calls_hold_under_all_attacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "samples.json"
    arguments = ["--mixed", "--minutes", "0.07", "--fronts", "native", "--cores", "2"]
    status = main([*arguments, "--samples", str(out)])
    assert status == 0, capsys.readouterr().out
    (front,) = json.loads(out.read_bytes())
    assert len(front["turns"]) == len(attacks("dl_x"))
    assert front["promises"] > 0


def test_every_attack_has_a_unique_name() -> None:
    names = [(one.port, one.name) for one in attacks("dl_x")]
    assert len(set(names)) == len(names) > 15


def _part(memory: int, files: int) -> list[ProcessUsage]:
    return [ProcessUsage(0.0, memory + number, files + number, 5, 0, 0.0) for number in range(3)]


def test_growth_between_the_second_part_and_the_last_is_reported() -> None:
    warm = [_part(100, 10), _part(300, 50)]
    assert not growth([*warm, _part(310, 55)])
    assert "memory" in growth([*warm, _part(400, 50)])
    assert "files" in growth([*warm, _part(300, 60)])
