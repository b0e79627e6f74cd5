"""The forwarder recognizes a topic by its id, across restarts."""

from pathlib import Path

import pytest

from eventlog.errors import EventLogError
from eventlog.topic_epochs import TopicEpochs


def test_a_topic_with_another_id_was_recreated(tmp_path: Path) -> None:
    lives = TopicEpochs(tmp_path / "topics")
    assert lives.recreated({"a": "1", "b": "1"}) == []
    lives.keep({"a": "1", "b": "1"})
    again = TopicEpochs(tmp_path / "topics")
    assert again.recreated({"a": "1"}) == []  # b is not there now, or not known yet
    assert again.recreated({"a": "2", "b": "1", "c": "1"}) == ["a"]
    again.keep({"a": "2"})
    assert TopicEpochs(tmp_path / "topics").recreated({"a": "2", "b": "3"}) == ["b"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "topics").write_text("[]")
    with pytest.raises(EventLogError, match="topics: expected topic ids by name"):
        TopicEpochs(tmp_path / "topics")
