"""The append-only history of registrations and moves."""

import sqlite3
from pathlib import Path

import pytest

from registry.aliases import Aliases, Move


@pytest.fixture
def aliases(tmp_path: Path) -> Aliases:
    return Aliases(tmp_path / "deep" / "registry.db")


def test_an_empty_history_is_revision_zero(aliases: Aliases) -> None:
    assert aliases.revision() == 0
    assert aliases.current("flights") == {}


def test_the_latest_move_counts(aliases: Aliases) -> None:
    for number in ("1", "2", "1"):
        aliases.move("flights", "champion", number, moved=0, actor="")
    aliases.move("flights", "challenger", "2", moved=0, actor="")
    aliases.move("trains", "champion", "9", moved=0, actor="")
    assert aliases.current("flights") == {"champion": "1", "challenger": "2"}
    assert aliases.revision() == 5


def test_a_move_to_where_it_is_moves_nothing(aliases: Aliases) -> None:
    first = aliases.move("flights", "champion", "1", moved=0, actor="")
    assert aliases.move("flights", "champion", "1", moved=9, actor="") == first
    assert len(aliases.history("flights")) == 1


def test_the_history_says_who_and_when(aliases: Aliases) -> None:
    aliases.registered("flights", "1", moved=5, actor="ann")
    aliases.registered("flights", "1", moved=6, actor="bob")
    aliases.move("flights", "champion", "1", moved=7, actor="bob")
    assert aliases.history("flights") == [
        Move(1, "flights", "", "1", 5, "ann"),
        Move(2, "flights", "champion", "1", 7, "bob"),
    ]
    assert aliases.numbers("flights") == {"1"}


@pytest.mark.parametrize("tampering", ["DELETE FROM moves", "UPDATE moves SET number = '2'"])
def test_the_history_cannot_be_rewritten(tmp_path: Path, tampering: str) -> None:
    Aliases(tmp_path / "r.db").move("flights", "champion", "1", moved=0, actor="")
    connection = sqlite3.connect(tmp_path / "r.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(tampering)
    connection.close()
