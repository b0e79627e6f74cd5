"""The short form of `make attack`: honest clients are answered under the worst of the table."""

import pytest

from benchmarks.attack.__main__ import main
from benchmarks.attack.attacks import attacks

SHORT = ("silent", "without a message", "gzip")


def test_honest_clients_are_answered_under_attack(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--seconds", "0.5", "--fronts", "native", "--workers", "1", "--only", *SHORT])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "none" in printed


def test_every_attack_has_a_name_of_its_own() -> None:
    names = [(one.port, one.name) for one in attacks("dl_x")]
    assert len(set(names)) == len(names) > 15
    assert all(any(word in name for _, name in names) for word in SHORT)
